//! Versions of Ruby, and the requirements of a Gemfile: `3.1.2`, `~> 3.1`, `>= 3.0`.

use crate::runtime::version::{PinnedVersion, RuntimeVersion};

/// Parses `3.1`, `3.1.2`, `ruby-3.1.2`, `3.1.2p20`; missing numbers are 0, and a patch level is ignored.
pub(super) fn parse_version(text: &str) -> Option<PinnedVersion> {
    let text = text.trim();
    let text = text.strip_prefix("ruby-").or_else(|| text.strip_prefix("ruby ")).unwrap_or(text).trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    // A patch level or a preview may follow; anything else is another Ruby.
    if !text[end..].is_empty() && !text[end..].starts_with(['p', '-']) {
        return None;
    }
    let mut version = [0; 3];
    let mut parts = 0;
    for part in text[..end].split('.').take(3) {
        version[parts] = part.parse().ok()?;
        parts += 1;
    }
    Some(PinnedVersion { version: RuntimeVersion(version), parts })
}

/// A condition of a `ruby` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RubyCondition {
    operator: &'static str,
    pinned: PinnedVersion,
}

/// The longer ones first, because one may begin with another.
const OPERATORS: [&str; 7] = ["~>", ">=", "<=", "!=", ">", "<", "="];

/// The conditions of a `ruby` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RubyRequirement(Vec<RubyCondition>);

impl RubyRequirement {
    /// Parses the conditions; `None` if one of them is malformed.
    pub(super) fn parse(texts: &[String]) -> Option<Self> {
        let condition = |text: &str| {
            let text = text.trim();
            let operator = OPERATORS.into_iter().find(|operator| text.starts_with(operator));
            let pinned = parse_version(text.strip_prefix(operator.unwrap_or_default())?)?;
            Some(RubyCondition { operator: operator.unwrap_or("="), pinned })
        };
        let all = texts.iter().flat_map(|text| text.split(',')).map(condition);
        all.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty()).map(Self)
    }

    /// Returns whether Bundler runs on this version.
    pub(super) fn allows(&self, there: RuntimeVersion) -> bool {
        self.0.iter().all(|condition| {
            let PinnedVersion { version: asked, parts } = condition.pinned;
            match condition.operator {
                ">=" => there >= asked,
                "<=" => there <= asked,
                ">" => there > asked,
                "<" => there < asked,
                "!=" => there != asked,
                "~>" => {
                    let same = parts.saturating_sub(1).max(1);
                    there >= asked && there.0[..same] == asked.0[..same]
                }
                _ => there == asked,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_rubies_and_files_write_them() {
        for text in ["3.1.2", "ruby-3.1.2", "ruby 3.1.2p20", " 3.1.2-rc1\n", "3.1.2.1"] {
            assert_eq!(parse_version(text).unwrap().version, RuntimeVersion([3, 1, 2]), "{text}");
        }
        for text in ["jruby-9.3.0", "", "system", "3.x", "truffleruby-22"] {
            assert_eq!(parse_version(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_gemfile_allows() {
        let allows = |texts: &[&str], ruby: &str| {
            let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
            RubyRequirement::parse(&texts).unwrap().allows(parse_version(ruby).unwrap().version)
        };
        for (texts, good, bad) in [
            (&["3.1.2"][..], "3.1.2", "3.1.4"),
            (&["~> 3.1"], "3.4.0", "4.0.0"),
            (&["~> 3.1.2"], "3.1.9", "3.2.0"),
            (&["~> 3"], "3.4.0", "4.0.0"),
            (&[">= 3.0", "< 3.3"], "3.2.9", "3.3.0"),
            (&[">=3.0, <3.3"], "3.0.0", "2.7.8"),
            // As Bundler takes it: 3.1 is 3.1.0.
            (&["3.1"], "3.1.0", "3.1.2"),
        ] {
            assert!(allows(texts, good) && !allows(texts, bad), "{texts:?}");
        }
        assert_eq!(RubyRequirement::parse(&["#{version}".to_owned()]), None);
    }
}
