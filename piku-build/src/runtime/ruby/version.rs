//! Which Ruby an app runs on: what it asks for, beside what the machine has.

use super::super::BuildTarget;
use super::gemfile::{Gemfile, in_file};
use super::machine::{self, InstalledRuby};
use super::requirement::{RequestedRuby, RubyFit, RubyRequirement};
use crate::app::app_source::{AppSource, decode};
use crate::explain::ruby as told;
use crate::runtime::version::RuntimeVersion;

/// By this an app or its operator asks.
const VARIABLE: &str = "RUBY_VERSION";
/// Files with a version in them.
const FILES: [&str; 2] = [".ruby-version", ".tool-versions"];

/// What an app gets.
#[derive(Debug)]
pub(super) struct RubyChoice {
    pub(super) ruby: InstalledRuby,
    /// What the version comes from.
    pub(super) from: String,
    /// What its author should know.
    pub(super) warnings: Vec<String>,
}

/// Chooses.
///
/// # Errors
/// When there is none, or none that the Gemfile allows.
pub(super) fn choose(
    source: &AppSource,
    gemfile: &Gemfile,
    site: &BuildTarget,
) -> anyhow::Result<RubyChoice> {
    let there = machine::all(site);
    if there.is_empty() {
        site.tool(told::KIND, "ruby")?;
    }
    pick(&there, asked(source, gemfile)?, gemfile)
}

