//! The Gemfile and its lock file. A Gemfile is a program: only the lines that nearly all have are read
//! here.

use std::collections::BTreeSet;

use super::gemfile_lock::GemfileLock;
use crate::app::app_source::{AppSource, decode};
use crate::errors::ruby as told;

/// Names of the file and its lock, in Bundler's order of preference.
const NAMES: [(&str, &str); 2] = [("gems.rb", "gems.locked"), ("Gemfile", "Gemfile.lock")];
/// Variable that names another file.
const VARIABLE: &str = "BUNDLE_GEMFILE";

/// The Gemfile of an app, with its lock file.
pub(super) struct Gemfile {
    pub(super) name: String,
    /// Name of the lock file, which may not exist.
    pub(super) lock_name: String,
    /// Content of the Gemfile.
    pub(super) text: Vec<u8>,
    pub(super) lock_text: Option<Vec<u8>>,
    /// Empty without a lock file.
    pub(super) lock: GemfileLock,
    /// The conditions of its `ruby` line, as they are written.
    pub(super) ruby: Vec<String>,
    /// Names in its `gem` lines.
    named: BTreeSet<String>,
    /// True if it names gems in the app's tree.
    pub(super) local: bool,
}

impl Gemfile {
    /// Finds the dependency file of the app.
    pub(super) fn read(source: &AppSource) -> anyhow::Result<Option<Self>> {
        let Some((name, lock_name)) = find_names(source) else { return Ok(None) };
        let Some(text) = source.read_bytes(&name)? else { return Ok(None) };
        let lock_text = source.read_bytes(&lock_name)?;
        let lock = lock_text.as_deref().map(|text| GemfileLock::parse(&decode(text))).unwrap_or_default();
        let decoded = decode(&text);
        let mut gemfile = Self {
            name,
            lock_name,
            lock,
            lock_text,
            ruby: Vec::new(),
            named: BTreeSet::new(),
            local: false,
            text,
        };
        for line in decoded.lines().map(str::trim) {
            if let Some(rest) = call_arguments(line, "ruby") {
                gemfile.ruby = ruby_conditions(rest, source)?;
            } else if let Some(rest) = call_arguments(line, "gem") {
                gemfile.named.extend(quoted_words(rest).first().map(|(_, name)| (*name).to_owned()));
            }
            gemfile.local |=
                call_arguments(line, "gemspec").is_some() || line.contains("path:") || line.contains(":path");
        }
        Ok(Some(gemfile))
    }

    /// Returns whether the app uses a gem, by the lock file or by its own lines.
    pub(super) fn uses_gem(&self, gem: &str) -> bool {
        self.lock.gems.contains_key(gem) || self.named.contains(gem)
    }
}

/// Finds the names of the file and of its lock.
fn find_names(source: &AppSource) -> Option<(String, String)> {
    if let Some((name, _)) = source.variable(VARIABLE).filter(|(name, _)| !name.trim().is_empty()) {
        let name = name.trim().trim_start_matches("/app/");
        let lock = if name.ends_with("gems.rb") {
            name.replace("gems.rb", "gems.locked")
        } else {
            format!("{name}.lock")
        };
        return Some((name.to_owned(), lock));
    }
    let (name, lock) = NAMES.into_iter().find(|(name, _)| source.has_entry(name))?;
    Some((name.to_owned(), lock.to_owned()))
}

/// Returns the arguments of a call of a method, if the line is one.
fn call_arguments<'a>(line: &'a str, method: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(method)?;
    (rest.is_empty() || rest.starts_with([' ', '(', '\t'])).then_some(rest)
}

/// Returns the quoted words of a line, each with the text before it.
fn quoted_words(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'', '#']) {
        let quote = rest.as_bytes()[at];
        if quote == b'#' {
            break;
        }
        let Some(end) = rest[at + 1..].find(char::from(quote)) else { break };
        found.push((rest[..at].trim(), &rest[at + 1..at + 1 + end]));
        rest = &rest[at + 2 + end..];
    }
    found
}

