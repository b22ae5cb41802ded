//! `--scratch` and `--keep`: /app is writable, the release is not.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rustix::fs::{FlockOperation, flock};

use piku_tests::snapshot::str;

use crate::scene::{Outcome, Running, Scene, run, users};
use crate::uid_range::scene::Two;

/// A release and the folders around it.
struct Release {
    scene: Scene,
    options: Vec<String>,
}

impl Release {
    fn new(scene: Scene) -> Self {
        let (app, data) = (scene.folder("app"), scene.folder("data"));
        scene.folder("app/dir");
        scene.folder("app/dir/deep");
        for (file, text) in [("app/file", "old\n"), ("app/dir/a", "a\n"), ("app/dir/deep/b", "b\n")] {
            scene.file(file, text);
        }
        let scratch = scene.path("scratch");
        let options = [("--app", app), ("--data", data), ("--scratch", scratch)];
        let options = options.map(|(name, path)| format!("{name}={}", path.display())).into();
        Self { scene, options }
    }

    fn each() -> Vec<Self> {
        users().into_iter().map(|user| Self::new(Scene::new(user))).collect()
    }

    fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.options.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    fn sh(&self, more: &[&str], script: &str) -> Outcome {
        self.scene.sh(&self.options(more), script)
    }

    fn ok(&self, more: &[&str], script: &str) -> String {
        self.scene.ok(&self.options(more), script)
    }

    /// Everything of the release that an app could change, by its path.
    fn state(&self) -> BTreeMap<PathBuf, String> {
        describe(&self.scene.path("app"))
    }

    /// The folders of jails that have not been removed.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scene.path("scratch")).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }
}

/// Describes a tree: types, modes, owners, links, times, extended attributes and content.
fn describe(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.clone()])
        {
            let stat = fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() && path != folder {
                folders.push(path.clone());
            }
            let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let mut names = [0_u8; 4096];
            let attributes = rustix::fs::llistxattr(&path, &mut names).unwrap();
            let about = (stat.mode(), stat.uid(), stat.nlink(), stat.ino(), stat.mtime_nsec());
            found.insert(path, format!("{about:?} {attributes} {content:?}"));
        }
    }
    found
}

