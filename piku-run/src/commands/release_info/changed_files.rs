//! Differences between the files of two commits, as git tells them.

#![expect(clippy::disallowed_methods, reason = "looks for the app's repository, which only git writes")]

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use serde::Serialize;

use crate::process::git_command::git_command;

/// Largest output of git that is read, in bytes.
const LARGEST: u64 = 4 << 20;
/// Number of files that are listed; the others are counted.
const MOST: usize = 1000;
/// Number of files that the text form lists.
const MOST_IN_TEXT: usize = 40;

/// The changed files; those of a commit that equals the other are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ChangedFiles {
    /// Number of all changed files.
    count: usize,
    /// The first of them.
    changes: Vec<ChangedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ChangedFile {
    change: FileChange,
    path: String,
    /// Former path of a renamed file.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum FileChange {
    Added,
    Changed,
    Removed,
    Renamed,
}

/// Returns the files that differ from commit `old` to commit `new`; `None` if git cannot tell.
pub(super) fn compare(repo: &Path, old: &str, new: &str) -> Option<ChangedFiles> {
    let is_hash = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash(old) || !is_hash(new) || !repo.is_dir() {
        return None;
    }
    if old == new {
        return Some(ChangedFiles { count: 0, changes: Vec::new() });
    }
    let mut git = git_command();
    // No setting of the machine changes the format.
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    git.arg("--git-dir").arg(repo).args(["diff-tree", "-r", "-z", "-M", "-l200"]);
    git.args(["--name-status", "--no-ext-diff", old, new, "--"]);
    git.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().ok()?;
    let mut text = Vec::new();
    let read = child.stdout.take().map(|out| out.take(LARGEST).read_to_end(&mut text));
    // Beyond the limit, git ends by the closed pipe.
    let status = child.wait().ok()?;
    let is_whole = status.success() || text.len() as u64 == LARGEST;
    (is_whole && read.is_some_and(|read| read.is_ok())).then(|| parse(&text))
}

/// Parses `STATUS NUL PATH NUL …`; renames have two paths.
fn parse(text: &[u8]) -> ChangedFiles {
    let mut words = text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let (mut count, mut changes) = (0, Vec::new());
    while let (Some(status), Some(path)) = (words.next(), words.next()) {
        let (change, path, from) = match status.as_bytes().first() {
            Some(b'R') => match words.next() {
                Some(to) if !to.is_empty() => (FileChange::Renamed, to, Some(path)),
                _ => break,
            },
            Some(b'A') => (FileChange::Added, path, None),
            Some(b'D') => (FileChange::Removed, path, None),
            _ => (FileChange::Changed, path, None),
        };
        count += 1;
        if changes.len() < MOST {
            changes.push(ChangedFile { change, path, from });
        }
    }
    ChangedFiles { count, changes }
}

impl ChangedFiles {
    /// Returns the lines of the text form, such as `A new.py`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |file: &ChangedFile| match (file.change, &file.from) {
            (FileChange::Renamed, Some(from)) => format!("R {from} → {}", file.path),
            (FileChange::Added, _) => format!("A {}", file.path),
            (FileChange::Removed, _) => format!("D {}", file.path),
            (FileChange::Changed | FileChange::Renamed, _) => format!("M {}", file.path),
        };
        let mut lines: Vec<String> = self.changes.iter().take(MOST_IN_TEXT).map(line).collect();
        if self.count > lines.len() {
            lines.push(format!("… and {} more", self.count - lines.len()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_parsed_and_counted() {
        let read = parse(b"M\0page\0A\0a b\nc\0D\0old\0R087\0from\0to\0T\0link\0");
        assert_eq!(read.count, 5);
        assert_eq!(read.lines(), ["M page", "A a b\nc", "D old", "R from → to", "M link"]);
        let read = parse("A\0new\0".repeat(1001).as_bytes());
        assert_eq!((read.count, read.changes.len()), (1001, MOST));
        assert_eq!(read.lines().last().unwrap(), "… and 961 more");
        assert_eq!(parse(b"").count, 0);
        assert_eq!(parse(b"R100\0from\0").count, 0);
    }
}
