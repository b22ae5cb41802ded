//! The schedule of a cron job: five fields as in crontab(5), or a word such as `@daily`.
//!
//! `piku-run` computes the times of a schedule with the crate croner, which accepts more. This module
//! accepts only what every cron understands, reports errors with their byte, and expands a schedule for
//! systemd. A property test compares the two.

use std::collections::BTreeSet;

const WORDS: [&str; 5] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"];

/// Name, lowest and highest number, and names for the numbers from the lowest on.
type ScheduleField = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [ScheduleField; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// A schedule that is not valid.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSchedule {
    /// Byte of the text at which it is wrong.
    pub at: usize,
    /// Names the field and its range.
    pub message: String,
}

/// Returns true if a process type of this name is a cron job: `cron`, or `cron` and a digit, `-` or `_`.
#[must_use]
pub fn is_cron_name(name: &str) -> bool {
    name.strip_prefix("cron").is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '_')
    })
}

/// Returns true if a command begins like a schedule. `node worker.js` does not.
pub(crate) fn looks_like_schedule(command: &str) -> bool {
    command.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@')
}

/// Splits a line into the schedule, with single blanks between its fields, and the command, which may be
/// empty.
///
/// # Errors
/// Fails at the first bad field.
pub fn split_schedule(text: &str) -> Result<(String, &str), BadSchedule> {
    let (first, after) = next_word(text);
    if first.starts_with('@') {
        return if WORDS.contains(&first) {
            Ok((first.to_owned(), after.trim_start_matches([' ', '\t'])))
        } else {
            let message =
                format!("'{}' is not a schedule: use one of {}", shortened(first), WORDS.join(", "));
            Err(BadSchedule { at: 0, message })
        };
    }
    let mut fields = Vec::with_capacity(FIELDS.len());
    let mut rest = text;
    for field in FIELDS {
        let (word, after) = next_word(rest);
        let at = text.len() - rest.len();
        if word.is_empty() {
            let message = format!("the schedule has no {}: write five fields, then the command", field.0);
            return Err(BadSchedule { at, message });
        }
        check_field(word, field).map_err(|message| BadSchedule { at, message })?;
        fields.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    // As a command, it would be the names of the files in the directory.
    if next_word(rest).0 == "*" {
        let message = "the schedule has a sixth field: seconds and years cannot be given".to_owned();
        return Err(BadSchedule { at: text.len() - rest.len(), message });
    }
    Ok((fields.join(" "), rest))
}

/// Minutes, hours, days of the month, months and days of the week (0 is Sunday) at which a schedule runs,
/// each ascending.
pub(crate) struct ScheduleTimes {
    pub(crate) fields: [Vec<u32>; 5],
    pub(crate) requires_both_days: bool,
}

/// Returns true if a day must match both fields for days: if one of them begins with `*`, as crontab(5)
/// has it. Otherwise the job runs on days that match either of them.
#[must_use]
pub fn requires_both_days(schedule: &str) -> bool {
    schedule.split(' ').enumerate().any(|(at, field)| matches!(at, 2 | 4) && field.starts_with('*'))
}

/// Expands a schedule that [`split_schedule`] has accepted.
pub(crate) fn expand_schedule(schedule: &str) -> ScheduleTimes {
    let schedule = match schedule {
        "@hourly" => "0 * * * *",
        "@daily" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" => "0 0 1 1 *",
        fields => fields,
    };
    let mut times =
        ScheduleTimes { fields: Default::default(), requires_both_days: requires_both_days(schedule) };
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
            // A step is a number, never a name.
            let step = step.parse().unwrap_or(1).max(1);
            found.extend((from..=to).step_by(step));
        }
        if at == 4 && found.remove(&7) {
            found.insert(0);
        }
        times.fields[at] = found.into_iter().collect();
    }
    times
}

fn next_word(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))
}

