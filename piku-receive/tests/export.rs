//! `export`, on repositories as git makes them and as no git would.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A work tree with its repository, and a place to export to.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.git(&["init", "-q", "-b", "main", "work"], place.dir.path());
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn work(&self) -> PathBuf {
        self.path("work")
    }

    fn git(&self, args: &[&str], at: &Path) -> String {
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

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn commit(&self) -> String {
        self.git(&["add", "-A"], &self.work());
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"], &self.work());
        self.git(&["rev-parse", "HEAD"], &self.work())
    }

    /// A commit of a tree written by hand, as `git mktree` would refuse it. Entries: mode, hash, name.
    fn by_hand(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let tree = self.tree(entries);
        self.git(&["commit-tree", &tree, "-m", "x"], &self.work())
    }

    fn tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut raw = Vec::new();
        for (mode, hash, name) in entries {
            raw.extend_from_slice(format!("{mode} ").as_bytes());
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend((0..20).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap()));
        }
        self.object("tree", &raw)
    }

    fn object(&self, kind: &str, raw: &[u8]) -> String {
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

    fn tool(&self, commit: &str) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_piku-receive"));
        tool.arg("export").arg(self.work().join(".git")).arg(commit).arg(self.path("out"));
        // What a hook may have forgotten must not lead anywhere else.
        tool.env("GIT_DIR", "/nonexistent").env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        tool
    }

    fn export(&self, commit: &str) -> Output {
        self.tool(commit).output().unwrap()
    }

    fn exported(&self, commit: &str) -> PathBuf {
        let out = self.export(commit);
        assert!(out.status.success(), "{out:?}");
        self.path("out")
    }

    /// The export fails with one line that holds `why`, and leaves nothing.
    fn refused(&self, commit: &str, why: &str) {
        let out = self.export(commit);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("piku-receive: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(why), "{why:?} is not in {said}");
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        let names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "out" || name.starts_with(".export."))
            .collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_modes_links_and_odd_names() {
    let place = Place::new();
    place
        .file("run", "#!/bin/sh\n")
        .file("a/b/c.txt", "c")
        .file("empty", "")
        .file("-rf", "x")
        .file("a\nb é", "y");
    fs::set_permissions(place.work().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("b/c.txt", place.work().join("a/link")).unwrap();
    symlink("../run", place.work().join("a/up")).unwrap();
    symlink("/data/uploads", place.work().join("uploads")).unwrap();
    let out = place.exported(&place.commit());
    assert_eq!(fs::read_to_string(out.join("a/b/c.txt")).unwrap(), "c");
    assert_eq!(mode(&out.join("run")), 0o755);
    assert_eq!(mode(&out.join("empty")), 0o644);
    assert_eq!(mode(&out), 0o755);
    assert_eq!(fs::read_link(out.join("a/link")).unwrap(), Path::new("b/c.txt"));
    assert_eq!(fs::read_link(out.join("uploads")).unwrap(), Path::new("/data/uploads"));
    assert_eq!(fs::read_to_string(out.join("a\nb é")).unwrap(), "y");
    assert!(!out.join(".git").exists());
}

#[test]
fn the_folder_must_be_new_or_empty_and_is_removed_on_failure() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    fs::create_dir(place.path("out")).unwrap();
    place.exported(&commit);
    let again = place.export(&commit);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there and not an empty folder"), "{again:?}");
    assert_eq!(fs::read_to_string(place.path("out/x")).unwrap(), "x", "what is there stays");
    fs::remove_dir_all(place.path("out")).unwrap();
    symlink(place.path("elsewhere"), place.path("out")).unwrap();
    assert!(!place.export(&commit).status.success());
    assert!(!place.path("elsewhere").exists());
}

#[test]
fn a_missing_commit_and_an_empty_one() {
    let place = Place::new();
    place.refused("main", "there is no commit 'main'");
    let empty = place.commit();
    place.refused(&empty, "holds no file");
    place.refused(&"1".repeat(40), "there is no commit '111");
    let blob = place.object("blob", b"x");
    place.refused(&blob, "there is no commit");
    place.refused("main a", "there is no commit 'main a'");
    let lost = place.by_hand(&[("100644", &"2".repeat(40), b"lost")]);
    place.refused(&lost, "cannot read 'lost' from the repository");
}

#[test]
fn names_and_kinds_that_git_does_not_make() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    for name in [&b".git"[..], b".GIT", b".giT", b".", b".."] {
        place.refused(&place.by_hand(&[("100644", &blob, name)]), "may hold no file named");
        let inner = place.tree(&[("100644", &blob, name)]);
        let outer = place.by_hand(&[("40000", &inner, b"sub")]);
        place.refused(&outer, &format!("'sub/{}'", String::from_utf8_lossy(name)));
    }
    place.refused(&place.by_hand(&[("100644", &blob, b"a/b")]), "'a/b'");
    place.refused(&place.by_hand(&[("100644", &blob, b"../b")]), "'../b'");
    place.refused(&place.by_hand(&[("60000", &blob, b"dev")]), "'dev'");
    let mut deep = place.tree(&[("100644", &blob, b"x")]);
    for _ in 0..300 {
        deep = place.tree(&[("40000", &deep, b"d")]);
    }
    place.refused(&place.by_hand(&[("40000", &deep, b"d")]), "folders deeper than 200");
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    let blob = place.object("blob", b"x");
    let inside = place.tree(&[("100644", &blob, b"written")]);
    // One name twice: first a link that is allowed, then a folder to be filled through it.
    let link = place.object("blob", b"/data/x");
    place.refused(
        &place.by_hand(&[("120000", &link, b"a"), ("40000", &inside, b"a")]),
        "two files of this name",
    );
    place.refused(
        &place.by_hand(&[("120000", &link, b"a"), ("100644", &blob, b"a")]),
        "two files of this name",
    );
    for target in [
        "/etc/passwd",
        "../../../config.json",
        "sub/../../..",
        "/proc/self/root",
        "",
        outside.to_str().unwrap(),
    ] {
        let link = place.object("blob", target.as_bytes());
        place.refused(
            &place.by_hand(&[("120000", &link, b"out"), ("40000", &inside, b"sub")]),
            "the link 'out' to",
        );
    }
    let up = place.object("blob", b"../..");
    let sub = place.tree(&[("120000", &up, b"up")]);
    place.refused(
        &place.by_hand(&[("40000", &sub, b"sub")]),
        "the link 'sub/up' to '../..' leads out of the app",
    );
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_tree_that_unfolds_without_end_is_given_up() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    let names: Vec<Vec<u8>> = (0..100).map(|n| format!("n{n:02}").into_bytes()).collect();
    let mut tree = blob;
    for level in 0..6 {
        let kind = if level == 0 { "100644" } else { "40000" };
        let entries: Vec<(&str, &str, &[u8])> =
            names.iter().map(|name| (kind, tree.as_str(), name.as_slice())).collect();
        tree = place.tree(&entries);
    }
    // 10^12 files in six small trees, counted before the first is written.
    let commit = place.git(&["commit-tree", &tree, "-m", "x"], &place.work());
    place.refused(&commit, "holds more than 1000000 files");
}