/// Returns the conditions of a `ruby` line; empty if only Bundler can evaluate them.
fn ruby_conditions(rest: &str, source: &AppSource) -> anyhow::Result<Vec<String>> {
    let mut conditions = Vec::new();
    for (before, word) in quoted_words(rest) {
        let key = before.trim_start_matches(['(', ',', '[', ' ']).trim_end_matches("=>").trim();
        let reads = key.contains("file") || key.contains("File") || key.contains("read");
        if reads && !word.contains('#') {
            if let Some(text) = source.read_bytes(word)? {
                conditions.extend(parse_version_file(&decode(&text)));
            }
        } else if key.contains("engine") && !key.contains("version") && word != "ruby" {
            return Err(told::other_engine(word).into());
        } else if key.is_empty() {
            conditions.push(word.to_owned());
        } else if key.contains("ENV") {
            return Ok(Vec::new());
        }
    }
    Ok(conditions)
}

/// Parses the version in `.ruby-version` or `.tool-versions`.
pub(super) fn parse_version_file(text: &str) -> Option<String> {
    let lines = || text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let tool = lines().find_map(|line| line.strip_prefix("ruby ").map(str::trim));
    let version = tool.or_else(|| lines().find(|line| !line.is_empty()))?;
    Some(version.split_whitespace().next()?.trim_start_matches("ruby-").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gemfile(files: &[(&str, &str)]) -> anyhow::Result<Gemfile> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Gemfile::read(&AppSource::read(dir.path(), None)?).map(|gemfile| gemfile.expect("a Gemfile"))
    }

    #[test]
    fn the_ruby_line_as_the_field_writes_it() {
        for (line, conditions) in [
            (r#"ruby "3.1.2""#, &["3.1.2"][..]),
            ("ruby '~> 3.1', '< 3.3' # not newer", &["~> 3.1", "< 3.3"]),
            (r#"ruby("3.1.2", patchlevel: "20")"#, &["3.1.2"]),
            (r#"ruby "3.1.2", :engine => "ruby", :engine_version => "3.1.2""#, &["3.1.2"]),
            (r#"ruby file: ".ruby-version""#, &["3.0.1"]),
            (r#"ruby File.read(".ruby-version").strip"#, &["3.0.1"]),
            (r#"ruby file: ".tool-versions""#, &["3.0.2"]),
            (r#"ruby ENV["RUBY"] || "3.1""#, &[]),
            (r#"# ruby "2.7""#, &[]),
            ("rubyzip = 1", &[]),
        ] {
            let files = [
                ("Gemfile", line),
                (".ruby-version", "ruby-3.0.1\n"),
                (".tool-versions", "nodejs 20\nruby 3.0.2 # x\n"),
            ];
            assert_eq!(gemfile(&files).unwrap().ruby, conditions, "{line}");
        }
        let err = gemfile(&[("Gemfile", "ruby '2.6.8', engine: 'jruby', engine_version: '9.3'\n")]).err();
        assert!(err.unwrap().to_string().contains("jruby"));
    }

    #[test]
    fn gems_by_the_file_and_by_its_lock() {
        let text = "source 'https://example.org'\ngem 'rails', '~> 7'\ngroup :test do\n  gem(\"x\")\nend\n#gem 'y'\n";
        let lock = "GEM\n  specs:\n    railties (7.0.8)\n";
        let found = gemfile(&[("Gemfile", text), ("Gemfile.lock", lock)]).unwrap();
        for (gem, has) in [("rails", true), ("x", true), ("railties", true), ("y", false)] {
            assert_eq!(found.uses_gem(gem), has, "{gem}");
        }
        assert!(!found.local);
        assert!(gemfile(&[("gems.rb", "gemspec\n")]).unwrap().local);
        let named = gemfile(&[("ENV", "BUNDLE_GEMFILE=other.gemfile\n"), ("other.gemfile", "gem 'a'\n")]);
        let named = named.unwrap();
        assert_eq!(named.lock_name, "other.gemfile.lock");
    }
}
