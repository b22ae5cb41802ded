//! Snapshots: a whole output is compared with the one that was last reviewed, after values that differ
//! between machines and runs are redacted. `SNAPSHOTS=overwrite cargo test …` writes snapshots anew.

use std::process::Output;
use std::sync::OnceLock;

use regex::Regex;
use snapbox::{Assert, Redactions};

pub use snapbox::data::Inline;
pub use snapbox::{Data, IntoData, file, str};

/// Placeholders and the values that they stand for; a group `redacted` limits the replacement to a part of
/// the match. Values are matched where their context names them, so that a changed text cannot hide behind a
/// placeholder.
const PATTERNS: &[(&str, &str)] = &[
    ("[TIME]", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?"),
    ("[DURATION]", r"\b(after|for|in|within|took) (?<redacted>\d+(\.\d+)? ?(ms|s|min)\b( \d+ ?s\b)?)"),
    ("[PID]", r"\b(pid|process) (?<redacted>\d+)\b"),
    ("[PORT]", r"(\b[Pp][Oo][Rr][Tt] |\bssh -p |(127\.0\.0\.1|localhost|::1\]|\s):)(?<redacted>\d{5})\b"),
    ("[SHA]", r"\b[0-9a-f]{64}\b"),
    ("[COMMIT]", r"\b[0-9a-f]{40}\b"),
    ("[USER]", r"(ssh://|\bssh -p \S+ )(?<redacted>[^@ ]+)@"),
    ("[COMMITS]", r"\b[0-9a-f]{7,40}\.\.\.?[0-9a-f]{7,40}\b"),
    ("[SHORT]", r"\b(layer \S+|commit|key|is not|deploying) (?<redacted>[0-9a-f]{7,16})\b"),
    ("[SHORT]", r"(?<redacted>\b[0-9a-f]{7,16}) of [a-z]"),
    ("[VERSION]", r"\b(Python|Node|Go|Java|Ruby|Rust|npm|pip|Bundler) (?<redacted>\d+(\.\d+)+)"),
    ("[VERSION]", r"(?m)^runtime  [a-z]+ (?<redacted>\d+(\.\d+)+)"),
    ("[VERSION]", r"(\bpipenv==|\bpoetry==|\buv==|/ruby/)(?<redacted>\d+(\.\d+)+)"),
    ("[BIN]", r"(?<redacted>/(usr|opt|home|root)[^ ']*/bin)/(go|mvn|gradle|cargo|bundle)\b"),
    ("[PYTHON]", r"/(usr|opt|home|root)[^ ']*/bin/python3(\.\d+)?\b"),
    ("[PROTECTIONS]", r"Sandbox: (?<redacted>.+)"),
];

/// Compares an output that is the same everywhere with its snapshot, `str![[…]]` or `file!["…"]`.
#[track_caller]
pub fn assert_snapshot(actual: &str, snapshot: impl IntoData) {
    compare(actual, Redactions::new(), snapshot);
}

/// Compares an output with its snapshot after redacting these values (`("[DIR]", "/tmp/x")`) and what
/// `PATTERNS` find.
#[track_caller]
pub fn assert_redacted(actual: &str, values: &[(&'static str, &str)], snapshot: impl IntoData) {
    let mut redactions = redactions().clone();
    for (placeholder, value) in values {
        redactions.insert(placeholder, (*value).to_owned()).expect("a placeholder");
    }
    compare(actual, redactions, snapshot);
}

#[track_caller]
fn compare(actual: &str, redactions: Redactions, snapshot: impl IntoData) {
    let actual = without_durations(actual);
    // A backslash does not separate paths here.
    let assert = Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV).normalize_paths(false);
    assert.redact_with(redactions).eq(actual, snapshot);
}

/// Removes the lines that only slow steps of a build have.
fn without_durations(output: &str) -> String {
    let is_duration = |line: &&str| {
        let took = line.trim_end().rsplit_once(" took ").and_then(|(_, time)| time.strip_suffix(" s"));
        took.is_none_or(|seconds| seconds.parse::<f64>().is_err())
    };
    output.split_inclusive('\n').filter(is_duration).collect()
}

/// Returns everything that was printed, stdout before stderr.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns an exit code with everything that was printed, as one text.
#[must_use]
pub fn transcript(output: &Output) -> String {
    let printed = [("stdout", &output.stdout), ("stderr", &output.stderr)].map(|(name, bytes)| {
        let text = String::from_utf8_lossy(bytes);
        if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") }
    });
    format!("{}\n{}", output.status, printed.concat())
}

/// Returns a table with its columns two blanks apart, whatever the width of redacted values.
#[must_use]
pub fn squeeze_columns(table: &str) -> String {
    static BLANKS: OnceLock<Regex> = OnceLock::new();
    let blanks = BLANKS.get_or_init(|| Regex::new(r"(\S) {2,}").expect("a pattern"));
    blanks.replace_all(table, "$1  ").into_owned()
}

fn redactions() -> &'static Redactions {
    static REDACTIONS: OnceLock<Redactions> = OnceLock::new();
    REDACTIONS.get_or_init(|| {
        let mut redactions = Redactions::new();
        let mut add = |placeholder: &'static str, pattern: &str| {
            redactions.insert(placeholder, Regex::new(pattern).expect("a pattern")).expect("a placeholder");
        };
        for (placeholder, pattern) in PATTERNS {
            add(placeholder, pattern);
        }
        let temporary = regex::escape(&std::env::temp_dir().display().to_string());
        add("[DIR]", &format!(r"{temporary}/\.?[A-Za-z-]*[A-Za-z0-9]{{6}}\b"));
        redactions
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_redacted_and_words_are_kept() {
        assert_redacted(
            "-----> blog is live, release 1: http://127.0.0.1:20301\n       web.1 (pid 4711) is healthy after 1.2 s\n\
             cannot read '/srv/x/host.yaml'; deployed 2026-01-01T00:00:00Z\n",
            &[("[ROOT]", "/srv/x")],
            str![[r#"
-----> blog is live, release 1: http://127.0.0.1:[PORT]
       web.1 (pid [PID]) is healthy after [DURATION]
cannot read '[ROOT]/host.yaml'; deployed [TIME]

"#]],
        );
    }

    #[test]
    #[should_panic(expected = "release 2")]
    fn a_changed_word_fails() {
        assert_snapshot("release 2", "release 1");
    }
}
