//! Version ranges as npm, and Go's buildpacks, have them: `^20.1 || >=22`, `20.x`, `18 - 20`, `>=1.20,
//! <1.23`.

use anyhow::bail;

use super::version::{RuntimeVersion, VersionMatch};

/// From the first version up to, but not including, the second.
type Interval = ([u32; 3], [u32; 3]);

const ANY: Interval = ([0; 3], [u32::MAX; 3]);

/// A range of versions: one of the intervals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SemverRange {
    intervals: Vec<Interval>,
}

impl SemverRange {
    /// Returns the range of all versions.
    pub(super) fn any() -> Self {
        Self { intervals: vec![ANY] }
    }

    /// Returns the range of one major release.
    pub(super) fn of_major(major: u32) -> Self {
        Self { intervals: vec![([major, 0, 0], [major + 1, 0, 0])] }
    }

    /// Parses a range.
    ///
    /// # Errors
    /// Returns the reason if it is not a range.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            bail!("it is empty");
        }
        let intervals = text.split("||").map(parse_alternative).collect::<anyhow::Result<_>>()?;
        Ok(Self { intervals })
    }

    /// Returns whether a version is in the range.
    pub(super) fn contains(&self, version: RuntimeVersion) -> bool {
        self.intervals.iter().any(|(from, to)| *from <= version.0 && version.0 < *to)
    }

    /// Compares an installed version with the range. Another version of a major release in the range is the
    /// same line.
    pub(super) fn matches(&self, version: RuntimeVersion) -> VersionMatch {
        let major = version.0[0];
        if self.contains(version) {
            VersionMatch::Exact
        } else if self.intervals.iter().any(|(from, to)| from[0] <= major && [major, 0, 0] < *to && from < to)
        {
            VersionMatch::SameLine
        } else {
            VersionMatch::Mismatch
        }
    }

    /// Returns the first version in the range.
    pub(super) fn lowest(&self) -> RuntimeVersion {
        let lows = self.intervals.iter().filter(|(from, to)| from < to).map(|(from, _)| *from);
        RuntimeVersion(lows.min().unwrap_or_default())
    }

    /// Returns the last version in the range, with [`u32::MAX`] for open numbers; `None` if the range has no
    /// end.
    pub(super) fn highest(&self) -> Option<RuntimeVersion> {
        let (_, end) = self.intervals.iter().max_by_key(|(_, to)| *to)?;
        match *end {
            [u32::MAX, ..] | [0, 0, 0] => None,
            [major, 0, 0] => Some(RuntimeVersion([major - 1, u32::MAX, u32::MAX])),
            [major, minor, 0] => Some(RuntimeVersion([major, minor - 1, u32::MAX])),
            [major, minor, patch] => Some(RuntimeVersion([major, minor, patch - 1])),
        }
    }

    /// Returns the range in npm's words.
    pub(super) fn to_npm(&self) -> String {
        let show = |(from, to): &Interval| match (*from, *to) {
            ([0, 0, 0], [u32::MAX, ..]) => "*".to_owned(),
            (from, [u32::MAX, ..]) => format!(">={}", RuntimeVersion(from)),
            (from, to) => format!(">={} <{}", RuntimeVersion(from), RuntimeVersion(to)),
        };
        self.intervals.iter().map(show).collect::<Vec<_>>().join(" || ")
    }

    /// Returns the part of the range in one major release, in npm's words; `None` if it is empty.
    pub(super) fn within_major(&self, major: u32) -> Option<String> {
        let (first, end) = ([major, 0, 0], [major + 1, 0, 0]);
        let show = |(from, to): &Interval| {
            let (from, to) = ((*from).max(first), (*to).min(end));
            let [low, high] = [from, to].map(RuntimeVersion);
            match (from, to) {
                _ if from >= to => None,
                _ if (from, to) == (first, end) => Some(major.to_string()),
                ([.., patch], _) if to == [from[0], from[1], patch + 1] => Some(low.to_string()),
                _ => Some(format!(">={low} <{high}")),
            }
        };
        let parts: Vec<_> = self.intervals.iter().filter_map(show).collect();
        (!parts.is_empty()).then(|| parts.join(" || "))
    }
}

