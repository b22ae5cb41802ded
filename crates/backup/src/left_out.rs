//! List of what a part of a backup lacks: files that could not be read, or its end.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Most files that are named; all are counted.
const MOST_NAMES: usize = 10;
/// Longest text in characters.
const LONGEST: usize = 200;

/// Files and data that a part lacks. These names are a contract with scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Number of files that are not in the part.
    pub count: u64,
    /// The first of these files.
    pub files: Vec<LeftFile>,
    /// Error after which the part has no end; `None` if it has one.
    pub error: Option<String>,
}

/// A file that is not in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftFile {
    /// Path in the part.
    pub name: String,
    /// Reason in a few words.
    pub reason: String,
}

impl LeftOut {
    /// Adds a file. Only the first ones are named.
    pub fn add(&mut self, name: &str, reason: &str) {
        self.count += 1;
        if self.files.len() < MOST_NAMES {
            self.files.push(LeftFile { name: plain(name), reason: plain(reason) });
        }
    }

    /// Adds what another one has.
    pub fn extend(&mut self, other: Self) {
        let free = MOST_NAMES.saturating_sub(self.files.len());
        self.count += other.count;
        self.files.extend(other.files.into_iter().take(free));
        self.error = self.error.take().or(other.error);
    }

    /// Sets the error, unless there is one.
    pub fn fail(&mut self, error: &str) {
        self.error.get_or_insert_with(|| plain(error));
    }

    /// Returns true if the part lacks nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.error.is_none()
    }

    /// Describes the files in a line: `2 files: ./a (a device), ./b (Permission denied)`.
    #[must_use]
    pub fn describe_files(&self) -> String {
        let files = if self.count == 1 { "1 file".to_owned() } else { format!("{} files", self.count) };
        let mut names: Vec<String> =
            self.files.iter().map(|file| format!("{} ({})", file.name, file.reason)).collect();
        let more = self.count.saturating_sub(names.len() as u64);
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        format!("{files}: {}", names.join(", "))
    }

    /// Checks that it is as this piku writes it: it may come from anyone.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let texts = self.files.iter().flat_map(|file| [&file.name, &file.reason]).chain(&self.error);
        let is_shown =
            |text: &String| text.chars().count() <= LONGEST + 1 && !text.chars().any(char::is_control);
        let is_counted = self.files.len() <= MOST_NAMES && self.files.len() as u64 <= self.count;
        ensure!(is_counted && texts.clone().all(is_shown), "the list of what it lacks is bad");
        ensure!(!self.is_empty(), "the list of what it lacks is empty");
        Ok(())
    }
}

/// Returns a text that can be printed in a line.
fn plain(text: &str) -> String {
    let text = piku_report::diagnostic::shorten_text(text, LONGEST);
    piku_report::diagnostic::readable(&text).replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_can_be_printed() {
        let mut left = LeftOut::default();
        left.check().unwrap_err();
        for number in 0..1000 {
            left.add(&format!("./{number}\n\x1b[2J\t{}", "x".repeat(9000)), "a\nb");
        }
        left.fail("first\r\n");
        left.fail("second");
        left.check().unwrap();
        assert_eq!((left.count, left.files.len()), (1000, MOST_NAMES));
        assert!(left.error.as_deref().is_some_and(|error| error.starts_with("first")));
        let mut sum = LeftOut::default();
        sum.add("./a", "b");
        sum.extend(left.clone());
        sum.check().unwrap();
        assert_eq!((sum.count, sum.files.len()), (1001, MOST_NAMES));
        for bad in [
            LeftOut { count: 3, ..left.clone() },
            LeftOut { error: Some("\x1b".to_owned()), ..left.clone() },
            LeftOut { error: Some("x".repeat(LONGEST + 2)), ..left },
        ] {
            bad.check().unwrap_err();
        }
    }
}
