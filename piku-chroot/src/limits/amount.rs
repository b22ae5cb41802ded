//! `--limit memory=512m,pids=100,cpu=1.5,nofile=1024` as values.

use std::fmt;
use std::str::FromStr;

use crate::limits::CgroupController;
use crate::limits::rlimits::machine_memory;

/// Limits of a jail; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JailLimits {
    /// Memory of all processes together.
    pub memory: Option<MemoryAmount>,
    /// Number of processes and threads.
    pub pids: Option<CountLimit>,
    /// Processor time of all processes together.
    pub cpu: Option<ProcessorLimit>,
    /// Open files of one process.
    pub nofile: Option<CountLimit>,
}

/// An amount of memory, absolute or relative to the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryAmount {
    /// Absolute, at least 1.
    Bytes(u64),
    /// Share of the machine's memory.
    Percent(u64),
}

/// A number from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountLimit(pub(crate) u64);

/// Number of processors, in hundredths of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorLimit(pub(crate) u64);

/// Smallest limit on memory that lets a program run.
const MIN_MEMORY: u64 = 1 << 20;

impl MemoryAmount {
    /// Returns the number of bytes on this machine.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Whole pages: the kernel rounds down, and a report must show the limit that holds.
            Self::Percent(percent) => machine_memory() / 100 * percent / 4096 * 4096,
        }
    }
}

impl JailLimits {
    /// Returns these limits, and those of `before` where these are unlimited.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            memory: self.memory.or(before.memory),
            pids: self.pids.or(before.pids),
            cpu: self.cpu.or(before.cpu),
            nofile: self.nofile.or(before.nofile),
        }
    }

    /// Returns whether this controller has something to limit.
    pub(crate) fn needs(&self, controller: CgroupController) -> bool {
        match controller {
            CgroupController::Memory => self.memory.is_some(),
            CgroupController::Pids => self.pids.is_some(),
            CgroupController::Cpu => self.cpu.is_some(),
        }
    }
}

impl FromStr for JailLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        for word in text.split(',') {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("bad limit '{word}': expected NAME=VALUE, as in memory=512m"))?;
            let before = match name {
                "memory" => limits.memory.replace(parse_value(word, value)?).is_some(),
                "pids" => limits.pids.replace(parse_value(word, value)?).is_some(),
                "cpu" => limits.cpu.replace(parse_value(word, value)?).is_some(),
                "nofile" => limits.nofile.replace(parse_value(word, value)?).is_some(),
                _ => return Err(format!("unknown limit '{name}': expected memory, pids, cpu or nofile")),
            };
            if limits.memory.is_some_and(|memory| matches!(memory, MemoryAmount::Bytes(..MIN_MEMORY))) {
                return Err(format!(
                    "{word}: '{value}' is too little memory: no program runs in less than 1m"
                ));
            }
            if before {
                return Err(format!("'{name}' is given twice"));
            }
        }
        Ok(limits)
    }
}

/// Parses a value; the error names the whole word.
fn parse_value<T: FromStr<Err = String>>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|err| format!("{word}: {err}"))
}

/// Parses digits only: no sign, no blanks.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl FromStr for MemoryAmount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "'{text}' is not an amount of memory: expected bytes, with k, m or g after them, or 1% to 100%"
            )
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent = parse_digits(percent).filter(|percent| (1..=100).contains(percent));
            return percent.map(Self::Percent).ok_or_else(bad);
        }
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => 1,
            "k" | "K" => 1 << 10,
            "m" | "M" => 1 << 20,
            "g" | "G" => 1 << 30,
            _ => return Err(bad()),
        };
        // The kernel counts in 63 bits, and would start at zero again.
        let bytes = parse_digits(digits)
            .and_then(|number| number.checked_mul(unit))
            .filter(|bytes| *bytes <= u64::MAX >> 1);
        bytes.filter(|bytes| *bytes > 0).map(Self::Bytes).ok_or_else(bad)
    }
}

impl fmt::Display for MemoryAmount {
    /// Formats it as an option of tmpfs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for CountLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_digits(text) {
            // The kernel counts no further.
            Some(count @ 1..=0x7fff_ffff) => Ok(Self(count)),
            _ => Err(format!("'{text}' is not a number from 1 on")),
        }
    }
}

impl FromStr for ProcessorLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let hundredths = match (parse_digits(part), part.len()) {
            (Some(tenths), 1) => Some(tenths * 10),
            (hundredths, 2) => hundredths,
            _ => None,
        };
        let whole = parse_digits(whole).filter(|whole| *whole <= 100_000);
        let sum = whole.zip(hundredths).map(|(whole, part)| whole * 100 + part).filter(|sum| *sum > 0);
        sum.map(Self)
            .ok_or_else(|| format!("'{text}' is not a number of processors from 0.01 on, such as 2 or 0.5"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_form() {
        let limits: JailLimits = "memory=512m,pids=10,cpu=1.5,nofile=1024".parse().unwrap();
        let expected = JailLimits {
            memory: Some(MemoryAmount::Bytes(512 << 20)),
            pids: Some(CountLimit(10)),
            cpu: Some(ProcessorLimit(150)),
            nofile: Some(CountLimit(1024)),
        };
        assert_eq!(limits, expected);
        for (text, bytes) in [("1048576", 1 << 20), ("1024k", 1 << 20), ("2G", 2 << 30)] {
            assert_eq!(MemoryAmount::from_str(text), Ok(MemoryAmount::Bytes(bytes)));
        }
        for (text, bytes) in
            [("90%", None), ("4096", Some(4096)), ("64m", Some(64 << 20)), ("1K", Some(1024))]
        {
            let expected = bytes.map_or(MemoryAmount::Percent(90), MemoryAmount::Bytes);
            assert_eq!(MemoryAmount::from_str(text), Ok(expected), "{text}");
        }
        for bad in ["", "m", "0", "0%", "101%", "5q", "+5", "17179869184g", "18446744073709551615"] {
            assert!(MemoryAmount::from_str(bad).is_err(), "{bad}");
        }
        for (text, hundredths) in [("1", 100), ("0.5", 50), ("0.05", 5), ("2.25", 225), ("0.01", 1)] {
            assert_eq!(ProcessorLimit::from_str(text), Ok(ProcessorLimit(hundredths)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in [
            "",
            "memory",
            "memory=",
            "memory=x",
            "memory=0",
            "memory=-1",
            "memory=+5m",
            "memory=0%",
            "memory=101%",
            "memory=1k",
            "memory=99999999999g",
            "memory=m",
            "pids=0",
            "pids=1.5",
            "pids=99999999999",
            "cpu=0",
            "cpu=0.001",
            "cpu=.5",
            "cpu=1.",
            "cpu=1.5.5",
            "cpu=-1",
            "cpu=1e9",
            "nofile=0",
            "swap=1m",
            "pids=1,pids=2",
            " pids=1",
        ] {
            let said = bad.parse::<JailLimits>().unwrap_err();
            let word = bad.split(['=', ',']).next().unwrap();
            assert!(said.contains(word), "{bad}: {said}");
        }
    }

    #[test]
    fn what_is_said_later_wins() {
        let before: JailLimits = "memory=64m,pids=5".parse().unwrap();
        let after: JailLimits = "pids=7,cpu=1".parse().unwrap();
        assert_eq!(after.or(before), "memory=64m,pids=7,cpu=1".parse().unwrap());
    }

    #[test]
    fn a_share_of_this_machine() {
        let half = MemoryAmount::Percent(50).bytes();
        assert!(half > 1 << 20 && half < MemoryAmount::Percent(100).bytes());
    }
}
