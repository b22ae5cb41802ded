//! Rules that explain failures of Bundler and of Rails' `assets:precompile`.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{ONLINE, PRIVATE_GIT, with_lines};
use crate::step::build_step::StepOutcome;

/// Debian's packages for gems that are compiled against a library.
const LIBRARIES: [(&str, &str); 14] = [
    ("bcrypt_pbkdf", "libsodium-dev"),
    ("charlock_holmes", "libicu-dev"),
    ("curb", "libcurl4-openssl-dev"),
    ("ffi", "libffi-dev"),
    ("hiredis", "libhiredis-dev"),
    ("idn-ruby", "libidn-dev"),
    ("mysql2", "default-libmysqlclient-dev"),
    ("nokogiri", "libxml2-dev libxslt1-dev"),
    ("openssl", "libssl-dev"),
    ("pg", "libpq-dev"),
    ("psych", "libyaml-dev"),
    ("rmagick", "libmagickwand-dev"),
    ("sqlite3", "libsqlite3-dev"),
    ("zlib", "zlib1g-dev"),
];
const VENDOR: &str = "or bring the gems along, and no server is asked: 'bundle cache --all-platforms' puts them into vendor/cache, commit it";
const COMPILER: &[&str] = &["on the machine: apt install ruby-dev build-essential"];
const ABSENT: &[&str] = &[
    "Could not find gem",
    "in any of the sources",
    "in locally installed gems",
    "or installed locally",
    "in cached gems",
];
const RESOLUTION: [&str; 2] = ["could not find compatible versions", "version solving has failed"];

const BUNDLER: [FailureRule; 16] = [
    FailureRule::call(&["our bundle only supports platforms"], |step| Some(other_platform(step))),
    FailureRule::new(
        &["empty CHECKSUMS entry"],
        "Gemfile.lock lacks a checksum for a gem",
        &["run 'bundle lock --add-checksums' and commit Gemfile.lock"],
    ),
    FailureRule::call(
        &[
            "after changing your Gemfile",
            "can't be updated because frozen",
            "because frozen mode is set",
            "frozen set to true",
        ],
        |step| Some(stale_lock(step)),
    ),
    FailureRule::new(
        &["contains merge conflicts"],
        "Gemfile.lock contains the marks of an unfinished merge",
        &["git checkout HEAD -- Gemfile.lock && bundle lock; then commit it"],
    ),
    FailureRule::new(
        &["but your Gemfile specified"],
        "{line}",
        &[
            "if the app runs on it, write: ruby \"~> {version}\"; then 'bundle lock', and commit both files",
            "or have the machine's operator install that Ruby with rbenv as the user that runs piku",
        ],
    ),
    FailureRule::new(
        &[
            "requires ruby version",
            "which is incompatible with the current version",
            "depends on Ruby",
            "requires Ruby",
        ],
        "a gem does not run on this machine's Ruby {version}: {line}",
        &["lock an older version of the gem, or have the machine's operator install that Ruby with rbenv as the user that runs piku"],
    ),
    FailureRule::new(
        &["Authentication is required for", "Bad username or password for"],
        "the gem server requires a login: {line}",
        &["config:set BUNDLE_HOST__EXAMPLE__COM=USER:PASSWORD, where the name is the server's with '__' for each dot"],
    ),
    FailureRule::new(
        &[
            "Could not reach host",
            "Could not fetch specs from",
            "Network error while fetching",
            "Failed to open TCP connection",
            "SocketError",
            "Net::OpenTimeout",
            "Connection refused",
            "certificate verify failed",
        ],
        "Bundler cannot reach the gem server: {line}",
        &[ONLINE, VENDOR],
    ),
    FailureRule::new(
        &["You need to install git"],
        "a gem comes from a git repository, and the machine has no git",
        &["on the machine: apt install git"],
    ),
    FailureRule::new(
        &["Git error:"],
        "a gem's git repository cannot be read: {line}",
        &[
            PRIVATE_GIT,
            "or name it by https, with a token in BUNDLE_GITHUB__COM",
            VENDOR,
        ],
    ),
    FailureRule::new(
        ABSENT,
        "{line}",
        &["vendor/cache is incomplete: run 'bundle cache --all-platforms' and commit it; 'git status --ignored' shows whether .gitignore names it"],
    )
    .also(&["locally", "cached"]),
    FailureRule::new(
        ABSENT,
        "{line}",
        &["is it spelt right, and does its source in the Gemfile have that version? one that was taken back there needs 'bundle update GEM'"],
    ),
    FailureRule::new(
        &["can't find header files for ruby", "cannot load such file -- mkmf"],
        "the gem '{gem}' has native code that must be compiled, and the machine lacks Ruby's headers",
        COMPILER,
    ),
    FailureRule::new(
        &[
            "You have to install development tools first",
            "make: not found",
            "No such file or directory - make",
            "gcc: not found",
            "cc: not found",
            "g++: not found",
        ],
        "the gem '{gem}' has native code that must be compiled, and the machine has no compiler",
        COMPILER,
    ),
    FailureRule::call(&["Failed to build gem native extension"], |step| Some(broken_extension(step))),
    FailureRule::call(&["There was an error parsing", RESOLUTION[0], RESOLUTION[1]], |step| Some(bad_gemfile(step))),
];

