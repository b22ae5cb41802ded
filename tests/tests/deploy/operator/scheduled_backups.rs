//! Backups that `host.yaml` plans: where they go, what is kept, and who is told when they fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Takes the backups now; returns what was printed.
fn run(world: &World, plan: &str, is_well: bool) -> String {
    let out = world.tool("piku-run").args(["backup", "run", plan]).output().expect("piku-run");
    assert_eq!(out.status.success(), is_well, "{plan}: {}", text(&out));
    text(&out)
}

/// Looks for problems, and checks that the operator was told of the state of the overdue backup.
fn assert_told(world: &World, told: &Path, state: &str) {
    let out = world.tool("piku-run").arg("notify").output().expect("piku-run");
    assert!(out.status.success(), "{}", text(&out));
    let told = fs::read_to_string(told).expect("JSON");
    let is_it =
        |line: &str| line.contains("the backup 'files' is overdue") && line.contains("\"backup-overdue\"");
    assert!(told.lines().any(|line| is_it(line) && line.contains(state)), "{told}");
}

/// Has the daemon take a backup that is overdue; the operator is told of its begin and its end.
fn take_overdue(world: &mut World, told: &Path) {
    // The daemon takes what is due: here a plan that was missed for months.
    let record = world.root().join("backups.json");
    let recorded = fs::read_to_string(&record).expect("record");
    let mut value: serde_json::Value = serde_json::from_str(&recorded).expect("JSON");
    value["files"]["begun"] = "2026-01-01T00:00:00Z".into();
    value["files"]["complete"] = "2026-01-01T00:00:00Z".into();
    fs::write(&record, value.to_string()).expect("record");
    let out = world.tool("piku-run").args(["backup", "list", "--problems"]).output().expect("piku-run");
    assert!(text(&out).contains("the backup 'files' is overdue"));
    assert_told(world, told, "\"begun\"");
    assert!(says(world, "ps blog", 0).contains("\nBackup files: overdue, the last one is "));
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    world.start_daemon();
    wait_for("the daemon's backup", || {
        let text = fs::read_to_string(&record).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["files"]["complete"].as_str().is_some_and(|at| at > "2026-01-02")
    });
    assert_told(world, told, "\"ended\"");
}