/// Checks a field: `*`, or a list of `N`, `N-M`, `N-M/STEP` and `*/STEP`.
fn check_field(field: &str, (name, low, high, names): ScheduleField) -> Result<(), String> {
    let bad = |why: &str| Err(format!("'{}' is not a valid {name}: {why}", shortened(field)));
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
        let is_range = if range == "*" {
            if part.len() < field.len() && step.is_none() {
                return bad("'*' cannot be part of a list");
            }
            true
        } else {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (Some(from), Some(to)) = (number(from), number(to)) else {
                return bad(&format!(
                    "use '*', a number, a range N-M, or a list of these with commas, from {low} to {high}"
                ));
            };
            if range.to_ascii_lowercase().ends_with("-sun") {
                return bad("Sunday ends a range as 7: write 5-7 in place of fri-sun");
            }
            if from < low || to > high || from > high {
                return bad(&format!("the numbers go from {low} to {high}"));
            }
            if from > to {
                return bad("the range is backwards");
            }
            range.contains('-')
        };
        if let Some(step) = step {
            if !is_range {
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
    use croner::parser::{CronParser, Seconds, Year};
    use jiff::civil::date;
    use jiff::{ToSpan, tz::TimeZone};
    use proptest::prelude::*;

    #[test]
    fn which_types_have_a_schedule() {
        for name in ["cron", "cron1", "cron-nightly", "cron_2"] {
            assert!(is_cron_name(name), "{name}");
        }
        for name in ["crontab", "acron", "Cron", "web"] {
            assert!(!is_cron_name(name), "{name}");
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
            assert_eq!(split_schedule(text), Ok((schedule.to_owned(), command)), "{text}");
        }
    }

    #[test]
    fn fields_have_a_form_and_a_range() {
        for (text, at, word) in [
            ("60 * * * * x", 0, "minute"),
            ("0 0 3 * * * ./backup", 10, "sixth field"),
            ("*/5 * * * * *", 12, "sixth field"),
            ("0 24 * * * x", 2, "hour"),
            ("0 0 0 * * x", 4, "day of the month"),
            ("0 0 32 * * x", 4, "day of the month"),
            ("0 0 1 13 * x", 6, "month"),
            ("0 0 1 1 8 x", 8, "day of the week"),
            ("0 0 1 1 fry x", 8, "day of the week"),
            ("0 0 * * mon-sun x", 8, "5-7"),
            ("0 0 * * 0-Sun x", 8, "5-7"),
            ("0 0 * * sun-sun/2 x", 8, "5-7"),
            ("0 0 mon 1 * x", 4, "day of the month"),
            ("5/15 * * * * x", 0, "step"),
            ("*/0 * * * * x", 0, "step"),
            ("*/60 * * * * x", 0, "step"),
            ("*/ * * * * x", 0, "step"),
            ("5-1 * * * * x", 0, "backwards"),
            ("1,,2 * * * * x", 0, "minute"),
            ("-1 * * * * x", 0, "minute"),
            ("0 *,5 * * * x", 2, "'*'"),
            ("99999999999999999999 * * * * x", 0, "minute"),
            ("* * * *", 7, "no day of the week"),
            ("*", 1, "no hour"),
            ("@reboot x", 0, "@hourly"),
        ] {
            let bad = split_schedule(text).expect_err(text);
            assert_eq!((bad.at, bad.message.contains(word)), (at, true), "{text}: {bad:?}");
        }
    }

    fn croner(schedule: &str) -> Option<croner::Cron> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(requires_both_days(schedule))
            .build();
        parser.parse(schedule).ok()
    }

    /// Generates fields with numbers up to one above `high`.
    fn fields((_, low, high, names): ScheduleField) -> impl Strategy<Value = String> {
        let number = prop_oneof![
            9 => (low..=high + 1).prop_map(|number| number.to_string()),
            1 => prop::sample::select(names.iter().copied().chain(["x", ""]).collect::<Vec<_>>()).prop_map(str::to_owned),
        ];
        let range = prop_oneof![
            Just("*".to_owned()),
            number.clone(),
            (number.clone(), number).prop_map(|(from, to)| format!("{from}-{to}")),
        ];
        let step = prop_oneof![3 => Just(String::new()), 1 => (0..=high).prop_map(|step| format!("/{step}"))];
        proptest::collection::vec((range, step).prop_map(|(range, step)| range + &step), 1..3)
            .prop_map(|parts| parts.join(","))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// `piku-run` computes the times with croner: a schedule is valid for both or for neither, and
        /// means the same.
        #[test]
        fn croner_agrees(fields in FIELDS.map(fields), day in 0..1500_i64, minute in 0..1440_i64) {
            let schedule = fields.join(" ");
            let accepted = split_schedule(&schedule);
            let cron = croner(&schedule);
            // croner also accepts empty items of a list, and `sun` as the end of a range.
            let is_lenient = schedule.split([' ', ',']).any(|part| part.is_empty() || part.contains("-sun"));
            prop_assert!(accepted.is_ok() == cron.is_some() || is_lenient && accepted.is_err(), "{}: {:?}", schedule, accepted);
            let (Ok((schedule, _)), Some(cron)) = (accepted, cron) else { return Ok(()) };
            let times = expand_schedule(&schedule);
            let time = date(2024, 1, 1).at(0, 0, 0, 0) + day.days() + minute.minutes();
            let numbers = [
                time.minute(),
                time.hour(),
                time.day(),
                time.month(),
                time.weekday().to_sunday_zero_offset(),
            ];
            let matches: Vec<bool> = numbers
                .iter()
                .zip(&times.fields)
                .map(|(number, field)| field.iter().any(|at| i64::from(*at) == i64::from(*number)))
                .collect();
            let is_day =
                if times.requires_both_days { matches[2] && matches[4] } else { matches[2] || matches[4] };
            let expected = matches[0] && matches[1] && matches[3] && is_day;
            let zoned = time.to_zoned(TimeZone::UTC).unwrap();
            prop_assert_eq!(cron.is_time_matching(&zoned).unwrap(), expected, "{} at {}", schedule, time);
        }
    }
}