const ASSETS_OFF: &str = "'DISABLE_ASSETS_PRECOMPILE=1' in ENV leaves this step out";

const ASSETS: [FailureRule; 5] = [
    FailureRule::new(
        &["Don't know how to build task 'assets:precompile'"],
        "the app has no task 'assets:precompile', though its gems bring one",
        &[ASSETS_OFF],
    ),
    FailureRule::new(
        &["Could not find a JavaScript runtime"],
        "a gem of the asset pipeline needs a JavaScript runtime, and the machine has none",
        &["on the machine: apt install nodejs"],
    ),
    FailureRule::call(&["not found"], missing_asset_tool),
    FailureRule::new(
        &["ConnectionNotEstablished", "could not connect to server"],
        "the app asks for its database while its assets are made: {line}",
        &["an initializer does so, most likely; in builds there may be no database", ASSETS_OFF],
    ),
    FailureRule::new(
        &["KeyError: key not found"],
        "the app reads a variable while its assets are made: {line}",
        &["set it with config:set, or give it a default: ENV.fetch(NAME, \"\")"],
    ),
];

/// Explains a failed installation of gems by the Ruby of this version; `None` if no rule matches.
pub(super) fn explain_bundler(outcome: &StepOutcome, version: &str) -> Option<UserError> {
    let step = FailedStep::new("bundle", outcome, clean);
    let gem = step.capture("An error occurred while installing * (").unwrap_or("a gem").to_owned();
    let step = step.with("version", version).with("gem", &gem);
    if outcome.is_out_of_memory() { None } else { step.explain(&BUNDLER) }
}

/// Explains why the assets could not be made; `None` if no rule matches.
pub(super) fn explain_assets(outcome: &StepOutcome) -> Option<UserError> {
    let step = FailedStep::new("assets", outcome, str::trim);
    if outcome.is_out_of_memory() { None } else { step.explain(&ASSETS) }
}

fn clean(line: &str) -> &str {
    line.trim().rsplit("Retrying fetcher due to error ").next().unwrap_or(line)
}

fn other_platform(step: &FailedStep<'_>) -> UserError {
    // Older ones wrap the sentence in front of the platform.
    let text = step.lines.join(" ");
    let words = text.split_once("local platform").map_or("", |(_, rest)| rest);
    let platform = words.split(['`', ' ', '.', ',']).find(|word| word.contains("linux"));
    let platform =
        platform.unwrap_or("x86_64-linux").trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    UserError::new(format!("Gemfile.lock was made for other platforms than this machine's, {platform}"))
            .hint(format!("run 'bundle lock --add-platform {platform}' and commit Gemfile.lock; with gems in vendor/cache also 'bundle cache --all-platforms'"))
}

