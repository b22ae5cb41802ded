//! Submodules: fetched, kept, and refused with the reason.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use piku_tests::ports::free_port;

use crate::place::Place;

const PATIENCE: Duration = Duration::from_secs(60);

/// `git daemon` on loopback, ended with the test.
pub(crate) struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    pub(crate) fn start(base: &Path) -> Self {
        for _ in 0..5 {
            let port = free_port();
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

    pub(crate) fn url(&self, path: &str) -> String {
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
    pub(crate) fn submodule(&self, path: &str, url: &str, commit: &str) {
        let modules = fs::read_to_string(self.work().join(".gitmodules")).unwrap_or_default();
        let modules = format!("{modules}[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        self.file(".gitmodules", modules);
        self.git(&["add", ".gitmodules"], &self.work());
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")], &self.work());
    }

    /// Commits what is in the index.
    pub(crate) fn commit_index(&self) -> String {
        self.git(&["commit", "-qm", "x"], &self.work());
        self.git(&["rev-parse", "HEAD"], &self.work())
    }
}

/// The repositories of the submodules that were fetched.
fn fetched(place: &Place) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(place.work().join(".git/modules")).unwrap().flatten();
    let all: Vec<_> = all.map(|entry| entry.path()).filter(|path| path.join("HEAD").exists()).collect();
    assert!(!all.is_empty());
    all
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

    // Objects stay packed as they came: a small pack can hold gigabytes.
    for home in fetched(&place) {
        let objects = fs::read_dir(home.join("objects")).unwrap().flatten();
        assert!(objects.into_iter().all(|entry| entry.file_name().len() > 2), "{}", home.display());
    }

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
fn unreachable_submodule_is_reported() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    let dir = place.path("work/.git").display().to_string();
    for (url, why) in [
        (format!("file://{dir}"), "piku does not fetch from file: URLs"),
        (dir.clone(), "piku does not fetch from a path on the server"),
        ("../other.git".to_owned(), "a relative URL does not work on the server"),
        ("ext::sh -c 'touch /tmp/x'".to_owned(), "this is not a valid URL"),
        ("ext::sh".to_owned(), "piku fetches by https, http, ssh and git only"),
        ("--upload-pack=id".to_owned(), "this is not a valid URL"),
    ] {
        let place = Place::new();
        place.submodule("lib", &url, &commit);
        place.refused(&place.commit_index(), why);
        place.nothing_is_left();
    }

    let unnamed = Place::new();
    unnamed.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")], &unnamed.work());
    unnamed.refused(&unnamed.commit_index(), "'lib' is a submodule, but .gitmodules has no URL for it");

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
    gone.refused(
        &gone.commit_index(),
        "cannot fetch the submodule 'lib': the remote does not have the commit",
    );
    // All refs of a server, of any number, have been fetched, and none is a file here.
    assert!(fetched(&gone).iter().all(|home| !home.join("refs/remote").exists()));
    let nowhere = Place::new();
    nowhere.submodule("lib", &daemon.url("nowhere.git"), &commit);
    nowhere.refused(&nowhere.commit_index(), "cannot fetch the submodule 'lib'");
}

#[test]
fn a_submodule_that_is_larger_than_a_push_may_be_is_refused() {
    let (place, lib) = (Place::new(), Place::new());
    let served = tempfile::tempdir().unwrap();
    symlink(lib.work().join(".git"), served.path().join("lib.git")).unwrap();
    let daemon = Daemon::start(served.path());
    let noise = (0..3 << 20).scan(1_u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some((*state >> 56) as u8)
    });
    let inner = lib.file("noise", noise.collect::<Vec<u8>>()).commit();
    place.submodule("lib", &daemon.url("lib.git"), &inner);
    let commit = place.commit_index();
    fs::write(place.path("host.yaml"), "max_push_size: 1\n").unwrap();
    let mut tool = place.tool(&commit);
    let out = tool.arg("--settings").arg(place.path("host.yaml")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains("cannot fetch the submodule 'lib'"), "{said}");
    place.nothing_is_left();
    let kept = Command::new("du").arg("-sk").arg(place.work().join(".git/modules")).output().unwrap().stdout;
    let kept: u64 = String::from_utf8_lossy(&kept).split_whitespace().next().unwrap().parse().unwrap();
    assert!(kept < 2048, "{kept} KiB");
    // Within the limit, it is fetched.
    fs::write(place.path("host.yaml"), "max_push_size: 8\n").unwrap();
    assert!(tool.output().unwrap().status.success());
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
    place.refused(&place.commit_index(), ".gitmodules has no URL for it");
}
