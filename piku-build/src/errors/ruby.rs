//! Errors and warnings of Ruby apps.

use std::fmt::Display;

use piku_report::user_error::UserError;

use super::{NOT_A_VERSION, join_names};
use crate::runtime::RequestedVersion;

/// The words for an app of this kind in messages.
pub(crate) const KIND: &str = "a Ruby app";

pub(crate) fn misspelt(name: &str) -> UserError {
    let meant = if name.to_ascii_lowercase().ends_with("lock") { "Gemfile.lock" } else { "Gemfile" };
    UserError::new(format!("this looks like a Ruby app, but its gems are in '{name}'; expected '{meant}'"))
        .hint(format!("git mv {name} {meant}"))
}

pub(crate) fn lock_alone(lock: &str) -> UserError {
    let file = if lock == "gems.locked" { "gems.rb" } else { "Gemfile" };
    UserError::new(format!("there is a {lock} and no {file}: Bundler needs both"))
        .hint(format!("is it committed? git add {file}"))
}

pub(crate) fn rack_alone() -> UserError {
    UserError::new("this looks like a Ruby app, but it has a config.ru and no Gemfile")
        .hint("make one and commit it with its lock: bundle init && bundle add rack rackup puma")
}

pub(crate) fn no_gemfile() -> UserError {
    UserError::new("a Ruby app needs a Gemfile at its top").hint("'bundle init' makes one")
}

pub(crate) fn other_engine(engine: &str) -> UserError {
    UserError::new(format!("Gemfile asks for the engine {engine}; only Ruby itself (CRuby) is known here"))
        .hint(format!("take 'engine:' out of the line 'ruby …', or bring {engine} by a buildpack"))
}

pub(crate) fn bad_settings(file: &str, line: usize, column: usize) -> UserError {
    UserError::new(format!("{file}:{line}:{column}: this is not what Bundler writes"))
        .hint(format!("make it again with 'bundle config set --local …', or take it out: git rm {file}"))
}

pub(crate) fn bad_version(requested: &RequestedVersion) -> UserError {
    requested.malformed("Ruby", NOT_A_VERSION).hint("examples: 3.3, 3.3.6, ruby-3.3.6")
}

fn version_names(there: &[impl Display]) -> String {
    join_names(&there.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(crate) fn no_such_version(requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Ruby", installed).hint(format!(
        "ask for one that is there, or have the machine's operator install it with rbenv as the user that runs piku: rbenv install {}",
        requested.text
    ))
}

/// The `ruby` line of the Gemfile allows no installed Ruby. Bundler obeys it too.
pub(crate) fn gemfile_refuses(file: &str, line: &str, there: &[impl Display + Ord]) -> UserError {
    let newest = there.iter().max().map_or_else(|| "3.1".to_owned(), ToString::to_string);
    let wanted =
        line.trim_start_matches(|c: char| !c.is_ascii_digit()).split([',', ' ']).next().unwrap_or("");
    UserError::new(format!("{file} allows only Ruby {line}; this machine has {}", version_names(there)))
        .hint(format!("if the app runs on it, write: ruby \"~> {newest}\"; then 'bundle lock', and commit both files"))
        .hint(format!(
            "or have the machine's operator install it with rbenv as the user that runs piku: rbenv install {wanted}"
        ))
}

pub(crate) fn no_lock(file: &str, lock: &str) -> String {
    format!(
        "there is no {lock}: Bundler installs what {file} allows, which may be other versions each time; 'bundle lock' makes one, commit it"
    )
}

pub(crate) fn incomplete_cache(missing: &[String]) -> String {
    format!(
        "vendor/cache lacks {}, so a gem server is contacted; 'bundle cache' brings it up to date",
        join_names(missing)
    )
}

pub(crate) fn committed_gems() -> String {
    "'vendor/bundle' is in the repository and is not used; 'git rm -r --cached vendor/bundle' and a line in .gitignore take it out".to_owned()
}

/// `file` is the only Ruby file at the top, if there is one.
pub(crate) fn no_process_types(file: Option<&str>) -> UserError {
    let example = file.map_or_else(
        || {
            "web: bundle exec puma -b tcp://$BIND_ADDRESS:$PORT' or 'worker: bundle exec ruby worker.rb"
                .to_owned()
        },
        |file| format!("web: bundle exec ruby {file}"),
    );
    UserError::new(
        "this is a Ruby app, and it is not obvious what to start: it has no config.ru and is not a Rails app",
    )
    .hint(format!("add a file 'Procfile' with a line for each process, such as '{example}'"))
}

/// `bundle exec` names a program that no gem contains.
pub(crate) fn no_program(process: &str, program: &str) -> UserError {
    let failure = UserError::new(format!(
        "{process}: 'bundle exec {program}' starts nothing: no gem of the Gemfile brings '{program}'"
    ));
    match program {
        "rackup" => failure.hint("since Rack 3 it is a separate gem: bundle add rackup"),
        "rails" | "puma" | "rake" | "sidekiq" | "unicorn" | "thin" | "falcon" => {
            failure.hint(format!("bundle add {program}; then commit Gemfile and Gemfile.lock"))
        }
        _ => failure.hint(
            "is the gem in the group development or test? BUNDLE_WITHOUT in ENV says which groups are left out",
        ),
    }
}

// Rails.

pub(crate) fn no_master_key() -> String {
    "config/credentials.yml.enc cannot be read without its key: config:set RAILS_MASTER_KEY=…, with what is in your config/master.key".to_owned()
}

pub(crate) fn wants_node(gem: &str) -> String {
    format!(
        "{gem} builds with Node: 'PIKU_RUNTIMES=node,ruby' in ENV installs the packages of package.json as well"
    )
}

pub(crate) fn sqlite() -> String {
    "config/database.yml has a SQLite file in the app, which each release replaces: put it into the folder that DATA_DIR names, or set DATABASE_URL".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_a_refused_ruby() {
        let failure = gemfile_refuses("Gemfile", "~> 3.3.0", &["3.1.2"]);
        assert!(format!("{failure:?}").contains("rbenv install 3.3.0"), "{failure:?}");
    }
}
