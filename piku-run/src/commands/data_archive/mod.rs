//! An app's files as a tar archive: what an app has made cannot keep the rest from being saved. The files are listed in
//! one jail and read in another, so that the list can be bounded: a path is in the archive with each file, and folders in
//! folders would make it grow with the square of their depth.

mod data_source;
mod tar_report;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use piku_backup::LeftOut;
use piku_layout::jail::DATA;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use crate::instance::data_jail::jail_command;
use crate::process::deadline::{Deadline, end_child};

use data_source::DataSource;
pub(super) use tar_report::TarReport;
use tar_report::for_each_line;

/// Most folders in each other.
const DEEPEST: usize = 256;
/// Longest path in bytes: no program reaches a longer one by its name, and tar would not unpack it.
const LONGEST_PATH: usize = 4000;

/// An archive that is being read.
#[derive(Debug)]
pub(super) struct DataArchive {
    lister: Child,
    reader: Child,
    names: Option<JoinHandle<io::Result<FileList>>>,
    list_errors: Option<JoinHandle<LeftOut>>,
    report: Option<JoinHandle<TarReport>>,
    source: Option<DataSource>,
}

/// Files that were not passed on to tar.
#[derive(Debug, Default)]
struct FileList {
    left_out: LeftOut,
    sockets: u64,
}

/// Result of an archive that was written to its end.
#[derive(Debug, Default)]
pub(super) struct ArchiveEnd {
    pub(super) left_out: LeftOut,
    /// Some files changed or disappeared while they were read.
    pub(super) has_changed: bool,
    /// Number of sockets, which have no content.
    pub(super) sockets: u64,
}

impl DataArchive {
    /// Begins to write the files of an app to `output`.
    pub(super) fn start(root: &PikuRoot, app: &AppName, output: Stdio) -> anyhow::Result<Self> {
        let dir = root.app(app);
        let (data, source) = (dir.data(), DataSource::open(dir)?);
        let depth = (DEEPEST + 1).to_string();
        let list = ["find", DATA, "-maxdepth", &depth, "-printf", "%y %P\\0"];
        let read =
            ["tar", "-c", "-S", "-C", DATA, "--no-recursion", "--null", "--verbatim-files-from", "-T", "-"];
        let (list, read) = (jail_command(root, app, &data, &list)?, jail_command(root, app, &data, &read)?);
        let mut archive = Self::start_commands(list, read, output)?;
        archive.source = Some(source);
        Ok(archive)
    }

    /// Takes the archive, if it goes to a pipe.
    pub(super) fn take_output(&mut self) -> anyhow::Result<ChildStdout> {
        self.reader.stdout.take().context("no output")
    }

    fn start_commands(mut list: Command, mut read: Command, output: Stdio) -> anyhow::Result<Self> {
        list.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        read.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let mut lister = list.spawn().context("cannot run 'find'")?;
        let mut reader = match read.spawn().context("cannot run 'tar'") {
            Ok(reader) => reader,
            Err(err) => {
                end_child(&mut lister);
                return Err(err);
            }
        };
        let its_pipes = lister.stdout.take().zip(lister.stderr.take());
        let (Some((files, list_errors)), Some((names, errors))) =
            (its_pipes, reader.stdin.take().zip(reader.stderr.take()))
        else {
            end_child(&mut lister);
            end_child(&mut reader);
            return Err(anyhow!("no pipes"));
        };
        Ok(Self {
            lister,
            reader,
            names: Some(thread::spawn(move || pass_names(files, names))),
            list_errors: Some(thread::spawn(move || read_list_errors(list_errors))),
            report: Some(TarReport::start(errors)),
            source: None,
        })
    }

    /// Waits for the end of an archive; one in a pipe was read to its end.
    ///
    /// # Errors
    /// Fails if it has no end, or if the files were removed with the app.
    pub(super) fn finish(mut self, deadline: Deadline) -> anyhow::Result<ArchiveEnd> {
        let read = deadline.wait_child(&mut self.reader).context("cannot wait for 'tar'")?;
        let listed = deadline.wait_child(&mut self.lister).context("cannot wait for 'find'")?;
        let report = join(self.report.take())?;
        let not_listed = join(self.list_errors.take())?;
        let named = join(self.names.take())?;
        report.check(read)?;
        let FileList { left_out: mut all, sockets } =
            named.context("cannot pass on the names of the files")?;
        if !matches!(listed.code(), Some(0 | 1)) {
            return Err(anyhow!("find failed ({listed})"));
        }
        // What it has read until then is no state of the app.
        if self.source.as_ref().is_some_and(DataSource::is_removed) {
            return Err(anyhow!("the app was destroyed while they were read"));
        }
        all.extend(not_listed);
        all.extend(report.left_out);
        Ok(ArchiveEnd { left_out: all, has_changed: report.has_changed, sockets })
    }
}

impl Drop for DataArchive {
    fn drop(&mut self) {
        // The threads end with the pipes.
        end_child(&mut self.lister);
        end_child(&mut self.reader);
    }
}

