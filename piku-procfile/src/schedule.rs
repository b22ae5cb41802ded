//! The schedule in front of a cron's command: five fields as in crontab(5), or one of five words with an `@`.

use std::collections::BTreeSet;

/// The words that stand for five fields.
const WORDS: [&str; 5] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"];

/// What a field is called, its lowest and highest number, and names that stand for the numbers from the lowest on.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// What is wrong with a schedule.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSchedule {
    /// The byte in the text.
    pub at: usize,
    /// In words.
    pub message: String,
}

/// Whether a process type of this name has a schedule: `cron`, or `cron` and then a digit, `-` or `_`.
pub(crate) fn is_cron(name: &str) -> bool {
    name.strip_prefix("cron").is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '_')
    })
}

/// Whether a command begins the way a schedule does. `node worker.js` does not.
pub(crate) fn looks_like_one(command: &str) -> bool {
    command.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@')
}

/// The schedule, its fields one blank apart, and the command after it, which may be empty.
///
/// # Errors
/// With the first field that is no good.
pub fn split(text: &str) -> Result<(String, &str), BadSchedule> {
    let (first, after) = next_word(text);
    if first.starts_with('@') {
        return if WORDS.contains(&first) {
            Ok((first.to_owned(), after.trim_start_matches([' ', '\t'])))
        } else {
            let message = format!("'{}' is no schedule: use one of {}", shortened(first), WORDS.join(", "));
            Err(BadSchedule { at: 0, message })
        };
    }
    let mut fields = Vec::with_capacity(FIELDS.len());
    let mut rest = text;
    for field in FIELDS {
        let (word, after) = next_word(rest);
        let at = text.len() - rest.len();
        if word.is_empty() {
            let message =
                format!("the schedule has no {}: it has five fields, then comes the command", field.0);
            return Err(BadSchedule { at, message });
        }
        check(word, field).map_err(|message| BadSchedule { at, message })?;
        fields.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    Ok((fields.join(" "), rest))
}

/// The minutes, hours, days of the month, months and days of the week (0 is Sunday, and so is 7 in the text) of a good
/// schedule, each ascending.
pub(crate) struct ScheduleTimes {
    pub(crate) fields: [Vec<u32>; 5],
    /// Which fields begin with `*`: a day is then one that both fields of days name, and otherwise one that either does.
    pub(crate) starred: [bool; 5],
}

/// All that a schedule which [`split`] has taken stands for.
pub(crate) fn times(schedule: &str) -> ScheduleTimes {
    let schedule = match schedule {
        "@hourly" => "0 * * * *",
        "@daily" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" => "0 0 1 1 *",
        fields => fields,
    };
    let mut times = ScheduleTimes { fields: Default::default(), starred: [false; 5] };
    for (at, (text, (_, low, high, names))) in schedule.split(' ').zip(FIELDS).enumerate() {
        let number = |text: &str| {
            let known = names.iter().position(|name| name.eq_ignore_ascii_case(text));
            let known = known.and_then(|at| u32::try_from(at).ok()).map(|at| low + at);
            known.or_else(|| text.parse().ok()).unwrap_or(low)
        };
        let mut found = BTreeSet::new();
        for part in text.split(',') {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let (from, to) = match (range, range.split_once('-')) {
                ("*", _) => (low, high),
                (_, Some((from, to))) => (number(from), number(to)),
                _ => (number(range), number(range)),
            };
            // A step's number is never a name, so `low` does not come into it.
            let step = step.parse().unwrap_or(1).max(1);
            found.extend((from..=to).step_by(step));
        }
        if at == 4 && found.remove(&7) {
            found.insert(0);
        }
        times.fields[at] = found.into_iter().collect();
        times.starred[at] = text.starts_with('*');
    }
    times
}

fn next_word(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))
}

/// One field: `*`, `N` or `N-M`, the first and the last with an optional `/STEP`, and several of these with commas.
fn check(field: &str, (name, low, high, names): Field) -> Result<(), String> {
    let bad = |why: &str| Err(format!("'{}' is no {name}: {why}", shortened(field)));
    let number = |text: &str| -> Option<u32> {
        let known = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match known {
            Some(at) => u32::try_from(at).ok().map(|at| low + at),
            None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            None => None,
        }
    };
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let several = if range == "*" {
            true
        } else {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (Some(from), Some(to)) = (number(from), number(to)) else {
                return bad(&format!(
                    "use '*', a number, a range N-M, or these with commas; {low} to {high}"
                ));
            };
            if from < low || to > high || from > high {
                return bad(&format!("it goes from {low} to {high}"));
            }
            if from > to {
                return bad("the range runs backwards");
            }
            range.contains('-')
        };
        if let Some(step) = step {
            if !several {
                return bad("a step needs '*' or a range before it");
            }
            if !number(step).is_some_and(|step| step >= 1 && step <= high) || names.contains(&step) {
                return bad(&format!("a step is a number from 1 to {high}"));
            }
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_types_have_a_schedule() {
        for name in ["cron", "cron1", "cron-nightly", "cron_2"] {
            assert!(is_cron(name), "{name}");
        }
        for name in ["crontab", "acron", "Cron", "web"] {
            assert!(!is_cron(name), "{name}");
        }
    }

    #[test]
    fn a_schedule_is_split_from_its_command() {
        for (text, schedule, command) in [
            ("0 5 * * * ./backup", "0 5 * * *", "./backup"),
            ("*/5  *\t* * 1-5   a  b", "*/5 * * * 1-5", "a  b"),
            ("0,30 8-18/2 1 JAN,jul sun x", "0,30 8-18/2 1 JAN,jul sun", "x"),
            ("59 23 31 12 7 x", "59 23 31 12 7", "x"),
            ("@daily  x y", "@daily", "x y"),
            ("@yearly", "@yearly", ""),
            ("0 5 * * *", "0 5 * * *", ""),
        ] {
            assert_eq!(split(text), Ok((schedule.to_owned(), command)), "{text}");
        }
    }

    #[test]
    fn fields_have_a_form_and_a_range() {
        for (text, at, word) in [
            ("60 * * * * x", 0, "minute"),
            ("0 24 * * * x", 2, "hour"),
            ("0 0 0 * * x", 4, "day of the month"),
            ("0 0 32 * * x", 4, "day of the month"),
            ("0 0 1 13 * x", 6, "month"),
            ("0 0 1 1 8 x", 8, "day of the week"),
            ("0 0 1 1 fry x", 8, "day of the week"),
            ("0 0 mon 1 * x", 4, "day of the month"),
            ("5/15 * * * * x", 0, "step"),
            ("*/0 * * * * x", 0, "step"),
            ("*/60 * * * * x", 0, "step"),
            ("*/ * * * * x", 0, "step"),
            ("5-1 * * * * x", 0, "backwards"),
            ("1,,2 * * * * x", 0, "minute"),
            ("-1 * * * * x", 0, "minute"),
            ("99999999999999999999 * * * * x", 0, "minute"),
            ("* * * *", 7, "no day of the week"),
            ("*", 1, "no hour"),
            ("@reboot x", 0, "@hourly"),
        ] {
            let bad = split(text).expect_err(text);
            assert_eq!((bad.at, bad.message.contains(word)), (at, true), "{text}: {bad:?}");
        }
    }
}
