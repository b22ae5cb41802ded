//! Backups of what cannot be read: it is left out and told, and the other apps are saved.

use std::fs;
use std::path::Path;
use std::process::Output;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};
use serde_json::Value;

use crate::operator::operate::says;

/// Makes files that nobody can read, a path that is too deep, and what has no content, in an app's data.
const UNREADABLE: &str = "cd /data && echo kept >file && echo closed >closed && chmod 0 closed && mkdir folder && \
     echo below >folder/below && chmod 0 folder && mkfifo pipe && \
     python3 -c 'import os, socket; socket.socket(socket.AF_UNIX).bind(\"sock\"); [(os.mkdir(\"d\"), os.chdir(\"d\")) for _ in range(400)]'";

/// Runs piku-run on the server.
fn piku_run(world: &World, words: &[&str], input: Option<&Path>) -> Output {
    let mut tool = world.tool("piku-run");
    tool.args(words);
    if let Some(input) = input {
        tool.stdin(fs::File::open(input).expect("the input"));
    }
    tool.output().expect("piku-run")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A world with three apps: one whose files cannot all be read, one whose repository is damaged, and a good one.
fn world() -> World {
    let world = World::new();
    for app in ["blog", "broken", "shop"] {
        world.repo(app).serves(&format!("{app}\n")).commit("One").push().succeeds();
    }
    says(&world, &format!("run blog sh -c \"{}\"", UNREADABLE.replace('"', "\\\"")), 0);
    says(&world, "run shop sh -c 'echo kept >/data/file'", 0);
    let objects = world.app("broken").join("repo.git/objects");
    fs::rename(&objects, objects.with_file_name("lost")).expect("its objects");
    fs::create_dir(&objects).expect("none");
    world
}

fn assert_lacks(told: &str) {
    assert!(told.contains("blog: the backup lacks 3 files: "), "{told}");
    for file in ["./closed (Permission denied)", "./folder (Permission denied)", "(deeper than 256 folders, "]
    {
        assert!(told.contains(file), "no '{file}' in {told}");
    }
    assert!(told.contains("broken: the backup lacks the repository: git cannot bundle it"), "{told}");
    assert!(!told.contains("shop: "), "{told}");
}

#[test]
fn what_cannot_be_read_does_not_stop_the_others() {
    let world = world();
    let file = world.path("home/all.tar.zst");
    for scope in ["--host", "--all"] {
        let out = piku_run(&world, &["backup", scope], None);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        assert_lacks(&String::from_utf8_lossy(&out.stderr));
        fs::write(&file, out.stdout).expect("the backup");
    }
    let verified = piku_run(&world, &["backup", "verify"], Some(&file));
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert_lacks(&text(&verified));
    let verified = piku_run(&world, &["backup", "verify", "--format", "json"], Some(&file));
    let value: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    let lacking: Vec<&Value> =
        value["parts"].as_array().expect("parts").iter().filter(|part| !part["left_out"].is_null()).collect();
    assert_eq!(lacking.len(), 2, "{value}");
    assert_eq!(lacking[0]["left_out"]["count"], 3, "{value}");
    assert!(lacking[1]["left_out"]["error"].is_string(), "{value}");

    // So does every copy of the data.
    let exported = piku_run(&world, &["data", "blog", "export"], None);
    let told = String::from_utf8_lossy(&exported.stderr).into_owned();
    assert!(exported.status.code() == Some(1) && told.contains("the archive lacks 3 files"), "{told}");
    let cloned = says(&world, "clone blog copy --data --skip-deploy", 0);
    assert!(cloned.contains("warning: copy lacks 3 files: "), "{cloned}");
    assert_eq!(fs::read(world.app("copy").join("data/file")).expect("the file"), b"kept\n");

    // An app is not replaced if not all of it can be kept.
    let own = piku_run(&world, &["backup", "blog"], None);
    assert_eq!(own.status.code(), Some(1), "{}", text(&own));
    let alone = world.path("home/blog.tar.zst");
    fs::write(&alone, own.stdout).expect("the backup");
    let refused = piku_run(&world, &["restore", "blog", "--replace"], Some(&alone));
    let told = text(&refused);
    assert!(
        !refused.status.success() && told.contains("cannot save blog, which would be replaced"),
        "{told}"
    );
    wait_for("the app", || world.page("blog") == "blog\n");
    let new = World::new();
    let moved = new.path("home/all.tar.zst");
    fs::copy(&file, &moved).expect("the backup");
    drop(world);
    let restored = piku_run(&new, &["restore"], Some(&moved));
    assert_eq!(restored.status.code(), Some(1), "{}", text(&restored));
    let told = text(&restored);
    assert!(told.contains("warning: blog: the backup lacks 3 files"), "{told}");
    assert!(told.contains("broken is not restored: the backup lacks the repository"), "{told}");
    assert!(!new.app("broken").exists());
    assert_eq!((new.page("blog").as_str(), new.page("shop").as_str()), ("blog\n", "shop\n"));
    assert_eq!(says(&new, "run blog sh -c 'cat /data/file; ls /data'", 0), "kept\nd\nfile\nhome\npipe\n");
}

#[test]
fn planned_backups_keep_the_last_whole_file() {
    let world = World::new();
    world.repo("blog").serves("one\n").commit("One").push().succeeds();
    let store = world.path("home/store");
    assert!(world.command("mkdir").arg(&store).status().expect("mkdir").success());
    let plan = format!("backups: {{files: {{schedule: '@monthly', to: '{}', keep: 1}}}}", store.display());
    world.set_settings(&plan);
    let run = |code| {
        let out = piku_run(&world, &["backup", "run"], None);
        assert_eq!(out.status.code(), Some(code), "{}", text(&out));
    };
    run(0);
    let whole = names(&store);
    says(&world, "run blog sh -c 'echo x >/data/closed; chmod 0 /data/closed'", 0);
    let mut last = whole.clone();
    for _ in 0..2 {
        // In another second.
        wait_for("another file", || {
            run(1);
            names(&store).last() != last.last()
        });
        last = names(&store);
        assert!(last.len() == 2 && last[0] == whole[0], "{last:?}");
    }
    let listed = says(&world, "backup:list", 0);
    assert!(listed.contains("lacks 1 file: ./closed (Permission denied)"), "{listed}");
    let listed: Value = serde_json::from_str(&says(&world, "backup:list --format json", 0)).expect("JSON");
    assert!(listed[0]["left_out"] == 1 && listed[0]["error"].is_null(), "{listed}");
    assert!(says(&world, "ps blog", 0).contains("\nBackup files: not whole, "));
    assert!(says(&world, "status", 0).contains("the backup 'files' lacks 1 file"));
    says(&world, "run blog rm -f /data/closed", 0);
    wait_for("a whole one", || {
        run(0);
        names(&store).len() == 1
    });
    assert!(!says(&world, "backup:list", 0).contains("lacks"));
}

#[test]
fn backups_end_in_time() {
    let world = World::new();
    for app in ["blog", "shop"] {
        world.repo(app).serves("one\n").commit("One").push().succeeds();
    }
    let store = world.path("home/store");
    assert!(world.command("mkdir").arg(&store).status().expect("mkdir").success());
    let command = "cat >read; [ $BACKUP_APP = shop ] || exec sleep 100000; mv read $BACKUP_APP";
    world.set_settings(&format!(
        "backups: {{slow: {{schedule: '@monthly', max_hours: 0.002, command: 'cd {} && {command}'}}}}",
        store.display()
    ));
    let run = || {
        let out = piku_run(&world, &["backup", "run"], None);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        text(&out)
    };
    let told = run();
    assert!(
        told.contains("blog: the command does not end: it took longer than 0.002 h (max_hours)"),
        "{told}"
    );
    assert!(told.contains("shop: the time of the run (max_hours) was over before its turn"), "{told}");
    // The other one is the first of the next run.
    wait_for("the other app", || {
        let told = run();
        store.join("shop").exists() && told.contains("blog: the command does not end")
    });
    // By hand: what was written is no backup.
    let out = piku_run(&world, &["backup", "blog", "--max-hours", "0.000001"], None);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("it took longer than"), "{}", text(&out));
    let file = world.path("home/cut.tar.zst");
    fs::write(&file, out.stdout).expect("a file");
    assert!(!piku_run(&world, &["backup", "verify"], Some(&file)).status.success());
    let bad = piku_run(&world, &["backup", "blog", "--max-hours", "0"], None);
    assert!(bad.status.code() == Some(2) && text(&bad).contains("a number of hours"), "{}", text(&bad));
}