fn stale_lock(step: &FailedStep<'_>) -> UserError {
    // The gemspecs of gems in the app, or the sources; changed gems are listed below.
    let changed = step.capture("The * changed, but").filter(|what| !what.contains("dependencies"));
    let changed = changed.map(|what| format!("The {what} changed"));
    let gems = step.lines.iter().filter(|line| {
        let fronts = ["* ", "You have added", "You have deleted", "You have changed"];
        fronts.iter().any(|front| line.starts_with(front))
    });
    let shown: Vec<_> = changed.into_iter().chain(gems.map(|line| (*line).to_owned())).take(10).collect();
    let failure = with_lines("Gemfile.lock is out of step with Gemfile", &shown);
    failure.hint("run 'bundle lock' and commit Gemfile.lock")
}

fn broken_extension(step: &FailedStep<'_>) -> UserError {
    let gem = step.value("gem");
    let reasons = ["is missing", "not found", "fatal error:", "error:", "No pg_config", "Can't find"];
    let is_reason = |line: &&&str| {
        reasons.iter().any(|text| line.contains(text))
            && !line.contains("ERROR: Failed to build")
            && !line.contains("Gem::Ext::BuildError")
    };
    let shown: Vec<_> = step.lines.iter().filter(is_reason).take(3).map(|line| (*line).to_owned()).collect();
    let failure = with_lines(format!("the native code of the gem '{gem}' could not be compiled"), &shown);
    match LIBRARIES.iter().find(|(name, _)| *name == gem) {
        Some((_, packages)) => {
            failure.hint(format!("on the machine: apt install ruby-dev build-essential {packages}"))
        }
        None => failure.hint(
            "on the machine: the -dev package of the library that it needs; its name is in the output above",
        ),
    }
}

fn bad_gemfile(step: &FailedStep<'_>) -> UserError {
    if let Some(line) = step.line_with(&["There was an error parsing"]) {
        let place = step.line_with(&["#  from "]).and_then(|line| line.rsplit_once("/app/"));
        let place = place.map_or("Gemfile", |(_, place)| place);
        let why = line.split("`: ").nth(1).unwrap_or(line).trim_end_matches(". Bundler cannot continue.");
        return UserError::new(format!("{place}: {why}"));
    }
    let begins = |line: &&str| {
        line.contains(RESOLUTION[0]) || line.starts_with("Because") || line.starts_with("So, because")
    };
    let from = step.lines.iter().position(begins).unwrap_or_default();
    let shown = step.lines[from..].iter().filter(|line| !line.is_empty()).take(8);
    let shown: Vec<_> = shown.map(|line| (*line).to_owned()).collect();
    let failure = with_lines("no versions of the gems fit each other", &shown);
    failure.hint("loosen one of them in the Gemfile; 'bundle lock' tries it on your machine")
}

