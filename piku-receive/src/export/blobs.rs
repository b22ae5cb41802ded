//! Large files, copied from git to the disk in pieces. libgit2 reads a file as a whole, and a push of a few
//! kilobytes may contain a file of gigabytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::Context;
use git2::Oid;
use piku_files::free_space::size;
use piku_report::user_error::UserError;

use crate::child_env;

/// Size in bytes above which git reads a file; equal to `core.bigFileThreshold` of the repository.
pub(super) const LARGE: u64 = 1 << 20;
/// Longest error of git that is repeated, in bytes.
const LONGEST: u64 = 1000;

/// Reads the large files of a repository.
pub(super) struct BlobReader {
    repo: PathBuf,
    /// git, started for the first file.
    batch: Option<BatchProcess>,
}

/// A running `git cat-file --batch`.
struct BatchProcess {
    git: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl BlobReader {
    /// Creates a reader for the bare repository `repo`.
    pub(super) fn new(repo: &Path) -> Self {
        Self { repo: repo.to_owned(), batch: None }
    }

    /// Writes a file of `bytes` bytes to `to`.
    ///
    /// # Errors
    /// Fails if git cannot read it, usually for lack of memory: a delta is resolved in memory as a whole.
    pub(super) fn copy_blob(&mut self, blob: Oid, bytes: u64, to: &mut File) -> anyhow::Result<()> {
        let batch = match self.batch.as_mut() {
            Some(batch) => batch,
            None => self.batch.insert(BatchProcess::spawn_git(&self.repo)?),
        };
        let Err(err) = batch.copy_blob(blob, bytes, to) else { return Ok(()) };
        // A failed write is an error of the disk, not of git.
        if batch.answer.buffer().is_empty() && err.kind() == io::ErrorKind::UnexpectedEof {
            let why = self.batch.take().map(BatchProcess::into_error_text).unwrap_or_default();
            let what = format!("git cannot read its {}{why}", size(bytes));
            return Err(UserError::new(what)
                .hint("this machine has too little free memory for the file; keep large files in DATA_DIR")
                .into());
        }
        Err(err.into())
    }
}

impl BatchProcess {
    fn spawn_git(repo: &Path) -> anyhow::Result<Self> {
        let mut git = child_env::clean_command("git")?
            .env("GIT_DIR", repo)
            .args(["-c", &format!("core.bigFileThreshold={LARGE}"), "cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run 'git cat-file'")?;
        let (Some(ask), Some(answer)) = (git.stdin.take(), git.stdout.take()) else {
            anyhow::bail!("cannot connect to 'git cat-file'");
        };
        Ok(Self { git, ask, answer: BufReader::with_capacity(1 << 16, answer) })
    }

    fn copy_blob(&mut self, blob: Oid, bytes: u64, to: &mut File) -> io::Result<()> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        writeln!(self.ask, "{blob}").map_err(|_| ended())?;
        let mut head = String::new();
        (&mut self.answer).take(LONGEST).read_line(&mut head)?;
        if head.is_empty() {
            return Err(ended());
        }
        if head.trim_end() != format!("{blob} blob {bytes}") {
            return Err(io::Error::other(format!("unexpected response of git: {}", head.trim_end())));
        }
        if io::copy(&mut (&mut self.answer).take(bytes), to)? != bytes {
            return Err(ended());
        }
        let mut newline = [0];
        self.answer.read_exact(&mut newline)
    }

    /// Returns the error of git with `: ` in front, or an empty text.
    fn into_error_text(mut self) -> String {
        let mut text = Vec::new();
        if let Some(stderr) = self.git.stderr.take() {
            let _ = stderr.take(LONGEST).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find_map(|line| line.strip_prefix("fatal: "));
        line.map(|line| format!(": {line}")).unwrap_or_default()
    }
}

impl Drop for BatchProcess {
    fn drop(&mut self) {
        // It waits for input or has ended.
        let _ = self.git.kill();
        let _ = self.git.wait();
    }
}