/// What is asked for by one version, and where: what the Gemfile allows counts beside it.
fn asked(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<Option<(String, String)>> {
    if let Some((value, from)) = source.variable(VARIABLE).filter(|(value, _)| !value.trim().is_empty()) {
        return Ok(Some((value.trim().to_owned(), format!("{VARIABLE} in {from}"))));
    }
    if let Some(locked) = &gemfile.lock.ruby {
        return Ok(Some((locked.trim_start_matches("ruby ").to_owned(), gemfile.lock_name.clone())));
    }
    if !gemfile.ruby.is_empty() {
        return Ok(None);
    }
    for file in FILES {
        let Some(text) = source.text(file)? else { continue };
        let text = decode(&text);
        // A file for several tools may say nothing of Ruby.
        if file == FILES[1] && !text.lines().any(|line| line.trim_start().starts_with("ruby ")) {
            continue;
        }
        if let Some(version) = in_file(&text) {
            return Ok(Some((version, file.to_owned())));
        }
    }
    Ok(None)
}

/// Of those that the Gemfile allows the one that fits best what is asked for; the system's first among equals.
fn pick(
    there: &[InstalledRuby],
    asked: Option<(String, String)>,
    gemfile: &Gemfile,
) -> anyhow::Result<RubyChoice> {
    let versions: Vec<RuntimeVersion> = there.iter().map(|ruby| ruby.version).collect();
    let line = gemfile.ruby.join(", ");
    // One that is worked out by the Gemfile itself is for Bundler to judge.
    let requirement = RubyRequirement::parse(&gemfile.ruby);
    let allowed = |ruby: &&InstalledRuby| requirement.as_ref().is_none_or(|all| all.allows(ruby.version));
    let mut allowed: Vec<&InstalledRuby> = there.iter().filter(allowed).collect();
    let Some(first) = allowed.first().copied() else {
        return Err(told::gemfile_refuses(&gemfile.name, &line, &versions).into());
    };
    let Some((text, from)) = asked else {
        let from = if requirement.is_some() {
            format!("ruby in {}", gemfile.name)
        } else {
            "the machine's own".to_owned()
        };
        return Ok(RubyChoice { ruby: first.clone(), from, warnings: Vec::new() });
    };
    let wish = RequestedRuby::parse(&text).ok_or_else(|| told::bad_version(&text, &from))?;
    allowed.sort_by_key(|ruby| {
        let fit = wish.fit(ruby.version);
        // The nearest: of newer ones the oldest, of others the newest.
        let [major, minor, patch] = ruby.version.0.map(i64::from);
        let number = (major * 1000 + minor) * 1000 + patch;
        (fit, if fit == RubyFit::Newer { number } else { -number })
    });
    let best = allowed.first().copied().unwrap_or(first);
    let fit = wish.fit(best.version);
    if fit == RubyFit::No {
        return Err(told::no_such_version(&text, &from, &versions).into());
    }
    let warning = (fit != RubyFit::Exact).then(|| told::near(&text, &from, best.version));
    Ok(RubyChoice { ruby: best.clone(), from, warnings: warning.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ruby::requirement;

    fn picked(there: &[&str], files: &[(&str, &str)]) -> anyhow::Result<(String, String, usize)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let source = AppSource::read(dir.path(), None)?;
        let gemfile = Gemfile::read(&source)?.expect("a Gemfile");
        let ruby = |text: &&str| InstalledRuby {
            bin: "/usr/bin".into(),
            version: requirement::version(text).unwrap(),
            api: String::new(),
            arch: String::new(),
            bundler: String::new(),
            home: None,
        };
        let there: Vec<_> = there.iter().map(ruby).collect();
        let choice = pick(&there, asked(&source, &gemfile)?, &gemfile)?;
        Ok((choice.ruby.version.to_string(), choice.from, choice.warnings.len()))
    }

    #[test]
    fn what_asks_first_and_what_fits_best() {
        let there = ["3.1.2", "2.7.8", "3.3.0", "3.2.4"];
        let locked = "RUBY VERSION\n   ruby 3.2.4p170\n";
        for (files, version, from, warnings) in [
            (&[("Gemfile", "")][..], "3.1.2", "the machine's own", 0),
            (&[("Gemfile", "ruby '~> 3.2'")], "3.3.0", "ruby in Gemfile", 0),
            (&[("Gemfile", "ruby '3.2.4'"), (".ruby-version", "9.9")], "3.2.4", "ruby in Gemfile", 0),
            (&[("Gemfile", ""), ("Gemfile.lock", locked)], "3.2.4", "Gemfile.lock", 0),
            (&[("Gemfile", "ruby '>= 3.3'"), ("Gemfile.lock", locked)], "3.3.0", "Gemfile.lock", 1),
            (&[("Gemfile", ""), (".ruby-version", "ruby-3.2\n")], "3.2.4", ".ruby-version", 0),
            (&[("Gemfile", ""), (".ruby-version", "3.0.6\n")], "3.1.2", ".ruby-version", 1),
            (&[("Gemfile", ""), (".ruby-version", "3.4.1\n")], "3.3.0", ".ruby-version", 1),
            (&[("Gemfile", ""), (".tool-versions", "ruby 2.7.1\n")], "2.7.8", ".tool-versions", 1),
            (&[("Gemfile", ""), (".tool-versions", "nodejs 20\n")], "3.1.2", "the machine's own", 0),
            (
                &[("Gemfile", ""), ("ENV", "RUBY_VERSION=3.3\n"), (".ruby-version", "2.7")],
                "3.3.0",
                "RUBY_VERSION in ENV",
                0,
            ),
        ] {
            let found = picked(&there, files).unwrap();
            assert_eq!(found, (version.to_owned(), from.to_owned(), warnings), "{files:?}");
        }
    }

    #[test]
    fn what_is_refused_says_what_is_there() {
        let error = |files: &[(&str, &str)]| picked(&["3.1.2"], files).unwrap_err().to_string();
        assert_eq!(
            error(&[("Gemfile", "ruby '~> 3.3'")]),
            "Gemfile allows only Ruby ~> 3.3; this machine has 3.1.2"
        );
        assert!(
            error(&[("Gemfile", ""), (".ruby-version", "4.1\n")]).contains(".ruby-version asks for Ruby 4.1")
        );
        assert!(error(&[("Gemfile", ""), (".ruby-version", "jruby-9.3\n")]).contains("jruby-9.3"));
    }
}
