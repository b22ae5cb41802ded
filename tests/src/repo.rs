//! A work tree on the laptop: write files, commit, `git push` through the real git and ssh.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use crate::snapshot::{IntoData, assert_redacted};

/// A git work tree with a remote named `piku`.
pub struct Repo {
    dir: PathBuf,
    ssh: String,
}

/// Output and result of `git push`.
#[derive(Debug)]
pub struct Push {
    ok: bool,
    said: String,
}

/// A push that is under way, and what it has said so far.
#[derive(Debug)]
pub struct RunningPush {
    git: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

/// A release task that waits for [`open_gate`](crate::world::World::open_gate).
pub const GATED_RELEASE: &str =
    "release: n=0; until [ -e /data/gate ] || [ $n -gt 2000 ]; do sleep 0.05; n=$((n + 1)); done";

/// A web server for tests: answers every path with the text in the file `page`; `#!` Python, no dependency.
pub const SERVE: &str = r#"#!/usr/bin/python3
import http.server, os, socketserver
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("page", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
socketserver.TCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

impl Repo {
    /// Creates an empty work tree on the branch `main`.
    #[must_use]
    pub fn new(dir: &Path, url: &str, ssh: &str) -> Self {
        fs::create_dir_all(dir).expect("work tree");
        let repo = Self { dir: dir.to_owned(), ssh: ssh.to_owned() };
        repo.git(&["init", "-q", "-b", "main"]);
        repo.git(&["config", "user.name", "A laptop"]);
        repo.git(&["config", "user.email", "laptop@example.invalid"]);
        repo.git(&["remote", "add", "piku", url]);
        repo
    }

    /// Writes an app that serves `page` and has no dependency.
    pub fn serves(&self, page: &str) -> &Self {
        self.file("Procfile", "web: ./serve\n").program("serve", SERVE).file("page", page)
    }

    /// Returns the root of the work tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes a file.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, content).expect("file");
        self
    }

    /// Writes an executable file.
    pub fn program(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        self.file(name, content);
        fs::set_permissions(self.dir.join(name), fs::Permissions::from_mode(0o755)).expect("mode");
        self
    }

    /// Creates a symlink.
    pub fn link(&self, name: &str, target: &str) -> &Self {
        symlink(target, self.dir.join(name)).expect("link");
        self
    }

    /// Removes a file.
    pub fn without(&self, name: &str) -> &Self {
        fs::remove_file(self.dir.join(name)).expect("a file to remove");
        self
    }

    /// Commits all files, even if nothing has changed.
    pub fn commit(&self, message: &str) -> &Self {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self
    }

    /// Returns a git command with a cleared environment.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.dir)
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", &self.ssh);
        git
    }

    /// Runs git, which must succeed, and returns its stdout.
    pub fn git(&self, args: &[&str]) -> String {
        let out = self.command().args(args).output().expect("git runs");
        assert!(out.status.success(), "git {args:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Runs `git push piku main`.
    #[must_use]
    pub fn push(&self) -> Push {
        self.push_with(&["piku", "main"])
    }

    /// Starts `git push piku main`.
    pub fn start_push(&self) -> Child {
        let mut git = self.command();
        git.args(["push", "piku", "main"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git.spawn().expect("git runs")
    }

    /// Starts `git push piku main`, for a test that waits for what it says.
    #[must_use]
    pub fn run_push(&self) -> RunningPush {
        let mut git = self.start_push();
        let stderr = BufReader::new(git.stderr.take().expect("stderr"));
        RunningPush { git, stderr, said: String::new() }
    }

    /// Runs `git push` with these arguments.
    #[must_use]
    pub fn push_with(&self, words: &[&str]) -> Push {
        Push::from(self.command().arg("push").args(words).output().expect("git runs"))
    }
}

impl RunningPush {
    /// Waits until it has said this.
    pub fn until_said(&mut self, text: &str) {
        while !self.said.contains(text) {
            let read = self.stderr.read_line(&mut self.said).expect("a line");
            assert_ne!(read, 0, "it ended before {text:?}: {}", self.said);
        }
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(mut self) -> Push {
        self.stderr.read_to_string(&mut self.said).expect("lines");
        let out = self.git.wait_with_output().expect("git");
        Push::from(Output { stderr: self.said.into_bytes(), ..out })
    }
}

impl From<Output> for Push {
    fn from(out: Output) -> Self {
        // What the server says has git's own "remote: " in front and, where it was longer than the line
        // before, blanks behind.
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let lines = text.lines().map(|line| line.strip_prefix("remote: ").unwrap_or(line).trim_end());
        Self { ok: out.status.success(), said: lines.collect::<Vec<_>>().join("\n") }
    }
}

impl Push {
    /// Expects success; returns the output.
    pub fn succeeds(self) -> String {
        assert!(self.ok, "the push failed:\n{}", self.said);
        self.said
    }

    /// Expects success and this output, redacted and without git's own address; returns the output.
    #[track_caller]
    pub fn succeeds_as(self, snapshot: impl IntoData) -> String {
        let said = self.succeeds();
        assert_redacted(&without_address(&said), &[], snapshot);
        said
    }

    /// Expects a failure with this output, redacted and without git's own address; returns the output.
    #[track_caller]
    pub fn fails_as(self, snapshot: impl IntoData) -> String {
        let said = self.fails_with(&[]);
        assert_redacted(&without_address(&said), &[], snapshot);
        said
    }

    /// Expects a failure whose output contains each of these texts; returns the output.
    pub fn fails_with(self, texts: &[&str]) -> String {
        assert!(!self.ok, "the push should have failed:\n{}", self.said);
        for text in texts {
            assert!(self.said.contains(text), "{text:?} is not in what the push said:\n{}", self.said);
        }
        self.said
    }
}

/// The line of piku-receive itself after the hook's.
const DRY_RUN: &str = "-----> Dry run: ";

/// Removes the two lines in which git names the address, the same after each push. The line of a dry run comes behind
/// those of the hook and before those of the refs: ssh prints it, and git the others, side by side.
fn without_address(output: &str) -> String {
    let is_address = |line: &&str| {
        line.starts_with("To ssh://") || line.starts_with("error: failed to push some refs to ")
    };
    let mut lines: Vec<&str> = output.lines().filter(|line| !is_address(line)).collect();
    if let Some(at) = lines.iter().position(|line| line.starts_with(DRY_RUN)) {
        let own = lines.remove(at);
        let refs = lines.iter().position(|line| line.contains(" -> ")).unwrap_or(lines.len());
        lines.insert(refs, own);
    }
    lines.join("\n")
}
