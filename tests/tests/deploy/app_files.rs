//! Files that an app writes beside its code: lost with the process and named, or kept by a setting; never in
//! the release.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use piku_tests::processes;
use piku_tests::repo::{Repo, SERVE};
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

/// Opens the database beside the code, as the release task does.
const MIGRATE: &str = r#"
import sqlite3
db = sqlite3.connect("db.sqlite3")
db.execute("create table if not exists visits (at text)")
db.execute("insert into visits values ('migrated')")
db.commit()
print("migrated", db.execute("select count(*) from visits").fetchone()[0])
"#;

/// A page with the number of rows, the uploads and the starts that HOME has counted.
const COUNT: &str = r#"
import pathlib, sqlite3
home = pathlib.Path.home() / ".config"
home.mkdir(exist_ok=True)
with open(home / "starts", "a") as starts: starts.write("x")
pathlib.Path("uploads").mkdir(exist_ok=True)
with open("uploads/" + os.environ["PIKU_RELEASE"], "w") as upload: upload.write("x")
db = sqlite3.connect("db.sqlite3")
db.execute("create table if not exists visits (at text)")
rows = db.execute("select count(*) from visits").fetchone()[0]
pathlib.Path("page").write_text(f"{rows} {sorted(os.listdir('uploads'))} {len((home / 'starts').read_text())}\n")
"#;

fn app(repo: &Repo, env: &str) {
    repo.serves("")
        .file("Procfile", "release: python3 migrate.py\nweb: ./serve\n")
        .file("migrate.py", MIGRATE);
    repo.program("serve", SERVE.replace("class Page", &format!("{COUNT}class Page"))).file("ENV", env);
}

#[test]
fn a_database_beside_the_code_is_lost_and_named_or_kept_by_a_setting() {
    let world = World::new();
    let repo = world.repo("blog");
    app(&repo, "");
    let said = repo.commit("One").push().succeeds();
    assert!(said.contains("migrated 1"), "{said}");
    let told = "db.sqlite3 in /app ends with this process; WRITABLE_PATHS=db.sqlite3 keeps it in /data";
    assert!(said.contains(told), "{said}");
    assert_eq!(world.page("blog"), "0 ['1'] 1\n");

    app(&repo, "WRITABLE_PATHS=db.sqlite3,uploads/\n");
    let said = repo.commit("Two").push().succeeds();
    assert!(said.contains("migrated 1") && !said.contains("ends with this process"), "{said}");
    assert_eq!(world.page("blog"), "1 ['2'] 2\n");
    // Over a release, which runs no task for a change of settings, over a restart, and with a one-off.
    assert!(world.ssh("laptop", "config:set blog A=1").status.success());
    assert_eq!(world.page("blog"), "1 ['2', '3'] 3\n");
    let out = world.ssh("laptop", "run blog python3 migrate.py");
    assert!(String::from_utf8_lossy(&out.stdout).contains("migrated 2"), "{out:?}");
    assert!(world.ssh("laptop", "restart blog").status.success());
    assert_eq!(world.page("blog"), "2 ['2', '3'] 4\n");
    let data = world.app("blog").join("data");
    assert!(data.join("app/db.sqlite3").is_file() && data.join("home/.config/starts").is_file());
    // The release on disk is as it was built, and only what runs has changes.
    let release = world.app("blog").join("current/app");
    assert!(!release.join("db.sqlite3").exists() && !release.join("uploads").exists());
    assert_eq!(std::fs::read_to_string(release.join("page")).expect("page"), "");
    let folders = || {
        let entries = std::fs::read_dir(world.app("blog").join("scratch")).expect("scratch");
        entries.filter(|entry| entry.as_ref().expect("an entry").path().is_dir()).count()
    };
    wait_for("the end of the old instances", || folders() == 1);
    assert!(world.ssh("laptop", "stop blog").status.success());
    wait_for("the end of all instances", || folders() == 0);
}

