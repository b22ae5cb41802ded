//! A length of time in `host.yaml`: a number of seconds, or one with its unit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest accepted pause; a longer one is probably a typing error.
const LONGEST: u64 = 3600;

/// A pause of up to an hour: `30`, `30s` or `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "PauseText", into = "u64")]
pub struct SettingPause(u64);

/// As it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a number of seconds, or one with its unit: 30s, 2m")]
enum PauseText {
    Number(u64),
    Text(String),
}

impl SettingPause {
    /// Returns it as a duration; `None` for no pause at all.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        (self.0 > 0).then_some(Duration::from_secs(self.0))
    }
}

impl TryFrom<PauseText> for SettingPause {
    type Error = String;

    fn try_from(text: PauseText) -> Result<Self, String> {
        let seconds = match text {
            PauseText::Number(seconds) => Some(seconds),
            PauseText::Text(text) => read(&text),
        };
        let seconds = seconds.filter(|seconds| *seconds <= LONGEST);
        seconds.map(Self).ok_or_else(|| {
            "expected a time of up to an hour, in seconds or with its unit: 30s, 2m".to_owned()
        })
    }
}

impl From<SettingPause> for u64 {
    fn from(pause: SettingPause) -> Self {
        pause.0
    }
}

fn read(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "" | "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_or_a_number_with_its_unit() {
        let read = |text: &str| serde_yaml::from_str::<SettingPause>(text).map(SettingPause::duration);
        for (text, seconds) in [("30", 30), ("30s", 30), ("'45'", 45), ("2m", 120), ("1h", 3600)] {
            assert_eq!(read(text).unwrap(), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(read("0").unwrap(), None);
        assert_eq!(read("0s").unwrap(), None);
        for bad in ["-1", "1.5", "s", "30 s", "2d", "61m", "3601", "99999999999999999999m", "[30]", "true"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let back = serde_yaml::to_string(&SettingPause(30)).unwrap();
        assert_eq!(back.trim(), "30");
    }
}
