//! Large files of a commit, piece by piece from git to the disk: libgit2 reads a file as a whole, and one of a few kilobytes in a
//! push may be one of gigabytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::Context;
use git2::Oid;
use piku_files::free_space::size;
use piku_report::user_error::UserError;

use crate::child_env;

/// A file that is larger is read through git, in bytes; the same as `core.bigFileThreshold` of the repository.
pub(super) const LARGE: u64 = 1 << 20;
/// The longest complaint of git's that is repeated, in bytes.
const LONGEST: u64 = 1000;

/// A reader of one repository's large files.
pub(super) struct BlobReader {
    repo: PathBuf,
    /// git, once it has been needed.
    batch: Option<BatchProcess>,
}

/// `git cat-file --batch`: the name of an object in, its kind, length and content out.
struct BatchProcess {
    git: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl BlobReader {
    /// A reader of the files in the bare repository `repo`.
    pub(super) fn new(repo: &Path) -> Self {
        Self { repo: repo.to_owned(), batch: None }
    }

    /// Writes the content of a file of `bytes` bytes to `to`.
    ///
    /// # Errors
    /// When git cannot read it: most often for lack of memory, since what is stored as a difference to something else has to be put
    /// together as a whole.
    pub(super) fn copy(&mut self, blob: Oid, bytes: u64, to: &mut File) -> anyhow::Result<()> {
        let batch = match self.batch.as_mut() {
            Some(batch) => batch,
            None => self.batch.insert(BatchProcess::start(&self.repo)?),
        };
        let Err(err) = batch.copy(blob, bytes, to) else { return Ok(()) };
        // What cannot be written is the disk's fault and not git's.
        if batch.answer.buffer().is_empty() && err.kind() == io::ErrorKind::UnexpectedEof {
            let why = self.batch.take().map(BatchProcess::complaint).unwrap_or_default();
            let what = format!("git cannot read its {}{why}", size(bytes));
            return Err(UserError::new(what)
                .hint("a file that needs more memory than this machine can spare belongs into DATA_DIR")
                .into());
        }
        Err(err.into())
    }
}

impl BatchProcess {
    fn start(repo: &Path) -> anyhow::Result<Self> {
        let mut git = child_env::clean("git")?
            .env("GIT_DIR", repo)
            .args(["-c", &format!("core.bigFileThreshold={LARGE}"), "cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run 'git cat-file'")?;
        let (Some(ask), Some(answer)) = (git.stdin.take(), git.stdout.take()) else {
            anyhow::bail!("cannot talk to 'git cat-file'");
        };
        Ok(Self { git, ask, answer: BufReader::with_capacity(1 << 16, answer) })
    }

    fn copy(&mut self, blob: Oid, bytes: u64, to: &mut File) -> io::Result<()> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        writeln!(self.ask, "{blob}").map_err(|_| ended())?;
        let mut head = String::new();
        (&mut self.answer).take(LONGEST).read_line(&mut head)?;
        if head.is_empty() {
            return Err(ended());
        }
        if head.trim_end() != format!("{blob} blob {bytes}") {
            return Err(io::Error::other(format!("unexpected answer of git's: {}", head.trim_end())));
        }
        if io::copy(&mut (&mut self.answer).take(bytes), to)? != bytes {
            return Err(ended());
        }
        let mut newline = [0];
        self.answer.read_exact(&mut newline)
    }

    /// Returns the error that git reported before it ended, with `: ` in front; an empty text if there was none.
    fn complaint(mut self) -> String {
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
        // It waits for the next name, or has ended.
        let _ = self.git.kill();
        let _ = self.git.wait();
    }
}
