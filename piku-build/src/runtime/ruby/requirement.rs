//! Versions of Ruby, and the requirements that a Gemfile sets on them: `3.1.2`, `~> 3.1`, `>= 3.0`.

use crate::runtime::version::RuntimeVersion;

/// Reads `3.1`, `3.1.2`, `ruby-3.1.2`, `3.1.2p20`; missing parts are 0, and what stands behind the numbers is not looked at.
pub(super) fn version(text: &str) -> Option<RuntimeVersion> {
    parts(text).map(|(version, _)| version)
}

/// A version and how many of its parts were said.
fn parts(text: &str) -> Option<(RuntimeVersion, usize)> {
    let text = text.trim();
    let text = text.strip_prefix("ruby-").or_else(|| text.strip_prefix("ruby ")).unwrap_or(text).trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    // A patch level or a preview; anything else is another Ruby.
    if !text[end..].is_empty() && !text[end..].starts_with(['p', '-']) {
        return None;
    }
    let mut version = [0; 3];
    let mut count = 0;
    for part in text[..end].split('.').take(3) {
        version[count] = part.parse().ok()?;
        count += 1;
    }
    Some((RuntimeVersion(version), count))
}

/// How well a version answers what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RubyFit {
    /// As asked.
    Exact,
    /// Another patch of it: what runs on the one runs on the other.
    Patch,
    /// A newer one of the same major version.
    Newer,
    /// An older one of the same major version.
    Older,
    /// Something else.
    No,
}

/// What a file asks for by one version: `3.1.2` or `3.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestedRuby {
    version: RuntimeVersion,
    parts: usize,
}

impl RequestedRuby {
    pub(super) fn parse(text: &str) -> Option<Self> {
        parts(text).map(|(version, parts)| Self { version, parts })
    }

    pub(super) fn fit(self, version: RuntimeVersion) -> RubyFit {
        let (asked, there) = (self.version.0, version.0);
        if asked[..self.parts] == there[..self.parts] {
            RubyFit::Exact
        } else if asked[..2] == there[..2] {
            RubyFit::Patch
        } else if asked[0] != there[0] {
            RubyFit::No
        } else if version > self.version {
            RubyFit::Newer
        } else {
            RubyFit::Older
        }
    }
}

/// One condition of a Gemfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RubyCondition {
    operator: &'static str,
    version: RuntimeVersion,
    parts: usize,
}

/// The longer ones first: one may begin with another.
const OPERATORS: [&str; 7] = ["~>", ">=", "<=", "!=", ">", "<", "="];

/// All conditions of a Gemfile's `ruby` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RubyRequirement(Vec<RubyCondition>);

impl RubyRequirement {
    /// Reads the conditions, each as it is written there; `None` when one is none.
    pub(super) fn parse(texts: &[String]) -> Option<Self> {
        let condition = |text: &str| {
            let text = text.trim();
            let operator = OPERATORS.into_iter().find(|operator| text.starts_with(operator));
            let (version, parts) = parts(text.strip_prefix(operator.unwrap_or_default())?)?;
            Some(RubyCondition { operator: operator.unwrap_or("="), version, parts })
        };
        let all = texts.iter().flat_map(|text| text.split(',')).map(condition);
        all.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty()).map(Self)
    }

    /// Whether Bundler goes on with this version.
    pub(super) fn allows(&self, there: RuntimeVersion) -> bool {
        self.0.iter().all(|condition| {
            let asked = condition.version;
            match condition.operator {
                ">=" => there >= asked,
                "<=" => there <= asked,
                ">" => there > asked,
                "<" => there < asked,
                "!=" => there != asked,
                "~>" => {
                    let same = condition.parts.saturating_sub(1).max(1);
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
            assert_eq!(version(text), Some(RuntimeVersion([3, 1, 2])), "{text}");
        }
        for text in ["jruby-9.3.0", "", "system", "3.x", "truffleruby-22"] {
            assert_eq!(version(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_gemfile_allows() {
        let allows = |texts: &[&str], ruby: &str| {
            let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
            RubyRequirement::parse(&texts).unwrap().allows(version(ruby).unwrap())
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

    #[test]
    fn how_well_a_version_fits_a_wish() {
        let fit = |asked, there| RequestedRuby::parse(asked).unwrap().fit(version(there).unwrap());
        for (asked, there, good) in [
            ("3.1.2", "3.1.2", RubyFit::Exact),
            ("3.1", "3.1.2", RubyFit::Exact),
            ("3", "3.4.1", RubyFit::Exact),
            ("3.1.4", "3.1.2", RubyFit::Patch),
            ("3.0.1", "3.1.2", RubyFit::Newer),
            ("3.3.0", "3.1.2", RubyFit::Older),
            ("2.7.8", "3.1.2", RubyFit::No),
        ] {
            assert_eq!(fit(asked, there), good, "{asked} {there}");
        }
    }
}