#[test]
fn a_hundred_thousand_files() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    let names: Vec<Vec<u8>> = (0..1000).map(|n| format!("f{n:03}").into_bytes()).collect();
    let entries: Vec<(&str, &str, &[u8])> =
        names.iter().map(|name| ("100644", blob.as_str(), name.as_slice())).collect();
    let folder = place.tree(&entries);
    let entries: Vec<(&str, &str, &[u8])> =
        names[..100].iter().map(|name| ("40000", folder.as_str(), name.as_slice())).collect();
    let out = place.exported(&place.by_hand(&entries));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 100);
    assert_eq!(fs::read_dir(out.join("f099")).unwrap().count(), 1000);
}

#[test]
fn pointers_of_git_lfs_are_told_of() {
    let place = Place::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n";
    let commit = place.file("big.bin", pointer).file("other.bin", pointer).file("x", "x").commit();
    let out = place.export(&commit);
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr);
    let told = " !     'big.bin' and 1 more are pointers to Git LFS, deployed as such: piku has no LFS;";
    assert!(said.starts_with(told) && said.lines().count() == 1, "{said}");
}

#[test]
fn an_export_that_is_killed_leaves_no_half_tree() {
    let place = Place::new();
    for n in 0..200 {
        place.file(&format!("f{n}"), "x");
    }
    let commit = place.commit();
    for round in 0..10 {
        let mut export = place.tool(&commit).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round));
        export.kill().unwrap();
        export.wait().unwrap();
        if place.path("out").exists() {
            assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 200);
            fs::remove_dir_all(place.path("out")).unwrap();
        }
    }
}

