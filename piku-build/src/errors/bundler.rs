//! Bundler: what its failures mean, and what mends them.

use std::fmt::Write;

use piku_report::user_error::UserError;

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

fn told(what: impl Into<String>, lines: &[String]) -> UserError {
    let mut text = what.into();
    for line in lines {
        let _ = write!(text, "\n  {line}");
    }
    UserError::new(text)
}

/// What Bundler's failure means; `None` when that is not known. `version` is the Ruby's.
pub(crate) fn failed(ended: &StepOutcome, version: &str) -> Option<UserError> {
    if ended.wanted_memory() {
        return None;
    }
    let lines: Vec<String> = ended.lines.iter().map(|line| line.trim().to_owned()).collect();
    // What stands in one sentence may stand in two lines.
    let all = lines.join(" ");
    lock(&lines, &all, version)
        .or_else(|| server(&lines, &all))
        .or_else(|| compiling(&lines, &all))
        .or_else(|| gemfile(&lines, &all))
}

/// The line with this text.
fn find<'a>(lines: &'a [String], text: &str) -> Option<&'a String> {
    lines.iter().find(|line| line.contains(text))
}

/// What is wrong with the lock file.
fn lock(lines: &[String], all: &str, version: &str) -> Option<UserError> {
    if all.contains("Your bundle only supports platforms")
        || all.contains("your bundle only supports platforms")
    {
        let word = |at: usize| all[at..].split(['`', ' ', '.', ',']).find(|word| word.contains("linux"));
        let platform = all.find("local platform").and_then(word).unwrap_or("x86_64-linux");
        let platform = platform.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        return Some(
            UserError::new(format!("Gemfile.lock was made for other kinds of machines than this one, {platform}"))
                .hint(format!("run 'bundle lock --add-platform {platform}' and commit Gemfile.lock; with gems in vendor/cache also 'bundle cache --all-platforms'")),
        );
    }
    if all.contains("empty CHECKSUMS entry") {
        return Some(
            UserError::new("Gemfile.lock has no checksum for a gem of which it promises one")
                .hint("run 'bundle lock --add-checksums' and commit Gemfile.lock"),
        );
    }
    let stale = [
        "after changing your Gemfile",
        "can't be updated because frozen",
        "because frozen mode is set",
        "frozen set to true",
    ];
    if stale.iter().any(|text| all.contains(text)) {
        // The gemspecs of gems in the app, or the sources: what is told of the gems is told below it.
        let what = lines.iter().find_map(|line| line.split_once(" changed, but")).map(|(what, _)| what);
        let what = what.filter(|what| !what.contains("dependencies")).map(|what| format!("{what} changed"));
        let of_gems = lines.iter().filter(|line| {
            line.starts_with("* ")
                || ["You have added", "You have deleted", "You have changed"]
                    .iter()
                    .any(|front| line.starts_with(front))
        });
        let shown: Vec<String> = what.into_iter().chain(of_gems.cloned()).take(10).collect();
        return Some(
            told("Gemfile.lock is out of step with Gemfile", &shown)
                .hint("run 'bundle lock' and commit Gemfile.lock"),
        );
    }
    if all.contains("contains merge conflicts") {
        return Some(
            UserError::new("Gemfile.lock has the marks of a merge that was not finished")
                .hint("git checkout HEAD -- Gemfile.lock && bundle lock; then commit it"),
        );
    }
    if let Some(line) = find(lines, "but your Gemfile specified") {
        return Some(
            UserError::new(line.clone())
                .hint(format!("if the app runs on it, write: ruby \"~> {version}\"; then 'bundle lock', and commit both files"))
                .hint("or have the machine's operator install that Ruby with rbenv as the user that runs piku"),
        );
    }
    let needs = find(lines, "requires ruby version").or_else(|| {
        find(lines, "which is incompatible with the current version")
            .or_else(|| find(lines, "depends on Ruby").or_else(|| find(lines, "requires Ruby")))
    });
    needs.map(|line| {
        UserError::new(format!("a gem does not run on this machine's Ruby {version}: {line}"))
            .hint("lock an older version of the gem, or have the machine's operator install that Ruby with rbenv as the user that runs piku")
    })
}

/// What is wrong between Bundler and those who have gems.
fn server(lines: &[String], all: &str) -> Option<UserError> {
    const VENDOR: &str = "or bring the gems along, and no server is asked: 'bundle cache --all-platforms' puts them into vendor/cache, commit it";
    if all.contains("Authentication is required for") || all.contains("Bad username or password for") {
        let line = find(lines, "Authentication is required for")
            .or_else(|| find(lines, "Bad username or password for"));
        return Some(
            UserError::new(format!("the server of gems wants to know who asks: {}", line.map_or("", String::as_str)))
                .hint("config:set BUNDLE_HOST__EXAMPLE__COM=USER:PASSWORD, where the name is the server's with '__' for each dot"),
        );
    }
    let network = [
        "Could not reach host",
        "Could not fetch specs from",
        "Network error while fetching",
        "Failed to open TCP connection",
        "SocketError",
        "Net::OpenTimeout",
        "Connection refused",
        "certificate verify failed",
    ];
    if let Some(line) = network.iter().find_map(|text| find(lines, text)) {
        let line = line.rsplit("Retrying fetcher due to error ").next().unwrap_or(line);
        return Some(
            UserError::new(format!("Bundler cannot reach the server of gems: {line}"))
                .hint("is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again")
                .hint(VENDOR),
        );
    }
    if find(lines, "You need to install git").is_some() {
        return Some(
            UserError::new("a gem comes from a git repository, and the machine has no git")
                .hint("on the machine: apt install git"),
        );
    }
    if let Some(line) = find(lines, "Git error:") {
        return Some(
            UserError::new(format!("a gem's git repository cannot be read: {line}"))
                .hint("a build has no keys: name the repository by https, with a token in BUNDLE_GITHUB__COM where it is private")
                .hint(VENDOR),
        );
    }
    let absent = [
        "Could not find gem",
        "in any of the sources",
        "in locally installed gems",
        "or installed locally",
        "in cached gems",
    ];
    absent.iter().find_map(|text| find(lines, text)).map(|line| {
        let cached = all.contains("locally") || all.contains("cached");
        let failure = UserError::new(line.trim_end_matches('.'));
        if cached {
            failure.hint("vendor/cache has not all that is needed: run 'bundle cache --all-platforms' and commit it; 'git status --ignored' shows whether .gitignore names it")
        } else {
            failure.hint("is it spelt right, and does its source in the Gemfile have that version? one that was taken back there needs 'bundle update GEM'")
        }
    })
}