#[test]
fn changes_of_the_app_end_with_the_jail_and_never_reach_the_release() {
    for release in Release::each() {
        let before = release.state();
        let script = "cd /app && echo new > file && echo more >> dir/a && mkdir -p made/below && ln file hard && rm -r dir/deep \
            && mkdir dir/deep && mv dir moved && : > made/x && chmod 4755 made/x && ln -s /etc/passwd link && cat file moved/a \
            && test ! -e dir && ls -A moved/deep | wc -l";
        assert_eq!(release.ok(&[], script), "new\na\nmore\n0\n");
        assert_eq!(release.ok(&[], "cat /app/file /app/dir/deep/b; ls /app"), "old\nb\ndir\nfile\n");
        assert_eq!(release.state(), before);
        assert_eq!(release.left(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_hostile_app_changes_neither_its_release_nor_what_is_beside_it() {
    for release in Release::each() {
        let before = release.state();
        let script = r#"cd /app
            python3 - <<'END'
import os, stat
def attempt(what, *args):
    try: what(*args)
    except OSError as err: print(err.errno)
for name in ["user.overlay.redirect", "user.overlay.opaque", "user.overlay.whiteout", "trusted.overlay.opaque", "user.x"]:
    attempt(os.setxattr, "file", name, b"/../../../..")
    attempt(os.setxattr, "dir", name, b"y")
for kind, device in [(stat.S_IFCHR, 0), (stat.S_IFCHR, os.makedev(1, 1)), (stat.S_IFBLK, os.makedev(254, 0))]:
    attempt(os.mknod, "node", kind | 0o666, device)
attempt(os.mknod, "fifo", stat.S_IFIFO | 0o666)
attempt(os.link, "dir/a", "dir/b")
attempt(os.chmod, "dir/a", 0o6777)
attempt(os.truncate, "dir/deep/b", 0)
attempt(os.rename, "dir/deep", "deep")
attempt(os.chmod, "dir", 0)
attempt(os.mkdir, "closed", 0)
attempt(os.utime, "file", (0, 0))
END
            test ! -b node || echo device
            grep -c ' /app ' /proc/self/mountinfo
            ls -d /*/*/releases /scratch /app/../scratch /proc/1/root/scratch 2>&- ; mount -o remount,rw /usr 2>&- ; exit 0"#;
        let outcome = release.sh(&[], script);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(!outcome.out.contains("device") && outcome.out.ends_with("1\n"), "{outcome:#?}");
        assert_eq!(release.state(), before, "{outcome:#?}");
        assert_eq!(release.left(), Vec::<PathBuf>::new());
    }
}

#[test]
fn each_jail_has_changes_of_its_own() {
    for release in Release::each() {
        let mut first = release.scene.jail(&["--root-from-host"]);
        let script = "echo mine > /app/file; echo made; read line; cat /app/file";
        first.args(release.options(&[])).args(["--", "sh", "-c", script]).stdin(std::process::Stdio::piped());
        let mut first = Running::start(first);
        first.until_line("made");
        assert_eq!(release.ok(&[], "cat /app/file; echo other > /app/file"), "old\n");
        // Its folder is in use, and no other jail may remove it.
        assert_eq!(release.left().len(), 1);
        drop(first.child.stdin.take());
        first.until_line("mine");
        first.wait();
        assert_eq!(release.left(), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_next_jail_removes_what_a_killed_one_has_left() {
    for release in Release::each() {
        let mut first = release.scene.jail(&["--root-from-host"]);
        let script = "mkdir -p /app/a/b; chmod 0 /app/a; mkfifo /app/fifo; echo made; exec sleep 60.75";
        first.args(release.options(&[])).args(["--", "sh", "-c", script]);
        let mut first = Running::start(first);
        first.until_line("made");
        first.signal(Signal::SIGKILL);
        first.wait();
        assert_eq!(release.left().len(), 1);
        // The kernel ends the jail a moment later.
        crate::scene::until("the end of the folder", || {
            release.ok(&[], "true");
            release.left().is_empty()
        });
    }
}

#[test]
fn a_folder_is_removed_in_the_background_and_no_lock_of_the_caller_is_held() {
    for release in Release::each() {
        for script in ["true", "mkdir /app/new; echo text > /app/new/file"] {
            // An inherited descriptor, as that of a supervisor's lock.
            let path = release.scene.path("lock");
            let lock = fs::File::create(&path).unwrap();
            flock(&lock, FlockOperation::LockExclusive).unwrap();
            let mut jail = release.scene.jail(&["--root-from-host"]);
            jail.args(release.options(&["--remove-in-background"])).args(["--", "sh", "-c", script]);
            assert!(jail.stdin(lock).status().unwrap().success());
            drop(jail);
            crate::scene::until("the lock", || {
                flock(fs::File::open(&path).unwrap(), FlockOperation::NonBlockingLockExclusive).is_ok()
            });
            crate::scene::until("the end of the folder", || release.left().is_empty());
        }
        assert_eq!(release.ok(&["--remove-in-background"], "ls /app; cat /app/file"), "dir\nfile\nold\n");
    }
}

#[test]
fn kept_paths_outlive_the_jail_and_begin_with_the_release() {
    for release in Release::each() {
        let keep =
            ["--keep=file", "--keep=dir/", "--keep=made/db.sqlite3", "--keep=uploads", "--keep=dir/deep"];
        let script = "cat /app/file /app/dir/a /app/dir/deep/b; echo 1 >> /app/file; echo 1 >> /app/dir/a; rm -r /app/dir/deep; \
            echo 1 >> /app/made/db.sqlite3; echo 1 >> /app/uploads/x; echo 1 > /app/other";
        assert_eq!(release.ok(&keep, script), "old\na\nb\n");
        let script = "cat /app/file /app/dir/a /app/made/db.sqlite3 /app/uploads/x /data/app/uploads/x; ls /app /app/dir";
        let expected = "old\n1\na\n1\n1\n1\n1\n/app:\ndir\nfile\nmade\nuploads\n\n/app/dir:\na\n";
        assert_eq!(release.ok(&keep, script), expected);
        // A release that has changed the file does not replace what is kept.
        release.scene.file("app/file", "newer\n");
        assert_eq!(release.ok(&keep, "cat /app/file"), "old\n1\n");
        assert_eq!(
            release.ok(&["--keep=file", "--keep-only"], "! echo x 2>&- > /app/new; cat /app/file"),
            "old\n1\n"
        );
    }
}

#[test]
fn a_kept_database_survives_in_both_journal_modes_with_its_journal() {
    for release in Release::each() {
        for mode in ["delete", "wal"] {
            let keep = format!("--keep={mode}.sqlite3");
            let python = |script: &str| format!("cd /app && python3 -c '{}'", script.replace('\'', "\""));
            let begin = format!(
                "import os, sqlite3, signal; db = sqlite3.connect('{mode}.sqlite3', isolation_level=None); \
                 db.execute('pragma journal_mode={mode}'); db.execute('create table t (x)'); \
                 db.execute('insert into t values (1)'); db.execute('pragma cache_size=1'); db.execute('begin'); \
                 db.executemany('insert into t values (zeroblob(?))', [(4000,)] * 200); \
                 print(sorted(os.listdir('/data/app')), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
            );
            let outcome = release.sh(&[&keep], &python(&begin));
            assert_eq!(outcome.code, Some(137), "{outcome:#?}");
            let journal = if mode == "wal" { "wal.sqlite3-wal" } else { "delete.sqlite3-journal" };
            assert!(outcome.out.contains(journal), "{outcome:#?}");
            // The half transaction is rolled back by the journal, which is beside the database.
            let count = format!(
                "import sqlite3; db = sqlite3.connect('{mode}.sqlite3'); \
                 print(db.execute('select count(*) from t').fetchone()[0], db.execute('pragma integrity_check').fetchone()[0])"
            );
            assert_eq!(release.ok(&[&keep], &python(&count)), "1 ok\n");
        }
    }
}

#[test]
fn a_kept_file_that_is_replaced_by_a_rename_is_kept() {
    for release in Release::each() {
        let replace = "cd /app && echo new > tmp.json && mv tmp.json state.json && test ! -L state.json";
        release.ok(
            &["--keep=state.json", "--keep=deep/state.json"],
            "echo old > /app/state.json; echo d > /app/deep/state.json",
        );
        release.ok(&["--keep=state.json"], replace);
        let keep = ["--keep=state.json", "--keep=deep/state.json"];
        assert_eq!(
            release.ok(&keep, "cat /app/state.json /app/deep/state.json; test -L /app/state.json"),
            "new\nd\n"
        );
    }
}

#[test]
fn paths_that_cannot_be_kept_are_refused() {
    for release in Release::each() {
        let outside = release.scene.folder("outside");
        symlink(&outside, release.scene.path("app/out")).unwrap();
        symlink("dir", release.scene.path("app/in")).unwrap();
        for (path, why) in [
            ("out", "'out' is a symlink in the release"),
            ("out/x", "'out' is a symlink in the release"),
            ("in/a", "'in' is a symlink in the release"),
            ("file/x", "'file' is a file in the release"),
            ("/app/file", "is absolute"),
            ("a/../../x", "contains '..'"),
            (".", "is the whole app"),
        ] {
            let outcome = release.sh(&[&format!("--keep={path}")], "true");
            assert!(outcome.code == Some(125) && outcome.err.contains(why), "{path}: {outcome:#?}");
        }
        // What the app has put into its data is no way out either.
        symlink(&outside, release.scene.path("data/app")).unwrap();
        let outcome = release.sh(&["--keep=uploads"], "true");
        assert!(outcome.code == Some(125), "{outcome:#?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}

#[test]
fn discarded_files_are_reported() {
    for release in Release::each() {
        let script = "cd /app && echo x > db.sqlite3 && mkdir -p uploads __pycache__ && echo x > uploads/a && echo x > __pycache__/a.pyc";
        let outcome = release.sh(&["--tell-discarded=KEEP"], script);
        let told = "piku-chroot: db.sqlite3,uploads in /app ends with this process; KEEP=db.sqlite3,uploads keeps it in /data\n";
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), told));
        assert_eq!(release.ok(&["--tell-discarded=KEEP", "--keep=db.sqlite3", "--keep=uploads"], script), "");
    }
}

#[test]
fn a_home_in_the_data_is_made() {
    for release in Release::each() {
        let home = ["--env=HOME=/data/home"];
        assert_eq!(release.ok(&home, "cd ~ && pwd && echo x >> kept && stat -c %a ."), "/data/home\n700\n");
        assert_eq!(release.ok(&home, "cat ~/kept; grep -c :/data/home: /etc/passwd"), "x\n1\n");
    }
}

#[test]
fn layers_in_the_app_are_writable_and_never_change() {
    for release in Release::each() {
        let layer = release.scene.folder("layer");
        release.scene.file("layer/index.js", "js\n");
        release.scene.folder("app/node_modules");
        let before = describe(&layer);
        let mount = format!("--ro={}:/app/node_modules", layer.display());
        let script = "cd /app/node_modules && mkdir .cache && echo x > .cache/x && echo y > index.js && cat .cache/x index.js";
        assert_eq!(release.ok(&[&mount], script), "x\ny\n");
        let script = "cat /app/node_modules/index.js; echo 1 >> /app/node_modules/.cache/x; cat /app/node_modules/.cache/x";
        for round in ["1\n", "1\n1\n"] {
            assert_eq!(release.ok(&[&mount, "--keep=node_modules/.cache"], script), format!("js\n{round}"));
        }
        assert_eq!(describe(&layer), before);
    }
}

#[test]
fn without_overlays_the_app_stays_read_only_and_existing_paths_are_kept() {
    for release in Release::each() {
        // A file system whose folder overlayfs refuses to write to.
        fs::remove_dir_all(release.scene.path("scratch")).ok();
        let script = "set -e; mount -t tmpfs tmpfs scratch; mkdir scratch/l scratch/u scratch/w scratch/m; \
            mount -t overlay overlay -o userxattr,lowerdir=scratch/l,upperdir=scratch/u,workdir=scratch/w scratch/m; \
            shift; exec \"$@\"";
        release.scene.folder("scratch");
        let inner = format!("--scratch={}", release.scene.path("scratch/m").display());
        let jail = |more: &[&str], script_inside: &str| {
            let mut command = release.scene.command("unshare");
            command.args(["-Urm", "--map-root-user", "sh", "-c", script, "sh", "--"]);
            command
                .arg(release.scene.program())
                .args(&release.options[..2])
                .arg(&inner)
                .arg("--root-from-host");
            run(command.args(more).args(["--", "sh", "-c", script_inside]))
        };
        let report = release.scene.path("report");
        let outcome = jail(&[&format!("--report={}", report.display())], "! echo x 2>&- > /app/new");
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(fs::read_to_string(report).unwrap().contains("\"read_only_app\":true"));
        let outcome = jail(
            &["--keep=dir", "--keep=file"],
            "echo x >> /app/dir/a && echo x >> /app/file && cat /app/dir/a",
        );
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "a\nx\n"), "{outcome:#?}");
        let outcome = jail(&["--keep=uploads"], "true");
        outcome.refused(str![[r#"
piku-chroot: --keep: this machine cannot mount overlays, and the release has no 'uploads' to mount the data at
hint: add it to the repository, a folder with a file in it; piku-chroot --check says why

"#]]);
    }
}

#[test]
fn an_own_user_may_change_its_app_and_leaves_nothing_that_the_caller_cannot_remove() {
    for two in Two::each() {
        let app = two.folder("app");
        for path in ["app/dir", "app/dir/deep"] {
            two.folder(path);
        }
        for (path, mode) in [("app/file", 0o644), ("app/dir/a", 0o600), ("app/run", 0o755)] {
            fs::write(two.path(path), "old\n").unwrap();
            std::os::unix::fs::chown(two.path(path), Some(two.caller), Some(two.caller)).unwrap();
            fs::set_permissions(two.path(path), Permissions::from_mode(mode)).unwrap();
        }
        let (data, scratch) = (two.folder("data"), two.path("scratch").display().to_string());
        let options = [
            "--app",
            &app,
            "--data",
            &data,
            "--scratch",
            &scratch,
            "--keep=dir/deep/kept.db",
            "--keep=uploads",
        ];
        let script = "cd /app && cat dir/a && echo new > file && echo x > dir/new && mkdir dir/deep/made closed && chmod 0 closed \
            && echo x >> dir/deep/kept.db && echo x >> uploads/x && rm run && mv file moved && cat dir/deep/kept.db uploads/x";
        assert_eq!(two.ok("blog", &options, script), "old\nx\nx\n");
        assert_eq!(
            two.ok("blog", &options, "cat /app/file /app/dir/deep/kept.db; ls /app/dir"),
            "old\nx\na\ndeep\n"
        );
        let left = fs::read_dir(two.path("scratch")).unwrap();
        assert!(left.map(|entry| entry.unwrap()).all(|entry| entry.path().is_file()));
        // The release still belongs to the caller, and others have no rights in it.
        let stat = fs::metadata(two.path("app/file")).unwrap();
        assert_eq!((stat.uid(), stat.mode() & 0o777), (two.caller, 0o664));
        // Given back, the app runs as the caller, also in a new release that shares files with this one.
        let next = two.folder("next");
        fs::hard_link(two.path("app/file"), two.path("next/file")).unwrap();
        let give = ["--give-back", "--app", &next].iter().chain(&options[2..]).copied().collect::<Vec<_>>();
        assert_eq!(two.ok("blog", &give, "cat /app/uploads/x; echo y > /app/file; cat /app/file"), "x\ny\n");
    }
}