/// `git daemon` on loopback, ended with the test.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    fn start(base: &Path) -> Self {
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = Command::new("git")
                .args([
                    "daemon",
                    "--export-all",
                    "--listen=127.0.0.1",
                    "--reuseaddr",
                    &format!("--port={port}"),
                ])
                .arg(format!("--base-path={}", base.display()))
                .arg(base)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                // git is in front of its own daemon, which would outlive it.
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("HOME", base)
                .spawn()
                .unwrap();
            let since = Instant::now();
            while since.elapsed() < PATIENCE && process.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { process, port };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = process.kill();
        }
        panic!("git daemon does not answer");
    }

    fn url(&self, path: &str) -> String {
        format!("git://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // TERM, which git passes on to the daemon it has started.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

impl Place {
    /// A submodule by hand: `git submodule add` would want to fetch it.
    fn submodule(&self, path: &str, url: &str, commit: &str) {
        let modules = fs::read_to_string(self.work().join(".gitmodules")).unwrap_or_default();
        let modules = format!("{modules}[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        self.file(".gitmodules", modules);
        self.git(&["add", ".gitmodules"], &self.work());
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")], &self.work());
    }

    /// Commits what is in the index.
    fn commit_index(&self) -> String {
        self.git(&["commit", "-qm", "x"], &self.work());
        self.git(&["rev-parse", "HEAD"], &self.work())
    }
}

#[test]
fn submodules_are_fetched_with_their_own_and_kept() {
    let place = Place::new();
    let inner = Place::new();
    let middle = Place::new();
    let served = tempfile::tempdir().unwrap();
    symlink(inner.work().join(".git"), served.path().join("inner.git")).unwrap();
    symlink(middle.work().join(".git"), served.path().join("middle.git")).unwrap();
    let daemon = Daemon::start(served.path());

    let old = inner.file("deep.txt", "deep").commit();
    inner.file("deep.txt", "newer").commit();
    middle.file("lib.txt", "lib");
    middle.git(&["add", "lib.txt"], &middle.work());
    middle.submodule("vendor/inner", &daemon.url("inner.git"), &old);
    let commit = middle.commit_index();
    place.file("app.txt", "app");
    place.git(&["add", "app.txt"], &place.work());
    place.submodule("lib", &daemon.url("middle.git"), &commit);
    let commit = place.commit_index();

    let out = place.export(&commit);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("-----> Fetching submodule lib from git://127.0.0.1"), "{said}");
    assert!(said.contains("-----> Fetching submodule lib/vendor/inner from"), "{said}");
    let out = place.path("out");
    assert_eq!(fs::read_to_string(out.join("lib/lib.txt")).unwrap(), "lib");
    assert_eq!(fs::read_to_string(out.join("lib/vendor/inner/deep.txt")).unwrap(), "deep");
    assert!(!out.join("lib/.git").exists());

    // The next deploy needs no network.
    let port = daemon.port;
    drop(daemon);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    fs::remove_dir_all(&out).unwrap();
    let again = place.export(&commit);
    assert!(again.status.success() && again.stderr.is_empty(), "{again:?}");
    assert_eq!(fs::read_to_string(out.join("lib/vendor/inner/deep.txt")).unwrap(), "deep");
}

#[test]
fn what_a_killed_fetch_has_left_is_fetched_again() {
    let place = Place::new();
    let lib = Place::new();
    let served = tempfile::tempdir().unwrap();
    symlink(lib.work().join(".git"), served.path().join("lib.git")).unwrap();
    let daemon = Daemon::start(served.path());
    let inner = lib.file("lib.txt", "lib").commit();
    place.submodule("lib", &daemon.url("lib.git"), &inner);
    let commit = place.commit_index();
    place.exported(&commit);

    let modules = place.work().join(".git/modules");
    let home = fs::read_dir(&modules).unwrap().next().unwrap().unwrap().path();
    for damage in ["shallow.lock", "HEAD"] {
        fs::remove_dir_all(place.path("out")).unwrap();
        fs::remove_file(home.join(format!("refs/piku/{inner}"))).unwrap();
        fs::write(home.join(damage), "").unwrap();
        place.exported(&commit);
        assert_eq!(fs::read_to_string(place.path("out/lib/lib.txt")).unwrap(), "lib");
    }
}

#[test]
fn a_submodule_that_cannot_be_had_says_why() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    let dir = place.path("work/.git").display().to_string();
    for (url, why) in [
        (format!("file://{dir}"), "piku fetches nothing by file:"),
        (dir.clone(), "a path on the server's own disk is not fetched"),
        ("../other.git".to_owned(), "a relative address means nothing on the server"),
        ("ext::sh -c 'touch /tmp/x'".to_owned(), "this is no address"),
        ("ext::sh".to_owned(), "piku fetches by https, http, ssh and git only"),
        ("--upload-pack=id".to_owned(), "this is no address"),
    ] {
        let place = Place::new();
        place.submodule("lib", &url, &commit);
        place.refused(&place.commit_index(), why);
        place.nothing_is_left();
    }

    let unnamed = Place::new();
    unnamed.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")], &unnamed.work());
    unnamed.refused(
        &unnamed.commit_index(),
        "'lib' is a submodule, but .gitmodules does not say where it comes from",
    );

    let damaged = Place::new();
    damaged.submodule("lib", "https://example.invalid/", &commit);
    damaged.file(".gitmodules", "[submodule");
    damaged.git(&["add", ".gitmodules"], &damaged.work());
    damaged.refused(&damaged.commit_index(), "bad .gitmodules");

    let served = tempfile::tempdir().unwrap();
    symlink(place.work().join(".git"), served.path().join("lib.git")).unwrap();
    let daemon = Daemon::start(served.path());
    let gone = Place::new();
    gone.submodule("lib", &daemon.url("lib.git"), &"3".repeat(40));
    gone.refused(&gone.commit_index(), "cannot fetch the submodule 'lib': the commit is not there");
    let nowhere = Place::new();
    nowhere.submodule("lib", &daemon.url("nowhere.git"), &commit);
    nowhere.refused(&nowhere.commit_index(), "cannot fetch the submodule 'lib'");
}

#[test]
fn an_include_in_gitmodules_reads_no_other_file() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    let other = place.path("other");
    fs::write(&other, "[submodule \"lib\"]\n\tpath = lib\n\turl = https://example.invalid/\n").unwrap();
    place.file(".gitmodules", format!("[include]\n\tpath = {}\n", other.display()));
    place.git(&["add", ".gitmodules"], &place.work());
    place.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")], &place.work());
    place.refused(&place.commit_index(), "does not say where it comes from");
}