/// What is missing where gems have native code.
fn compiling(lines: &[String], all: &str) -> Option<UserError> {
    let gem = find(lines, "An error occurred while installing")
        .and_then(|line| line.split("while installing ").nth(1)?.split(" (").next())
        .unwrap_or("a gem");
    let no_headers =
        all.contains("can't find header files for ruby") || all.contains("cannot load such file -- mkmf");
    let no_compiler = [
        "You have to install development tools first",
        "make: not found",
        "No such file or directory - make",
        "gcc: not found",
        "cc: not found",
        "g++: not found",
    ]
    .iter()
    .any(|text| all.contains(text));
    if no_headers || no_compiler {
        let what =
            if no_headers { "the machine lacks Ruby's headers" } else { "the machine has no compiler" };
        return Some(
            UserError::new(format!("the gem '{gem}' has native code that must be compiled, and {what}"))
                .hint("on the machine: apt install ruby-dev build-essential"),
        );
    }
    if !all.contains("Failed to build gem native extension") {
        return None;
    }
    let says = |line: &&String| {
        ["is missing", "not found", "fatal error:", "error:", "No pg_config", "Can't find"]
            .iter()
            .any(|text| line.contains(text))
            && !line.contains("ERROR: Failed to build")
            && !line.contains("Gem::Ext::BuildError")
    };
    let shown: Vec<String> = lines.iter().filter(says).take(3).cloned().collect();
    let failure = told(format!("the native code of the gem '{gem}' could not be compiled"), &shown);
    Some(match LIBRARIES.iter().find(|(name, _)| *name == gem) {
        Some((_, packages)) => {
            failure.hint(format!("on the machine: apt install ruby-dev build-essential {packages}"))
        }
        None => failure.hint(
            "on the machine: the -dev package of the library that it needs; its name is in the output above",
        ),
    })
}

/// What is wrong with the Gemfile.
fn gemfile(lines: &[String], all: &str) -> Option<UserError> {
    if let Some(line) = find(lines, "There was an error parsing") {
        let place = find(lines, "#  from ").and_then(|line| line.rsplit_once("/app/"));
        let place = place.map_or("Gemfile", |(_, place)| place);
        let why = line.split("`: ").nth(1).unwrap_or(line).trim_end_matches(". Bundler cannot continue.");
        return Some(UserError::new(format!("{place}: {why}")));
    }
    if all.contains("could not find compatible versions") || all.contains("version solving has failed") {
        let from = lines
            .iter()
            .position(|line| {
                line.contains("could not find compatible versions")
                    || line.starts_with("Because")
                    || line.starts_with("So, because")
            })
            .unwrap_or_default();
        let shown: Vec<String> =
            lines[from..].iter().filter(|line| !line.is_empty()).take(8).cloned().collect();
        return Some(
            told("no versions of the gems fit each other", &shown)
                .hint("loosen one of them in the Gemfile; 'bundle lock' tries it on your machine"),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &str) -> String {
        let lines = lines.lines().map(str::to_owned).collect();
        let ended = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
        failed(&ended, "3.1.2").map(|failure| failure.to_string()).unwrap_or_default()
    }

    /// Of Bundler 2.3 and of later ones, as they print it.
    #[test]
    fn what_bundler_says_becomes_what_it_means() {
        for (lines, meaning) in [
            (
                "Your bundle only supports platforms [\"arm64-darwin-22\"] but your local platform\nis aarch64-linux. Add the current platform to the lockfile with\n`bundle lock --add-platform aarch64-linux` and try again.\n",
                "Gemfile.lock was made for other kinds of machines than this one, aarch64-linux",
            ),
            (
                "Your bundle only supports platforms [\"arm64-darwin-22\"] but your local platforms are [\"ruby\", \"x86_64-linux\"], and there's no compatible match between those two lists.\n",
                "Gemfile.lock was made for other kinds of machines than this one, x86_64-linux",
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
                "Gemfile.lock has no checksum for a gem of which it promises one",
            ),
            (
                "Could not reach host gems.example.org. Check your network connection and try again.\n",
                "Bundler cannot reach the server of gems: Could not reach host gems.example.org. Check your network connection and try again.",
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
    fn what_mends_it() {
        let ended =
            |line: &str| StepOutcome { code: 5, lines: vec![line.to_owned()], out_of_memory: false, peak: 0 };
        let failure = failed(&ended("Could not reach host gems.example.org."), "3.1.2").unwrap();
        assert!(format!("{failure:?}").contains("bundle cache"));
    }
}
