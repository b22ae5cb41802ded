//! Limits of a process type, `MEMORY_LIMIT=512m` or `WORKER_MEMORY_LIMIT=256m`, as amounts that engines know.

use std::ops::RangeInclusive;

use crate::render::app_values::{AppValues, ValuesReader};

/// Bytes of `/tmp` unless `TMP_SIZE` sets others.
const TMP_SIZE: u64 = 64 << 20;
/// Bytes that a limit may have: no program runs in less, and no machine has more.
const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// Thousandths of a processor that a limit may have.
const CPU: RangeInclusive<u64> = 1..=1_000_000;

/// Limits of each instance of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerLimits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cpu: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) open_files: Option<u64>,
    /// Bytes of `/tmp`, which is in memory.
    pub(crate) tmp: u64,
}

impl ContainerLimits {
    /// Reads the limits of a type. Adds an error for each value that is not valid.
    pub(crate) fn read(kind: &str, values: &AppValues, reader: &mut ValuesReader<'_>) -> Self {
        let mut read =
            |variable: &str, range: RangeInclusive<u64>, parse: fn(&str) -> Option<u64>, what: &str| {
                let name = variable_name(kind, variable, values)?;
                let text = reader.text(&name)?;
                let amount = parse(text).filter(|amount| range.contains(amount));
                if amount.is_none() {
                    reader.add_error(&name, format!("'{text}' is not {what}"), None);
                }
                amount
            };
        let size = "an amount of memory for any machine, such as 512m";
        Self {
            memory: read("MEMORY_LIMIT", MEMORY, parse_size, size),
            cpu: read("CPU_LIMIT", CPU, parse_thousandths, "a number of processors, such as 1.5"),
            pids: read("PIDS_LIMIT", 1..=0x7fff_ffff, parse_digits, "a number from 1 on"),
            open_files: read("NOFILE_LIMIT", 1..=0x7fff_ffff, parse_digits, "a number from 1 on"),
            tmp: read("TMP_SIZE", MEMORY, parse_size, size).unwrap_or(TMP_SIZE),
        }
    }
}

/// Returns the variable that applies to a type: its own, or the app's; `None` if neither is set.
fn variable_name(kind: &str, variable: &str, values: &AppValues) -> Option<String> {
    let own = format!("{}_{variable}", kind.to_uppercase().replace('-', "_"));
    [own, variable.to_owned()].into_iter().find(|name| values.get(name).is_some())
}

/// Parses digits only: no sign, no blanks.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses bytes, with `k`, `m` or `g` after them. A percentage depends on the machine and is refused.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    parse_digits(digits)?.checked_mul(unit)
}

/// Parses a decimal number with at most three digits after its point, in thousandths.
fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 3 {
        return None;
    }
    let part = format!("{part:0<3}");
    parse_digits(whole)?.checked_mul(1000)?.checked_add(parse_digits(&part)?)
}

/// Returns an amount of bytes in the largest binary unit that divides it: `512Mi`, or `512m` with the units of
/// Docker.
pub(crate) fn format_size(bytes: u64, units: [&str; 4]) -> String {
    let [none, kilo, mega, giga] = units;
    let (amount, unit) = [(1 << 30, giga), (1 << 20, mega), (1 << 10, kilo)]
        .into_iter()
        .find(|(size, _)| bytes % size == 0)
        .map_or((bytes, none), |(size, unit)| (bytes / size, unit));
    format!("{amount}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> AppValues {
        let mut values = AppValues::default();
        for (name, value) in pairs {
            values.set(name, value, "ENV");
        }
        values
    }

    #[test]
    fn a_type_s_own_limit_stands_over_the_app_s() {
        let values = values(&[
            ("MEMORY_LIMIT", "512m"),
            ("MY_WORKER_MEMORY_LIMIT", "1G"),
            ("CPU_LIMIT", "1.5"),
            ("MY_WORKER_CPU_LIMIT", ""),
            ("TMP_SIZE", "131072k"),
        ]);
        let mut reader = ValuesReader::new(&values);
        let web = ContainerLimits::read("web", &values, &mut reader);
        let worker = ContainerLimits::read("my-worker", &values, &mut reader);
        assert_eq!((web.memory, web.cpu, web.tmp), (Some(512 << 20), Some(1500), 128 << 20));
        assert_eq!((worker.memory, worker.cpu, worker.pids), (Some(1 << 30), None, None));
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn amounts_that_depend_on_the_machine_or_mean_nothing_are_errors() {
        for (name, value) in [
            ("MEMORY_LIMIT", "50%"),
            ("MEMORY_LIMIT", "512x"),
            ("MEMORY_LIMIT", "1k"),
            ("MEMORY_LIMIT", "99999999999999999999g"),
            ("WEB_CPU_LIMIT", "0"),
            ("CPU_LIMIT", "-1"),
            ("CPU_LIMIT", "1.2345"),
            ("PIDS_LIMIT", "0"),
            ("NOFILE_LIMIT", "many"),
            ("TMP_SIZE", "0"),
        ] {
            let values = values(&[(name, value)]);
            let mut reader = ValuesReader::new(&values);
            ContainerLimits::read("web", &values, &mut reader);
            let told = reader.finish().expect_err(value).to_string();
            assert!(told.contains(&format!("{name}: '{value}' is not ")), "{told}");
        }
    }

    #[test]
    fn sizes_have_the_unit_that_divides_them() {
        for (bytes, text) in
            [(512 << 20, "512Mi"), (1 << 30, "1Gi"), (1536 << 20, "1536Mi"), (1 << 20 | 1, "1048577")]
        {
            assert_eq!(format_size(bytes, ["", "Ki", "Mi", "Gi"]), text);
        }
    }
}
