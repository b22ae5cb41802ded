//! `Gemfile.lock`: the gems, their sources, and the Ruby that made it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The content of a lock file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GemfileLock {
    /// `ruby 3.1.2p20`.
    pub(super) ruby: Option<String>,
    /// Names and versions of the gems from all sources.
    pub(super) gems: BTreeMap<String, String>,
    /// The gems from gem servers, as `(name, name-version)`, once for each platform.
    pub(super) served: Vec<(String, String)>,
    /// Folders of gems in the app.
    pub(super) paths: Vec<PathBuf>,
}

impl GemfileLock {
    /// Parses the text. Bundler reports what is wrong in it.
    pub(super) fn parse(text: &str) -> Self {
        let mut lock = Self::default();
        let mut section = "";
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let depth = line.len() - line.trim_start().len();
            let word = line.trim();
            match (section, depth) {
                (_, 0) => section = word,
                ("RUBY VERSION", _) => lock.ruby = Some(word.to_owned()),
                ("PATH", 2) => lock.paths.extend(word.strip_prefix("remote:").map(|path| path.trim().into())),
                ("GEM" | "GIT" | "PATH" | "PLUGIN SOURCE", 4) => {
                    let Some((name, version)) =
                        word.split_once(" (").and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)))
                    else {
                        continue;
                    };
                    if section == "GEM" {
                        lock.served.push((name.to_owned(), format!("{name}-{version}")));
                    }
                    let version = version.split('-').next().unwrap_or_default();
                    lock.gems.insert(name.to_owned(), version.to_owned());
                }
                _ => {}
            }
        }
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sections() {
        let lock = GemfileLock::parse(
            "GIT\n  remote: https://example.org/x.git\n  revision: abc\n  specs:\n    x (0.1.0)\n\n\
             PATH\n  remote: engines/shop\n  specs:\n    shop (1.0)\n      rails (~> 7.0)\n\n\
             GEM\n  remote: https://example.org/\n  specs:\n    nokogiri (1.16.0-aarch64-linux)\n    nokogiri (1.16.0-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.3)\n\n\
             PLATFORMS\n  x86_64-linux\n\nDEPENDENCIES\n  racc\n\nRUBY VERSION\n   ruby 3.1.2p20\n\nBUNDLED WITH\n   2.3.15\n",
        );
        assert_eq!(lock.ruby.as_deref(), Some("ruby 3.1.2p20"));
        assert_eq!(lock.paths, [PathBuf::from("engines/shop")]);
        let gems: Vec<_> =
            lock.gems.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
        assert_eq!(gems, [("nokogiri", "1.16.0"), ("racc", "1.7.3"), ("shop", "1.0"), ("x", "0.1.0")]);
        assert_eq!(lock.served.len(), 3, "{:?}", lock.served);
        assert_eq!(lock.served[1].1, "nokogiri-1.16.0-x86_64-linux");
        assert_eq!(GemfileLock::parse("<<<<<<< HEAD\n"), GemfileLock::default());
    }
}
