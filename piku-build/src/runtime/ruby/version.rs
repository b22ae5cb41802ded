//! The Ruby that an app runs on.

use super::super::BuildTarget;
use super::gemfile::{Gemfile, parse_version_file};
use super::installed_rubies::{self, InstalledRuby};
use super::requirement::{RubyRequirement, parse_version};
use crate::app::app_source::{AppSource, decode};
use crate::errors::ruby as told;
use crate::runtime::version::{RequestedVersion, RuntimeVersion, VersionChoice, VersionMatch, nearest};

/// Variable with the requested version.
const VARIABLE: &str = "RUBY_VERSION";
const FILES: [&str; 2] = [".ruby-version", ".tool-versions"];

pub(super) type RubyChoice = VersionChoice<InstalledRuby>;

/// Chooses the Ruby for the app.
///
/// # Errors
/// Fails if no Ruby is installed, or none that the Gemfile allows.
pub(super) fn choose(
    source: &AppSource,
    gemfile: &Gemfile,
    target: &BuildTarget,
) -> anyhow::Result<RubyChoice> {
    let installed = installed_rubies::list_installed(target);
    if installed.is_empty() {
        target.tool(told::KIND, "ruby")?;
    }
    pick(installed, read_request(source, gemfile)?, gemfile)
}

/// Reads the request for a single version. The `ruby` line of the Gemfile limits it further.
fn read_request(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<Option<RequestedVersion>> {
    if let Some(requested) = RequestedVersion::from_variable(source, VARIABLE) {
        return Ok(Some(requested));
    }
    if let Some(locked) = &gemfile.lock.ruby {
        return Ok(Some(RequestedVersion::new(locked.trim_start_matches("ruby "), &gemfile.lock_name)));
    }
    if !gemfile.ruby.is_empty() {
        return Ok(None);
    }
    for file in FILES {
        let Some(text) = source.read_bytes(file)? else { continue };
        let text = decode(&text);
        // A file for several tools need not name Ruby.
        if file == FILES[1] && !text.lines().any(|line| line.trim_start().starts_with("ruby ")) {
            continue;
        }
        if let Some(version) = parse_version_file(&text) {
            return Ok(Some(RequestedVersion::new(version, file)));
        }
    }
    Ok(None)
}

/// Picks, of those that the Gemfile allows, the one that is nearest to the request.
fn pick(
    installed: Vec<InstalledRuby>,
    requested: Option<RequestedVersion>,
    gemfile: &Gemfile,
) -> anyhow::Result<RubyChoice> {
    let versions: Vec<RuntimeVersion> = installed.iter().map(|ruby| ruby.version).collect();
    // A line that Ruby has to evaluate is left to Bundler.
    let requirement = RubyRequirement::parse(&gemfile.ruby);
    let is_allowed = |ruby: &InstalledRuby| requirement.as_ref().is_none_or(|all| all.allows(ruby.version));
    let allowed: Vec<InstalledRuby> = installed.into_iter().filter(is_allowed).collect();
    let Some(first) = allowed.first() else {
        return Err(told::gemfile_refuses(&gemfile.name, &gemfile.ruby.join(", "), &versions).into());
    };
    let Some(requested) = requested else {
        let named = requirement.is_some().then(|| format!("ruby in {}", gemfile.name));
        let from = named.unwrap_or_else(|| "the machine's own".to_owned());
        return Ok(RubyChoice { installed: first.clone(), from, warnings: Vec::new() });
    };
    let pinned = parse_version(&requested.text).ok_or_else(|| told::bad_version(&requested))?;
    let (ruby, matched) = nearest(&allowed, |ruby| ruby.version, |version| pinned.matches(version))
        .ok_or_else(|| told::no_such_version(&requested, &versions))?;
    let warning = (matched != VersionMatch::Exact).then(|| requested.substitution("Ruby", ruby.version));
    let installed = ruby.clone();
    Ok(RubyChoice { installed, from: requested.from, warnings: warning.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(there: &[&str], files: &[(&str, &str)]) -> anyhow::Result<(String, String, usize)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let source = AppSource::read(dir.path(), None)?;
        let gemfile = Gemfile::read(&source)?.expect("a Gemfile");
        let ruby = |text: &&str| InstalledRuby {
            bin: "/usr/bin".into(),
            version: parse_version(text).unwrap().version,
            api: String::new(),
            arch: String::new(),
            bundler: String::new(),
            home: None,
        };
        let there: Vec<_> = there.iter().map(ruby).collect();
        let choice = pick(there, read_request(&source, &gemfile)?, &gemfile)?;
        Ok((choice.installed.version.to_string(), choice.from, choice.warnings.len()))
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