fn join<T>(thread: Option<JoinHandle<T>>) -> anyhow::Result<T> {
    thread.and_then(|thread| thread.join().ok()).context("a thread has ended early")
}

/// Passes the names of the files on to tar, except for those that it should not read.
fn pass_names(files: impl Read, names: impl Write) -> io::Result<FileList> {
    let mut files = BufReader::new(files);
    let mut names = BufWriter::new(names);
    let mut list = FileList::default();
    let mut record = Vec::new();
    while files.read_until(0, &mut record)? > 0 {
        let [kind, b' ', path @ .., 0] = record.as_slice() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let depth = path.split(|byte| *byte == b'/').count();
        let left = match kind {
            _ if depth > DEEPEST => Some(format!("deeper than {DEEPEST} folders, with all below it")),
            _ if path.len() > LONGEST_PATH => Some(format!("a path of more than {LONGEST_PATH} bytes")),
            b'b' | b'c' => Some("a device".to_owned()),
            _ => None,
        };
        match left {
            Some(reason) => list.left_out.add(&format!("./{}", String::from_utf8_lossy(path)), &reason),
            None if *kind == b's' => list.sockets += 1,
            None => {
                names.write_all(b"./")?;
                names.write_all(&record[2..])?;
            }
        }
        record.clear();
    }
    names.flush()?;
    Ok(list)
}

/// Reads what find says of folders that it cannot list.
fn read_list_errors(errors: impl Read) -> LeftOut {
    let mut left_out = LeftOut::default();
    for_each_line(errors, |line| {
        let Some((name, reason)) = line.strip_prefix("find: ").and_then(|said| said.rsplit_once(": ")) else {
            piku_report::progress::error(line);
            return;
        };
        // tar says the first, too; the second has disappeared.
        if !["Permission denied", "No such file or directory"].contains(&reason) {
            let name = name.trim_matches(['‘', '’', '\'']);
            let below = name.strip_prefix(DATA).map(|below| format!(".{below}"));
            left_out.add(below.as_deref().unwrap_or(name), reason);
        }
    });
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_tests::processes::shell;

    fn read(list: &str, read: &str) -> anyhow::Result<(String, ArchiveEnd)> {
        let mut archive = DataArchive::start_commands(shell(list), shell(read), Stdio::piped())?;
        let text = io::read_to_string(archive.take_output()?)?;
        archive.finish(Deadline::default()).map(|end| (text, end))
    }

    #[test]
    fn what_has_no_content_and_what_is_too_deep_is_not_passed_on() {
        let deep = vec!["d"; DEEPEST].join("/");
        let long = vec!["x".repeat(200); 20].join("/");
        let records = format!("d \0f a b\nc\0s sock\0c null\0d {deep}\0f {deep}/below\0f {long}\0p -pipe\0");
        let mut names = Vec::new();
        let list = pass_names(records.as_bytes(), &mut names).unwrap();
        assert_eq!(String::from_utf8(names).unwrap(), format!("./\0./a b\nc\0./{deep}\0./-pipe\0"));
        assert_eq!((list.left_out.count, list.sockets), (3, 1));
        let reasons: Vec<&str> = list.left_out.files.iter().map(|file| file.reason.as_str()).collect();
        assert_eq!(
            reasons,
            ["a device", "deeper than 256 folders, with all below it", "a path of more than 4000 bytes"]
        );
    }

    #[test]
    fn either_program_can_fail() {
        let (text, end) = read("printf 'f a\\0'", "tr '\\0' '\\n'").unwrap();
        assert!(text == "./a\n" && end.left_out.is_empty());
        let (_, end) =
            read("exit 1", "cat; echo 'tar: ./a: Cannot open: Permission denied' >&2; exit 2").unwrap();
        assert_eq!(end.left_out.count, 1);
        let (_, end) = read("echo 'find: ‘/data/x’: Input/output error' >&2; exit 1", "cat").unwrap();
        assert_eq!((end.left_out.files[0].name.as_str(), end.left_out.count), ("./x", 1));
        assert_eq!(end.left_out.files[0].reason, "Input/output error");
        for (list, reader, told) in [
            ("exit 3", "cat", "find failed (exit status: 3)"),
            ("kill -9 $$", "cat", "find failed (signal: 9 (SIGKILL))"),
            ("true", "exit 2", "tar failed (exit status: 2)"),
            ("yes | tr 'y\\n' 'f\\0'", "exit 125", "tar failed (exit status: 125)"),
            ("true", "echo 'tar: memory exhausted' >&2; exit 2", "tar: memory exhausted"),
            ("echo none", "cat", "cannot pass on the names of the files"),
        ] {
            assert_eq!(read(list, reader).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn a_reader_that_never_ends_is_killed() {
        let never = || shell("exec sleep 1000");
        let archive = DataArchive::start_commands(never(), never(), Stdio::null()).unwrap();
        assert!(archive.finish(Deadline::after(std::time::Duration::from_millis(20))).is_err());
    }
}
