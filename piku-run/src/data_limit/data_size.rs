//! Measures the data of an app, which may have made any tree of it: a jail that has only this directory counts its
//! blocks, as the user that owns it. Takes constant memory here, and ends after a given time.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::process::wait::{READ, wait};

/// Unit of the blocks that are counted, in bytes.
const BLOCK: u64 = 512;
/// Longest line that is read; those of the program have three short numbers.
const LONGEST: usize = 100;

/// Size of a tree on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DataSize {
    pub(super) bytes: u64,
    /// Some of the tree was not counted: the time was over, or a directory cannot be read.
    pub(super) is_partial: bool,
}

/// Counts what the program lists: a line for each file with its type, its blocks and its links, as
/// `find -printf '%y %b %n\n'` writes it.
///
/// # Errors
/// Fails if the program cannot be run, or did not begin.
pub(super) fn count(mut lister: Command, within: Duration) -> anyhow::Result<DataSize> {
    let child = lister.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.context("cannot run 'find'")?;
    let mut output = child.stdout.take().context("find has no output")?;
    let end = Instant::now() + within;
    let mut counter = LineCounter::default();
    let mut buffer = vec![0; 1 << 16];
    let is_whole = loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        if wait(&[(output.as_fd(), READ, ())], Some(left))?.is_empty() {
            continue;
        }
        match output.read(&mut buffer).context("cannot read what find lists")? {
            0 => break true,
            count => counter.add(&buffer[..count]),
        }
    };
    // A lister whose output is closed ends with its next line.
    drop(output);
    let status = child.wait().context("cannot wait for 'find'")?;
    // It exits with 1 if it could not read a directory.
    ensure!(!is_whole || counter.files > 0 && matches!(status.code(), Some(0 | 1)), "find failed ({status})");
    Ok(DataSize { bytes: counter.bytes, is_partial: !is_whole || !status.success() })
}

/// Sums up lines that arrive in pieces.
#[derive(Debug, Default)]
struct LineCounter {
    line: Vec<u8>,
    bytes: u64,
    files: u64,
}

impl LineCounter {
    fn add(&mut self, text: &[u8]) {
        for &byte in text {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.bytes = self.bytes.saturating_add(size_of_line(&line).unwrap_or(0));
                self.files += 1;
            } else if self.line.len() < LONGEST {
                self.line.push(byte);
            }
        }
    }
}

/// Returns the bytes of a line; a file with several links, which are all below the directory, counts in proportion.
fn size_of_line(line: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let kind = words.next()?;
    let bytes = words.next()?.parse::<u64>().ok()?.checked_mul(BLOCK)?;
    let links: u64 = words.next()?.parse().ok()?;
    Some(if kind == "d" { bytes } else { bytes / links.max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_tests::processes::shell;

    #[test]
    fn blocks_are_summed_up() {
        let whole = |bytes| DataSize { bytes, is_partial: false };
        let minute = Duration::from_secs(60);
        let listed = count(
            shell("printf 'd 8 5\\nf 16 1\\nf 16 2\\n'; sleep 0.1; printf 'f 1'; printf '6 2\\n'"),
            minute,
        );
        assert_eq!(listed.unwrap(), whole(512 * (8 + 16 + 8 + 8)));
        let some = count(shell("printf 'd 8 5\\n'; exit 1"), minute).unwrap();
        assert_eq!(some, DataSize { bytes: 4096, is_partial: true });
        assert!(count(shell("exit 1"), minute).is_err(), "it did not begin");
        assert!(count(shell("printf 'd 8 5\\n'; exit 125"), minute).is_err(), "the jail failed");
        let odd =
            count(shell("printf 'd 18446744073709551615 1\\nnonsense\\n\\377\\nf 8 0\\n'"), minute).unwrap();
        assert_eq!(odd, whole(4096));
    }

    #[test]
    fn endless_list_ends_with_the_time() {
        let size = count(shell("exec yes 'f 8 1'"), Duration::from_millis(100)).unwrap();
        assert!(size.is_partial && size.bytes > 0);
    }
}
