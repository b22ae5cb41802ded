//! The tree of a removed release of many files, which the next build takes: each release serves its commit, whatever was
//! killed or changed before.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;

use piku_tests::processes::{self, kill_all};
use piku_tests::repo::Repo;
use piku_tests::world::{World, wait_for};

use crate::own_users::world_with;

/// Pushes whose build is killed, unless `PIKU_ROUNDS` says another number.
const KILLS: u64 = 2;

/// An app with many files, which it never changes itself.
struct ManyFiles {
    world: World,
    repo: Repo,
    pushes: u32,
}

impl ManyFiles {
    fn new() -> Option<Self> {
        let world = world_with("keep_releases: 2\n")?;
        let repo = world.repo("blog");
        repo.serves("0").link("link", "page");
        for number in 0..600 {
            repo.file(&format!("files/{}/{number}", number % 6), "same");
        }
        Some(Self { world, repo, pushes: 0 })
    }

    /// Commits changes of each kind.
    fn change(&mut self) {
        self.pushes += 1;
        let number = self.pushes.to_string();
        self.repo.file("page", &number).file("files/0/0", &number);
        // A file becomes a directory and the reverse, and a program a plain file.
        let [swapped, mode] = ["swapped", "mode"].map(|name| self.repo.path().join(name));
        let _ = fs::remove_file(&swapped).or_else(|_| fs::remove_dir_all(&swapped));
        let _ = fs::remove_file(mode);
        if self.pushes % 2 == 0 {
            self.repo.file("swapped/deep/x", &number).file("mode", "same");
        } else {
            self.repo.file("swapped", &number).program("mode", "same");
        }
        self.repo.commit(&number);
    }

    /// Pushes the changes, and checks that the live release is the commit.
    fn push(&mut self) {
        self.change();
        self.repo.push().succeeds();
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.world.page("blog"), self.pushes.to_string());
        let (live, commit) =
            (list_files(&self.world.app("blog").join("current/app")), list_files(self.repo.path()));
        assert_eq!(live, commit);
    }

    fn removed(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.world.app("blog").join("releases")).expect("releases").flatten();
        let removed = entries.map(|entry| entry.path());
        removed.filter(|path| path.as_os_str().as_bytes().ends_with(b".gone")).collect()
    }

    /// Waits until one removed release is left, whose tree can be taken.
    fn await_spare(&self) -> PathBuf {
        let mut spare = None;
        wait_for("the other removals", || {
            let mut removed = self.removed();
            spare =
                removed.pop().filter(|release| removed.is_empty() && release.join("links.index").is_file());
            spare.is_some()
        });
        spare.expect("a release").join("app")
    }
}

/// Returns the content of each file by its path, with `x` for a program, and the target of each symlink.
fn list_files(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            if kind.is_dir() {
                if entry.file_name() != ".git" {
                    folders.push(path);
                }
                continue;
            }
            let content = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a link").display())
            } else {
                let is_program = fs::metadata(&path).expect("a file").mode() & 0o100 != 0;
                format!("{}{}", if is_program { "x " } else { "" }, fs::read_to_string(&path).expect("text"))
            };
            found.insert(path.strip_prefix(top).expect("below").to_owned(), content);
        }
    }
    found
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("an entry").ino()
}

/// Ends a session and returns its output.
fn finish(mut session: Child) -> String {
    drop(session.stdin.take());
    let out = session.wait_with_output().expect("ssh");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn each_release_is_its_commit_whatever_became_of_the_tree_before() {
    let Some(mut app) = ManyFiles::new() else { return };
    app.push();
    // A command of `piku run` keeps the release that it sees.
    let mut session =
        app.world.start_ssh("laptop", "run blog sh -c 'echo; read line; cat page files/0/0 swapped'");
    session.stdout.as_mut().expect("stdout").read_exact(&mut [0]).expect("the session");
    app.push();
    app.push();
    let releases = app.world.releases("blog");
    assert!(releases.iter().any(|name| name == "1"), "{releases:?}");
    session.stdin.as_mut().expect("stdin").write_all(b"\n").expect("the session");
    assert_eq!(finish(session).trim(), "111");

    // The tree of the removed release is that of the next one.
    app.push();
    let spare = app.await_spare();
    let same = inode(&spare.join("files/2"));
    // By hand, in a tree that nothing uses.
    fs::write(spare.join("more"), "").expect("file");
    fs::remove_file(spare.join("files/3/3")).expect("removal");
    symlink("../../../../page", spare.join("files/3/3")).expect("symlink");
    app.push();
    assert_eq!(inode(&app.world.app("blog").join("current/app/files/2")), same);

    let rounds = std::env::var("PIKU_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(KILLS);
    for number in 0..rounds {
        app.await_spare();
        app.change();
        let mut push = app.repo.start_push();
        let find = || processes::find(&app.world.root(), "piku-build build");
        // A build may have ended before it is seen.
        while find().is_empty() && push.try_wait().expect("git").is_none() {}
        std::thread::sleep(std::time::Duration::from_millis(number * 7 % 60));
        kill_all(&find());
        let _ = push.wait_with_output().expect("git");
        app.push();
    }
    // What is spared is no part of what the app leaves behind.
    assert!(app.world.ssh("laptop", "gc blog").status.success() && app.removed().is_empty());
}
