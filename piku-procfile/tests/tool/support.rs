//! Runs the built tool in a folder of its own, with an environment of its own, and looks at all that comes back.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use piku_tests::snapshot::{IntoData, assert_snapshot, transcript};
use tempfile::TempDir;

/// A folder with files, and the tool's command line.
pub(crate) struct Tool {
    dir: TempDir,
    command: Command,
    stdin: Vec<u8>,
}

impl Tool {
    /// `piku-procfile ARGS`.
    pub(crate) fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_piku-procfile"));
        command.args(args).env_clear().current_dir(dir.path());
        Self { dir, command, stdin: Vec::new() }
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.path().join(name), content).expect("a file");
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        self.stdin = text.as_ref().to_vec();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs it: its stdout, its stderr and its exit code.
    pub(crate) fn run(mut self) -> (String, String, i32) {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = std::mem::take(&mut self.stdin);
        let writer = std::thread::spawn(move || {
            // The tool need not read it all.
            let _ = stdin.write_all(&input);
        });
        let out = child.wait_with_output().expect("the tool ends");
        writer.join().expect("the writer ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(out.stdout), text(out.stderr), out.status.code().expect("an exit code"))
    }

    /// Expects exit code 0, this stdout and an empty stderr.
    #[track_caller]
    pub(crate) fn prints(self, stdout: impl IntoData) {
        let (out, err, code) = self.run();
        assert_eq!((err.as_str(), code), ("", 0));
        assert_snapshot(&out, stdout);
    }

    /// Expects this exit code, this stderr and an empty stdout.
    #[track_caller]
    pub(crate) fn says(self, code: i32, stderr: impl IntoData) {
        let (out, err, found) = self.run();
        assert_eq!((out.as_str(), found), ("", code), "{err}");
        assert_snapshot(&err, stderr);
    }

    /// Runs it and returns its command line and all that it printed, as one text.
    pub(crate) fn transcript(mut self) -> String {
        let args: Vec<_> = self.command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let output = self.command.stdin(Stdio::null()).output().expect("the tool runs");
        format!("$ piku-procfile {}\n{}\n", args.join(" "), transcript(&output))
    }
}
