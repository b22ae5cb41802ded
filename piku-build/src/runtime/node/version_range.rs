//! Ranges of Node versions: npm's (`^20.1 || >=22`, `20.x`, `18 - 20`) and nvm's names (`lts/iron`).

use anyhow::bail;

use crate::runtime::version::{RuntimeVersion, VersionMatch};

/// Parses `20.11.1` or `v20.11.1`; a suffix after `-` or `+` is ignored.
pub(super) fn parse_exact(text: &str) -> Option<RuntimeVersion> {
    RuntimeVersion::exact(text.trim().trim_start_matches('v').split(['-', '+']).next()?)
}

/// From the first version up to, but not including, the second.
type Interval = ([u32; 3], [u32; 3]);

const ANY: Interval = ([0; 3], [u32::MAX; 3]);

/// A range: one of the intervals; only even major releases, which become LTS, if `even`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeRange {
    intervals: Vec<Interval>,
    even: bool,
}

/// Names of the LTS releases: of major version 4, 6, 8, and so on.
const LONG_TERM: [&str; 11] = [
    "argon", "boron", "carbon", "dubnium", "erbium", "fermium", "gallium", "hydrogen", "iron", "jod",
    "krypton",
];

impl NodeRange {
    /// Parses a range.
    ///
    /// # Errors
    /// Returns the reason if it is not a range.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let of = |intervals, even| Ok(Self { intervals, even });
        match text.to_ascii_lowercase().as_str() {
            "lts/*" | "lts" | "stable" => return of(vec![ANY], true),
            "node" | "latest" | "current" | "*" | "x" => return of(vec![ANY], false),
            name => {
                if let Some(name) = name.strip_prefix("lts/") {
                    let Some(at) = LONG_TERM.iter().position(|known| *known == name) else {
                        bail!("'{text}' is not a long-term release that piku knows");
                    };
                    let major = 4 + 2 * u32::try_from(at)?;
                    return of(vec![([major, 0, 0], [major + 1, 0, 0])], false);
                }
            }
        }
        if text.is_empty() {
            bail!("it is empty");
        }
        let intervals = text.split("||").map(parse_alternative).collect::<anyhow::Result<_>>()?;
        of(intervals, false)
    }

    /// Compares an installed version with the range. Another version of a major release in the range is the same line.
    pub(super) fn matches(&self, version: RuntimeVersion) -> VersionMatch {
        let major = version.0[0];
        if self.even && major % 2 == 1 {
            return VersionMatch::Mismatch;
        }
        if self.intervals.iter().any(|(from, to)| *from <= version.0 && version.0 < *to) {
            VersionMatch::Exact
        } else if self.intervals.iter().any(|(from, to)| from[0] <= major && [major, 0, 0] < *to && from < to)
        {
            VersionMatch::SameLine
        } else {
            VersionMatch::Mismatch
        }
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

    fn matched(asked: &str, version: &str) -> VersionMatch {
        NodeRange::parse(asked).expect(asked).matches(parse_exact(version).unwrap())
    }

    #[test]
    fn ranges_as_npm_has_them() {
        for asked in [
            "20",
            "v20",
            "20.x",
            "20.20",
            "20.20.2",
            "v20.20.2",
            "=20.20.2",
            "^20.1",
            "^20.20.2",
            "~20.20",
            "~20",
            ">=18",
            ">= 18",
            ">18",
            ">=18 <21",
            ">=18,<21",
            "<=20",
            "18 - 20",
            "18.1.0 - 20.20.2",
            "16 || 18 || 20",
            "^18 || ^20.9.0 || >=22",
            "*",
            "lts/*",
            "lts/iron",
            "LTS/Iron",
            "node",
            "20.*",
            "~>20.20",
            ">=0.12",
            "<=20.20.2",
            ">=20.0.0-rc.1",
            "<=20.x",
        ] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::Exact, "{asked}");
        }
        for asked in ["20.11.0", "v20.11.0", "^20.21", "~20.11", ">=20.21", "<20.1", "18 || 20.1.x"] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::SameLine, "{asked}");
        }
        for asked in ["18", "^18 || ^22", ">20", "<20", ">=21", "lts/jod", "18 - 19", "0.12", "<20.0.0"] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::Mismatch, "{asked}");
        }
        assert_eq!(matched("lts/*", "21.1.0"), VersionMatch::Mismatch);
        assert_eq!(matched("^0.10.3", "0.10.40"), VersionMatch::Exact);
        assert_eq!(matched("^0.10.3", "0.12.0"), VersionMatch::SameLine);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "",
            "twenty",
            "20.a",
            "1.2.3.4",
            ">=",
            "lts/zinc",
            "20 || x.y",
            "system",
            "><20",
            "20.99999999999999",
        ] {
            assert!(NodeRange::parse(bad).is_err(), "{bad}");
        }
    }
}