#[test]
fn planned_backups_go_where_they_should() {
    let mut world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    says(&world, "run blog sh -c 'echo kept >/data/file'", 0);
    let store = world.path("home/store");
    let told = world.path("home/told");
    let key = world.path("home/age.key");
    assert!(world.command("mkdir").arg(&store).status().expect("mkdir").success());
    let has_age =
        world.command("age-keygen").arg("-o").arg(&key).output().is_ok_and(|out| out.status.success());
    let recipient = if has_age {
        let public = world.command("age-keygen").arg("-y").arg(&key).output().expect("age-keygen").stdout;
        format!("age: {}", String::from_utf8_lossy(&public).trim())
    } else {
        "age: age1xyz".to_owned()
    };
    world.set_settings(&format!(
        "notify: {{command: \"cat >>'{told}'\"}}\n\
         backups:\n  files: {{schedule: '@monthly', to: '{store}', keep: 2}}\n  \
         pipe: {{schedule: '@monthly', apps: [blog], command: \"cat >'{store}/'$BACKUP_APP.piped\"}}\n  \
         cut: {{schedule: '@monthly', age: age1xyz, command: \"cat >/dev/null; touch '{store}/cut'\"}}\n  \
         deaf: {{schedule: '@monthly', command: 'cat >/dev/null; echo no disk >&2; exit 3'}}\n  \
         gone: {{schedule: '@monthly', command: 'echo no room >&2; exit 4'}}\n  \
         away: {{schedule: '@monthly', to: '{store}/missing'}}\n  \
         secret: {{schedule: '@monthly', to: '{store}', keep: 1, {recipient}}}\n",
        told = told.display(),
        store = store.display(),
    ));
    // Two are kept, and no file of the operator's is touched.
    fs::write(store.join("blog.tar.zst"), "mine").expect("file");
    fs::write(store.join("blog-20200101T000000Z-files.tar.zst"), "old").expect("file");
    fs::write(store.join(".blog-20200102T000000Z-files.tar.zst.part"), "half").expect("file");
    run(&world, "files", true);
    let first = names(&store);
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first[0] == "blog-20200101T000000Z-files.tar.zst" && first[2] == "blog.tar.zst", "{first:?}");
    let whole = fs::read(store.join(&first[1])).expect("backup");
    assert_eq!(fs::metadata(store.join(&first[1])).expect("file").permissions().mode() & 0o777, 0o600);
    let verify = |file: &Path| {
        let stdin = fs::File::open(file).expect("file");
        let out = world.tool("piku-run").args(["backup", "verify"]).stdin(stdin).output().expect("piku-run");
        assert!(out.status.success(), "{}", text(&out));
    };
    verify(&store.join(&first[1]));
    wait_for("the next second", || {
        run(&world, "files", true);
        names(&store).iter().filter(|name| name.starts_with("blog-2")).all(|name| !name.contains("2020"))
    });
    assert_eq!(names(&store).iter().filter(|name| name.starts_with("blog-2")).count(), 2);
    run(&world, "pipe", true);
    verify(&store.join("blog.piped"));
    if has_age {
        run(&world, "secret", true);
        let encrypted = names(&store).into_iter().find(|name| name.contains(".age")).expect("a file");
        let mut age = world.command("age");
        let plain =
            age.arg("-d").arg("-i").arg(&key).arg(store.join(encrypted)).output().expect("age").stdout;
        assert_eq!(plain[..4], whole[..4]);
        fs::write(store.join("plain"), plain).expect("file");
        verify(&store.join("plain"));
    } else {
        assert!(run(&world, "secret", false).contains("apt-get install age"));
    }

    // Another plan has its own files in the same directory.
    assert_eq!(names(&store).iter().filter(|name| name.contains("-files.")).count(), 2);

    // What fails leaves nothing, and is told. The command has not seen the end of what age could not encrypt.
    assert!(run(&world, "cut", false).contains("age"));
    assert!(!store.join("cut").exists());
    assert!(run(&world, "deaf", false).contains("the command failed (exit status: 3): no disk"));
    // It reads nothing, and the data is larger than what a pipe holds.
    says(&world, "run blog sh -c 'head -c 3000000 /dev/urandom >/data/random'", 0);
    assert!(run(&world, "gone", false).contains("the command failed (exit status: 4): no room"));
    assert!(run(&world, "away", false).contains("is not a directory"));
    assert!(!store.join("missing").exists());
    let listed = says(&world, "backup:list", 0);
    for said in ["files", "failed: the command failed", "is not a directory"] {
        assert!(listed.contains(said), "{listed}");
    }
    let problems = world.tool("piku-run").args(["backup", "list", "--problems"]).output().expect("piku-run");
    assert!(problems.status.code() == Some(1) && text(&problems).contains("the backup 'deaf' failed"));
    let notify = world.tool("piku-run").arg("notify").output().expect("piku-run");
    assert!(notify.status.success(), "{}", text(&notify));
    assert!(fs::read_to_string(&told).expect("JSON").contains("\"backup-failed\""));
    assert!(says(&world, "status", 0).contains("the backup 'away' failed"));
    let shown = says(&world, "ps blog", 0);
    let failed = "\nBackup away: failed; piku backup:list shows why\n";
    assert!(shown.contains(failed) && shown.contains("\nBackup files: "), "{shown}");

    take_overdue(&mut world, &told);
    world.set_settings("backups: {bad: {schedule: 'sometimes', to: /srv}}");
    assert!(says(&world, "backup:list", 1).contains("'sometimes' is no schedule"));
    assert!(says(&world, "status", 0).contains("'sometimes' is no schedule"));
}
