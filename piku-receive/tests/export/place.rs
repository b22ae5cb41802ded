//! A repository, and the real `piku-receive` to export from it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A work tree with its repository, and a place to export to.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.git(&["init", "-q", "-b", "main", "work"], place.dir.path());
        place
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    pub(crate) fn git(&self, args: &[&str], at: &Path) -> String {
        let out = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.invalid",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(args)
            .current_dir(at)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.dir.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "-A"], &self.work());
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"], &self.work());
        self.git(&["rev-parse", "HEAD"], &self.work())
    }

    /// A commit of a tree written by hand, as `git mktree` would refuse it. Entries: mode, hash, name.
    pub(crate) fn by_hand(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let tree = self.tree(entries);
        self.git(&["commit-tree", &tree, "-m", "x"], &self.work())
    }

    pub(crate) fn tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut raw = Vec::new();
        for (mode, hash, name) in entries {
            raw.extend_from_slice(format!("{mode} ").as_bytes());
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend((0..20).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap()));
        }
        self.object("tree", &raw)
    }

    pub(crate) fn object(&self, kind: &str, raw: &[u8]) -> String {
        let mut git = Command::new("git")
            .args(["hash-object", "-w", "--literally", "--stdin", "-t", kind])
            .current_dir(self.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        git.stdin.take().unwrap().write_all(raw).unwrap();
        let out = git.wait_with_output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn tool(&self, commit: &str) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_piku-receive"));
        tool.arg("export").arg(self.work().join(".git")).arg(commit).arg(self.path("out"));
        // What a hook may have forgotten must not lead anywhere else.
        tool.env("GIT_DIR", "/nonexistent").env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        tool
    }

    pub(crate) fn export(&self, commit: &str) -> Output {
        self.tool(commit).output().unwrap()
    }

    pub(crate) fn exported(&self, commit: &str) -> PathBuf {
        let out = self.export(commit);
        assert!(out.status.success(), "{out:?}");
        self.path("out")
    }

    /// The export fails with one line that holds `why`, and leaves nothing.
    pub(crate) fn refused(&self, commit: &str, why: &str) {
        let out = self.export(commit);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("piku-receive: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(why), "{why:?} is not in {said}");
        self.nothing_is_left();
    }

    pub(crate) fn nothing_is_left(&self) {
        let names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "out" || name.starts_with(".export."))
            .collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