/// Parses one alternative of a range: the versions that satisfy all its comparators.
fn parse_alternative(text: &str) -> anyhow::Result<Interval> {
    let mut text = text.trim().replace(',', " ");
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, to) = (
            parse_comparator(&format!(">={}", from.trim()))?,
            parse_comparator(&format!("<={}", to.trim()))?,
        );
        return Ok((from.0, to.1));
    }
    // A space may separate an operator from its version.
    for operator in [">=", "<=", ">", "<", "=", "^", "~"] {
        while text.contains(&format!("{operator} ")) {
            text = text.replace(&format!("{operator} "), operator);
        }
    }
    let mut all = ANY;
    for word in text.split_whitespace() {
        let (from, to) = parse_comparator(word)?;
        all = (all.0.max(from), all.1.min(to));
    }
    Ok(all)
}

fn parse_comparator(word: &str) -> anyhow::Result<Interval> {
    let digits = word.trim_start_matches(['>', '<', '=', '^', '~']);
    let operator = &word[..word.len() - digits.len()];
    let mut parts = Vec::new();
    let mut any = false;
    for part in digits.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default().split('.') {
        match part.parse::<u32>() {
            // Numbers after an `x` are ignored.
            Ok(number) if number < u32::MAX => parts.extend((!any).then_some(number)),
            _ if matches!(part, "x" | "X" | "*") => any = true,
            _ => bail!("'{word}' is not a version"),
        }
    }
    if parts.len() > 3 {
        bail!("'{word}' has more than three parts");
    }
    let at = |place: usize| parts.get(place).copied().unwrap_or(0);
    let low = [at(0), at(1), at(2)];
    // The first version after all that begin with `count` numbers.
    let behind = |count: usize| match count {
        0 => [u32::MAX; 3],
        1 => [at(0) + 1, 0, 0],
        2 => [at(0), at(1) + 1, 0],
        _ => [at(0), at(1), at(2) + 1],
    };
    let count = parts.len();
    Ok(match operator {
        "" | "=" | "==" => (low, behind(count)),
        ">=" => (low, ANY.1),
        ">" => (behind(count), ANY.1),
        "<" => (ANY.0, low),
        "<=" => (ANY.0, behind(count)),
        "~" | "~>" => (low, behind(count.min(2))),
        // The first number that is not 0 must be equal.
        "^" => (low, behind(parts.iter().position(|part| *part > 0).map_or(count, |place| place + 1))),
        _ => bail!("'{word}' is not a version"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_in_a_major_release() {
        let range = |text: &str| SemverRange::parse(text).unwrap();
        for (text, major, expected) in [
            (">=8", 8, Some("8")),
            ("^8.1.0 || ^10", 8, Some(">=8.1.0 <9.0.0")),
            ("^8.1.0 || ^10", 10, Some("10")),
            ("8.1.0", 8, Some("8.1.0")),
            ("6 - 7.2", 7, Some(">=7.0.0 <7.3.0")),
            ("<6", 6, None),
        ] {
            assert_eq!(range(text).within_major(major).as_deref(), expected, "{text} {major}");
        }
        for (text, expected) in [
            (">=14 <17", Some(16)),
            ("<=20", Some(20)),
            ("20.1.x", Some(20)),
            (">=14", None),
            ("^0.10", Some(0)),
        ] {
            assert_eq!(range(text).highest().map(|version| version.0[0]), expected, "{text}");
        }
        assert_eq!(range("4.2.x").highest(), Some(RuntimeVersion([4, 2, u32::MAX])));
        assert_eq!(range(">=18, <19 || >=20.1 || *").to_npm(), ">=18.0.0 <19.0.0 || >=20.1.0 || *");
        assert_eq!(range(">=1.20.3, <1.23").lowest(), RuntimeVersion([1, 20, 3]));
    }
}