#[test]
fn a_refused_write_is_named_with_what_allows_it() {
    let world = World::new();
    let repo = world.repo("blog");
    app(&repo, "APP_READONLY=1\n");
    let said = repo
        .commit("One")
        .push()
        .fails_with(&["the release task", "APP_READONLY is set: WRITABLE_PATHS in ENV"]);
    assert!(said.contains("unable to open database file"), "{said}");

    repo.file("Procfile", "web: ./serve\n")
        .file("ENV", "APP_READONLY=1\nWRITABLE_PATHS=db.sqlite3\n")
        .commit("Two");
    repo.push()
        .fails_with(&["'uploads' is read-only, because APP_READONLY is set: WRITABLE_PATHS=uploads in ENV"]);

    for (env, what) in [
        ("WRITABLE_PATHS=/app/db.sqlite3\n", "WRITABLE_PATHS: '/app/db.sqlite3' is absolute"),
        ("WRITABLE_PATHS=../data\n", "WRITABLE_PATHS: '../data' contains '..'"),
        ("APP_READONLY=maybe\n", "APP_READONLY: 'maybe' is neither 1 nor 0"),
    ] {
        repo.file("ENV", env).commit("Bad").push().fails_with(&[what]);
    }
    // All kept: the rest stays read-only.
    let env = "APP_READONLY=1\nWRITABLE_PATHS=db.sqlite3,uploads,page\n";
    repo.file("ENV", env).commit("Good").push().succeeds();
    assert!(world.page("blog").starts_with("0 ["), "{}", world.page("blog"));

    // One-off processes, with and without a terminal; their exit codes are kept.
    let told = "'other.txt' is read-only, because APP_READONLY is set: WRITABLE_PATHS=other.txt in ENV";
    let out = world.ssh("laptop", "run blog touch other.txt");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains(told), "{out:?}");
    assert!(said.contains("touch: cannot touch"), "its own words come first: {said}");
    let out = world.ssh_on_a_terminal("laptop", "run blog touch other.txt");
    let said = text(&out);
    assert!(out.status.code() == Some(1) && said.contains(told), "{out:?}");
    let out = world.ssh("laptop", "run blog sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!(
        (out.status.code(), out.stdout.as_slice(), out.stderr.as_slice()),
        (Some(7), &b"out\n"[..], &b"err\n"[..])
    );
    let out = world.ssh("laptop", "run blog sh -c 'kill -KILL $$'");
    assert_eq!(out.status.code(), Some(137), "{out:?}");
}

/// Replaces a kept file by a rename, writes another one, and stays.
const HOLD: &str = "#!/bin/sh\necho new > tmp.json && mv tmp.json state.json && echo lost > other.txt && echo held && exec sleep 60.25\n";

#[test]
fn garbage_collection_removes_what_a_killed_process_has_changed() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("x\n").program("hold", HOLD).file("ENV", "WRITABLE_PATHS=state.json\n");
    repo.file("state.json", "old\n").commit("One").push().succeeds();
    assert!(world.ssh("laptop", "stop blog").status.success());
    let mut hold = world.start_ssh("laptop", "run blog ./hold");
    let mut line = [0; 5];
    hold.stdout.as_mut().expect("stdout").read_exact(&mut line).expect("its line");
    assert!(processes::kill_all(&processes::find(&world.root(), "-- ./hold")), "its jail");
    hold.wait().expect("ssh ends");

    let collect = |words: &str| {
        let out = world
            .tool("piku-run")
            .args(["gc", "blog"])
            .args(words.split_whitespace())
            .output()
            .expect("piku-run");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    // The kernel ends the jail a moment later.
    wait_for("the end of the jail", || collect("--dry-run").contains("scratch/"));
    let said = collect("");
    assert!(said.contains("scratch  scratch/"), "{said}");
    let left = std::fs::read_dir(world.app("blog").join("scratch")).expect("scratch");
    assert_eq!(left.filter(|entry| entry.as_ref().expect("an entry").path().is_dir()).count(), 0);
    let kept = world.app("blog").join("data/app/state.json");
    assert_eq!(std::fs::read_to_string(kept).expect("the kept file"), "new\n");
    assert_eq!(collect(""), "nothing to be removed\n");
}

/// Writes more than fits, and ends as a Python program does.
const FILL: &str = "#!/usr/bin/python3\nwhile True: open('big', 'ab').write(b'x' * 100000)\n";

#[test]
fn a_full_disk_fails_one_process_and_is_reported() {
    if !nix::unistd::geteuid().is_root() {
        return piku_tests::skip("only root mounts a small disk");
    }
    let world = World::new();
    let (repo, other) = (world.repo("blog"), world.repo("shop"));
    other.serves("shop\n").commit("One").push().succeeds();
    repo.serves("x\n").program("fill", FILL).file("Procfile", "web: ./serve\nfill: sleep 1000\n");
    repo.commit("One").push().succeeds();
    assert!(world.ssh("laptop", "stop blog").status.success());
    let scratch = world.app("blog").join("scratch");
    let _disk = SmallDisk::mount(&scratch);
    repo.file("Procfile", "web: ./serve\nfill: ./fill\n").commit("Two").push().succeeds();
    let told = "the disk of this machine is full: ";
    wait_for("the reason in the log", || {
        let out = world.ssh("laptop", "logs blog");
        let said = String::from_utf8_lossy(&out.stdout);
        said.contains("No space left on device") && said.contains(told)
    });
    assert_eq!((world.page("blog"), world.page("shop")), ("x\n".to_owned(), "shop\n".to_owned()));
    assert!(world.ssh("laptop", "stop blog").status.success());
}

/// A file system of a megabyte, mounted over a directory.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(dir: &'a Path) -> Self {
        let about = std::fs::metadata(dir).expect("the directory");
        let options = format!("size=1m,mode=700,uid={},gid={}", about.uid(), about.gid());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).status();
        assert!(mounted.expect("mount runs").success());
        Self(dir)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Jails may have copies of the mount until they end.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
