//! The default command of a Ruby app, as on Heroku, and the check of what `bundle exec` starts.

use std::path::Path;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_report::user_error::UserError;

use super::gemfile::Gemfile;
use super::rails;
use crate::app::app_source::{AppSource, decode};
use crate::app::command_check;
use crate::errors::ruby as told;
use crate::tree::root_view::RootView;

/// Rack's configuration file.
pub(super) const RACK: &str = "config.ru";

/// Names of the file of a Sinatra app.
const SINATRA: [&str; 5] = ["app.rb", "main.rb", "server.rb", "web.rb", "application.rb"];
/// Programs that come with Ruby itself.
const WITH_RUBY: [&str; 8] = ["bundle", "bundler", "erb", "gem", "irb", "racc", "rdoc", "ri"];
/// The length of the part of a file that contains its first line, in bytes.
const HEAD: u64 = 128;

/// A default command, and the file that it comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RubyServer {
    pub(super) command: String,
    pub(super) file: &'static str,
}

/// Finds the default command.
pub(super) fn find_default(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<Option<RubyServer>> {
    if rails::uses_rails(source, gemfile)? {
        let own = source.has_path("bin/rails")?;
        return Ok(Some(if own {
            RubyServer {
                command: "bin/rails server -b $BIND_ADDRESS -p $PORT -e $RAILS_ENV".to_owned(),
                file: "bin/rails",
            }
        } else {
            RubyServer {
                command: "bundle exec rails server -b $BIND_ADDRESS -p $PORT -e $RAILS_ENV".to_owned(),
                file: rails::APPLICATION,
            }
        }));
    }
    if !source.has_entry(RACK) {
        return find_sinatra(source, gemfile);
    }
    // Since Rack 3, rackup is a separate gem.
    let old_rack = gemfile.lock.gems.get("rack").is_some_and(|version| version.starts_with(['1', '2']));
    let command = if !gemfile.uses_gem("rackup") && !old_rack && gemfile.uses_gem("puma") {
        "bundle exec puma -b tcp://$BIND_ADDRESS:$PORT config.ru"
    } else {
        "bundle exec rackup config.ru -o $BIND_ADDRESS -p $PORT"
    };
    Ok(Some(RubyServer { command: command.to_owned(), file: RACK }))
}

/// Finds the file of a Sinatra app in the classic style, which starts its own server.
fn find_sinatra(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<Option<RubyServer>> {
    if !gemfile.uses_gem("sinatra") {
        return Ok(None);
    }
    for file in SINATRA {
        let text = source.read_bytes(file)?.map(|text| decode(&text)).unwrap_or_default();
        let is_classic = |line: &str| {
            let required = line.trim().strip_prefix("require").map(|rest| rest.trim_matches([' ', '(', ')']));
            required.is_some_and(|name| matches!(name.trim_matches(['"', '\'']), "sinatra" | "sinatra/main"))
        };
        if text.lines().any(is_classic) {
            let command = format!("bundle exec ruby {file} -o $BIND_ADDRESS -p $PORT");
            return Ok(Some(RubyServer { command, file }));
        }
    }
    Ok(None)
}

/// Checks that the programs which `bundle exec` starts exist.
///
/// # Errors
/// Fails if no gem of the app contains the program of a process type.
pub(super) fn check_bundled_programs(
    processes: &IndexMap<ProcessName, String>,
    view: &RootView,
) -> Result<(), UserError> {
    for entry in command_check::parse_entries(processes) {
        let Some(words) = command_check::split_simple(&entry.command) else { continue };
        let [first, second, program, ..] = words.as_slice() else { continue };
        let bundled = first.ends_with("bundle") && second == "exec" && !program.starts_with('-');
        if bundled && !program.contains(['/', '$']) && !is_found(program, view) {
            return Err(told::no_program(entry.name.as_ref(), program));
        }
    }
    Ok(())
}

/// Returns whether Bundler finds a program: one of the app's gems, or one of the machine's that is not of
/// another gem. Bundler does not start the programs of Debian's gems, although they are on PATH.
fn is_found(program: &str, view: &RootView) -> bool {
    let Some(found) = view.program(program) else { return view.find(Path::new(program)).is_some() };
    let is_mounted = view.mounts().any(|(mount, _)| found.inside.starts_with(mount));
    if view.is_app_file(&found) || is_mounted || WITH_RUBY.contains(&program) {
        return true;
    }
    let head = found.place.read_start(HEAD);
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !(line.starts_with(b"#!") && String::from_utf8_lossy(line).contains("ruby"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obvious() {
        let found = |files: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let source = AppSource::read(dir.path(), None).unwrap();
            let gemfile = Gemfile::read(&source).unwrap().unwrap();
            let server = find_default(&source, &gemfile).unwrap();
            server.map(|server| server.command.split(" -").next().unwrap().to_owned())
        };
        let found = |files: &[(&str, &str)]| found(files).unwrap_or_default();
        let (ru, rack) = (("config.ru", ""), "GEM\n  specs:\n    puma (6.4.2)\n    rack (2.2.8)\n");
        assert_eq!(found(&[("Gemfile", "gem 'rack'")]), "");
        assert_eq!(found(&[("Gemfile", "gem 'rack'"), ru]), "bundle exec rackup config.ru");
        assert_eq!(found(&[("Gemfile", "gem 'puma'"), ru]), "bundle exec puma");
        assert_eq!(
            found(&[("Gemfile", "gem 'puma'"), ("Gemfile.lock", rack), ru]),
            "bundle exec rackup config.ru"
        );
        let sinatra = ("Gemfile", "gem 'sinatra'\ngem 'puma'");
        let classic = ("app.rb", "require 'sinatra'\nget('/') { 'x' }\n");
        assert_eq!(found(&[sinatra, classic]), "bundle exec ruby app.rb");
        assert_eq!(found(&[sinatra, classic, ru]), "bundle exec puma");
        assert_eq!(found(&[("Gemfile", "gem 'rack'"), classic]), "");
        assert_eq!(found(&[sinatra, ("app.rb", "require 'sinatra/base'\n")]), "");
        let rails = [("Gemfile", "gem 'rails'\ngem 'puma'"), ("config/application.rb", ""), ru];
        assert_eq!(found(&rails), "bundle exec rails server");
        let rails = [rails[0], rails[1], rails[2], ("bin/rails", "#!/usr/bin/env ruby\n")];
        assert_eq!(found(&rails), "bin/rails server");
    }
}
