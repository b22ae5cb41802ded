//! A number of days in `host.yaml`: `30d`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most days that are accepted, a hundred years.
const MOST: u64 = 36500;

/// A time of whole days: `30d`, or `30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DaysText", into = "String")]
pub struct KeptDays(u64);

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a number of days: 30d")]
enum DaysText {
    Number(u64),
    Text(String),
}

impl KeptDays {
    /// Returns true if nothing is kept.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns it as a duration of days with 24 hours.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0 * 24 * 3600)
    }
}

impl Default for KeptDays {
    fn default() -> Self {
        Self(30)
    }
}

impl TryFrom<DaysText> for KeptDays {
    type Error = String;

    fn try_from(text: DaysText) -> Result<Self, String> {
        let days = match text {
            DaysText::Number(days) => Some(days),
            DaysText::Text(text) => text.strip_suffix('d').unwrap_or(&text).parse().ok(),
        };
        let days = days.filter(|days| *days <= MOST);
        days.map(Self).ok_or_else(|| "expected a number of days: 30d".to_owned())
    }
}

impl From<KeptDays> for String {
    fn from(days: KeptDays) -> Self {
        format!("{}d", days.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_with_and_without_unit() {
        let read = |text: &str| serde_yaml::from_str::<KeptDays>(text).ok();
        assert_eq!(
            (read("30d"), read("0"), read("7")),
            (Some(KeptDays(30)), Some(KeptDays(0)), Some(KeptDays(7)))
        );
        assert_eq!(KeptDays::default().duration(), Duration::from_secs(2_592_000));
        for bad in ["-1d", "1h", "36501d", "d", "[1]", "''"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
