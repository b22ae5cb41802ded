//! The report of tar about files that it cannot read. Its lines have one form: in the jail it has no other language.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};

use anyhow::anyhow;
use piku_backup::LeftOut;
use piku_report::progress;

/// Longest line that is read in one piece: a path whose every byte is escaped, and a reason.
const LONGEST_LINE: u64 = 1 << 17;

/// The lines of a tar that writes an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TarReport {
    /// Files that are not in the archive, or not with all of their content; an error if the archive has no end.
    pub(crate) left_out: LeftOut,
    /// Some files changed or disappeared while they were read.
    pub(crate) has_changed: bool,
    /// Number of devices that could not be unpacked.
    devices: u64,
}

impl TarReport {
    /// Reads the lines in a thread.
    pub(crate) fn start(stderr: impl Read + Send + 'static) -> JoinHandle<Self> {
        thread::spawn(move || {
            let mut report = Self::default();
            for_each_line(stderr, |line| {
                if !report.add(line) {
                    progress::error(line);
                }
            });
            report
        })
    }

    /// Checks how tar ended: with 2 if it has left out files, which it goes on after.
    ///
    /// # Errors
    /// Fails if the archive has no end.
    pub(crate) fn check(&self, status: ExitStatus) -> anyhow::Result<()> {
        let is_told = self.has_changed || self.left_out.count > 0;
        match (status.code(), &self.left_out.error) {
            (_, Some(error)) => Err(anyhow!("{error}")),
            (Some(0 | 1), None) => Ok(()),
            (Some(2), None) if is_told => Ok(()),
            (_, None) => Err(anyhow!("tar failed ({status})")),
        }
    }

    /// Checks how a tar ended that unpacks. Devices cannot be made in a jail, and are left out: older versions of piku saved
    /// those with the numbers 0 and 0. Returns how many there were.
    ///
    /// # Errors
    /// Fails if anything else was not unpacked.
    pub(crate) fn check_unpacked(&self, status: ExitStatus) -> anyhow::Result<u64> {
        let is_well = self.left_out.is_empty() && !self.has_changed;
        match (status.code(), &self.left_out) {
            (Some(0), _) => Ok(self.devices),
            (Some(2), _) if is_well && self.devices > 0 => Ok(self.devices),
            (_, LeftOut { error: Some(error), .. }) => Err(anyhow!("{error}")),
            (_, left_out) if left_out.count > 0 => Err(anyhow!("{}", left_out.describe_files())),
            _ => Err(anyhow!("tar failed ({status})")),
        }
    }

    /// Takes a line. Returns false for one that tar did not write.
    fn add(&mut self, line: &str) -> bool {
        let Some(said) = line.strip_prefix("tar: ") else { return false };
        match split_name(said) {
            None if said == "Exiting with failure status due to previous errors" => {}
            // Such as: Error is not recoverable: exiting now.
            None => self.left_out.fail(&format!("tar: {said}")),
            // It has no content.
            Some((_, "socket ignored")) => {}
            Some((_, "File removed before we read it" | "file changed as we read it")) => {
                self.has_changed = true;
            }
            Some((_, "Cannot mknod: Operation not permitted")) => self.devices += 1,
            Some((name, reason)) => {
                let short =
                    ["Cannot open: ", "Cannot stat: "].iter().find_map(|what| reason.strip_prefix(what));
                if short == Some("No such file or directory") || reason.starts_with("File shrank by ") {
                    self.has_changed = true;
                } else {
                    self.left_out.add(name, short.unwrap_or(reason));
                }
            }
        }
        true
    }
}

/// Splits a line into a name, in which colons and backslashes are escaped, and what follows it; `None` for an error that is
/// of no file.
fn split_name(said: &str) -> Option<(&str, &str)> {
    if said.starts_with("Error ") {
        return None;
    }
    let mut is_escaped = false;
    let end = said.char_indices().find(|(_, c)| {
        let is_end = *c == ':' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    let (end, _) = end?;
    Some((&said[..end], said[end..].strip_prefix(": ")?))
}

/// Calls `take` with each line.
pub(super) fn for_each_line(input: impl Read, mut take: impl FnMut(&str)) {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            take(text.trim_end());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_devices_may_be_left_out_when_an_archive_is_unpacked() {
        let check = |code: i32, lines: &[&str]| {
            let mut report = TarReport::default();
            assert!(lines.iter().all(|line| report.add(line)));
            report.check_unpacked(ExitStatus::from_raw(code << 8)).map_err(|err| err.to_string())
        };
        let device = "tar: ./a: Cannot mknod: Operation not permitted";
        let end = "tar: Exiting with failure status due to previous errors";
        assert_eq!(check(0, &[]), Ok(0));
        assert_eq!(check(2, &[device, device, end]), Ok(2));
        for (lines, told) in [
            (
                &[device, "tar: ./b: Cannot write: No space left on device", end][..],
                "1 file: ./b (Cannot write: No space left on device)",
            ),
            (&[device, "tar: Unexpected EOF in archive"], "tar: Unexpected EOF in archive"),
            (
                &[device, "tar: ./b: Cannot open: No such file or directory", end],
                "tar failed (exit status: 2)",
            ),
            (&[], "tar failed (exit status: 2)"),
        ] {
            assert_eq!(check(2, lines), Err(told.to_owned()));
        }
    }

    #[test]
    fn files_are_counted_and_changes_told_apart() {
        let mut report = TarReport::default();
        for line in [
            "tar: ./a: file changed as we read it",
            "tar: ./b: Cannot stat: No such file or directory",
            "tar: ./c: File shrank by 5 bytes; padding with zeros",
            "tar: ./sock: socket ignored",
            "tar: ./d\\: file changed as we read it: Cannot open: Permission denied",
            "tar: ./e\\: file changed as we read it\\n: Cannot stat: Permission denied",
            "tar: ./a\\: File shrank by 5: Cannot open: Permission denied",
            "tar: ./f: Read error at byte 0, while reading 10 bytes: Input/output error",
            "tar: Exiting with failure status due to previous errors",
        ] {
            assert!(report.add(line), "{line}");
        }
        assert!(report.has_changed && report.left_out.error.is_none());
        let names: Vec<String> =
            report.left_out.files.iter().map(|file| format!("{} ({})", file.name, file.reason)).collect();
        assert_eq!(
            names,
            [
                "./d\\: file changed as we read it (Permission denied)",
                "./e\\: file changed as we read it\\n (Permission denied)",
                "./a\\: File shrank by 5 (Permission denied)",
                "./f (Read error at byte 0, while reading 10 bytes: Input/output error)"
            ]
        );
        assert!(!report.add("piku-chroot: no"));
        assert!(report.add("tar: Error is not recoverable: exiting now"));
        assert_eq!(report.left_out.error.as_deref(), Some("tar: Error is not recoverable: exiting now"));
    }
}