fn missing_asset_tool(step: &FailedStep<'_>) -> Option<UserError> {
    let is_missing = |tool: &&str| step.lines.iter().any(|line| line.contains(&format!("{tool}: not found")));
    let tool = ["yarn", "npm", "npx", "node"].into_iter().find(is_missing)?;
    Some(UserError::new(format!("the assets are built by '{tool}', which is not installed")).hint(
        "'PIKU_RUNTIMES=node,ruby' in ENV builds package.json first; on the machine: apt install nodejs npm",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &str) -> String {
        let lines = lines.lines().map(str::to_owned).collect();
        let ended = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
        explain_bundler(&ended, "3.1.2").map(|failure| failure.to_string()).unwrap_or_default()
    }

    /// The output of Bundler 2.3 and of later ones.
    #[test]
    fn failures_are_explained() {
        for (lines, meaning) in [
            (
                "Your bundle only supports platforms [\"arm64-darwin-22\"] but your local platform\nis aarch64-linux. Add the current platform to the lockfile with\n`bundle lock --add-platform aarch64-linux` and try again.\n",
                "Gemfile.lock was made for other platforms than this machine's, aarch64-linux",
            ),
            (
                "Your bundle only supports platforms [\"arm64-darwin-22\"] but your local platforms are [\"ruby\", \"x86_64-linux\"], and there's no compatible match between those two lists.\n",
                "Gemfile.lock was made for other platforms than this machine's, x86_64-linux",
            ),
            (
                "You are trying to install in deployment mode after changing\nyour Gemfile. Run `bundle install` elsewhere and add the\nupdated Gemfile.lock to version control.\n\nThe dependencies in your gemfile changed\n\nYou have added to the Gemfile:\n* sinatra\n",
                "Gemfile.lock is out of step with Gemfile\n  You have added to the Gemfile:\n  * sinatra",
            ),
            (
                "The dependencies in your gemfile changed, but the lockfile can't be updated because frozen mode is set\n\nYou have deleted from the Gemfile:\n* rack (~> 2.0)\n",
                "Gemfile.lock is out of step with Gemfile\n  You have deleted from the Gemfile:\n  * rack (~> 2.0)",
            ),
            (
                "The gemspecs for path gems changed, but the lockfile can't be updated because frozen mode is set\n",
                "Gemfile.lock is out of step with Gemfile\n  The gemspecs for path gems changed",
            ),
            (
                "Your lockfile has an empty CHECKSUMS entry for \"rack\", but can't be updated because frozen mode is set\n",
                "Gemfile.lock lacks a checksum for a gem",
            ),
            (
                "Could not reach host gems.example.org. Check your network connection and try again.\n",
                "Bundler cannot reach the gem server: Could not reach host gems.example.org. Check your network connection and try again.",
            ),
            (
                "Could not find rack-2.2.22 in any of the sources\n",
                "Could not find rack-2.2.22 in any of the sources",
            ),
            (
                "Gem::Ext::BuildError: ERROR: Failed to build gem native extension.\nmkmf.rb can't find header files for ruby at /usr/lib/ruby/include/ruby.h\nAn error occurred while installing words (1.0.0), and Bundler cannot continue.\n",
                "the gem 'words' has native code that must be compiled, and the machine lacks Ruby's headers",
            ),
            (
                "Gem::Ext::BuildError: ERROR: Failed to build gem native extension.\nchecking for pg_config... no\nNo pg_config... trying anyway.\nAn error occurred while installing pg (1.5.4), and Bundler cannot continue.\n",
                "the native code of the gem 'pg' could not be compiled\n  No pg_config... trying anyway.",
            ),
            (
                "[!] There was an error parsing `Gemfile`: unterminated string meets end of file - gem \"x. Bundler cannot continue.\n\n #  from /app/Gemfile:4\n",
                "Gemfile:4: unterminated string meets end of file - gem \"x",
            ),
            (
                "rails-8.0.0 requires ruby version >= 3.2.0, which is incompatible with the current version, ruby 3.1.2p20\n",
                "a gem does not run on this machine's Ruby 3.1.2: rails-8.0.0 requires ruby version >= 3.2.0, which is incompatible with the current version, ruby 3.1.2p20",
            ),
            ("something else\n", ""),
        ] {
            assert_eq!(said(lines), meaning);
        }
    }

    #[test]
    fn an_unreachable_server_has_a_way_out() {
        let ended =
            |line: &str| StepOutcome { code: 5, lines: vec![line.to_owned()], out_of_memory: false, peak: 0 };
        let failure = explain_bundler(&ended("Could not reach host gems.example.org."), "3.1.2").unwrap();
        assert!(format!("{failure:?}").contains("bundle cache"));
    }
}
