use super::*;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use piku_layout::paths::PikuRoot;
use piku_release::manifest::ReleaseOrigin;
use piku_release::removals::finish_removals;

use crate::instance::record::{self, RecordFolder, WorkerRecord};
use crate::releases::release_use;
use crate::releases::tests::{set_live, write_release};

struct StoredApp {
    dir: tempfile::TempDir,
    name: AppName,
    at: AppDir,
    settings: HostSettings,
}

impl StoredApp {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name: AppName = "blog".parse().unwrap();
        let at = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&name);
        for folder in [at.releases(), at.layers(), at.cache(), at.log()] {
            fs::create_dir_all(folder).unwrap();
        }
        Self { dir, name, at, settings: HostSettings::default() }
    }

    fn release(&self, number: u64, layer: &str) -> BuiltRelease {
        write_release(&self.at, number, layer)
    }

    fn set_live(&self, number: u64) {
        set_live(&self.at, number);
    }

    fn collector(&self) -> AppCollector<'_> {
        AppCollector { app: &self.name, dir: &self.at, settings: &self.settings }
    }

    /// Returns the garbage as `KIND NAME`.
    fn garbage(&self, scope: CollectScope) -> Vec<String> {
        let found = self.collector().find_garbage(scope).unwrap();
        found.iter().map(|item| format!("{} {}", item.kind.as_str(), item.name.display())).collect()
    }

    fn collect(&self, scope: CollectScope) {
        assert_eq!(self.collector().withdraw_all(scope).unwrap(), [""; 0]);
        finish_removals(&self.at).unwrap();
    }

    fn names(&self, folder: &str) -> Vec<String> {
        entries(&self.at.path().join(folder)).into_iter().map(|found| found.name).collect()
    }
}

#[test]
fn the_newest_releases_and_their_layers_are_kept() {
    let mut app = StoredApp::new();
    for number in 1..=6 {
        app.release(number, &format!("layer{}", number / 2));
    }
    // Without a live release nothing is removed.
    app.settings.keep_releases = 1;
    assert!(app.garbage(CollectScope::All).is_empty());
    // Release 6 is being started.
    app.set_live(5);
    app.settings.keep_releases = 3;
    assert_eq!(app.garbage(CollectScope::Releases), ["release releases/1", "release releases/2"]);
    assert_eq!(
        app.garbage(CollectScope::Deploy),
        ["release releases/1", "release releases/2", "layer layers/layer0"]
    );
    app.collect(CollectScope::Deploy);
    // The previous release stays whatever the setting.
    app.settings.keep_releases = 0;
    app.collect(CollectScope::Deploy);
    assert_eq!(app.names("releases"), ["4", "5", "6"]);
    assert_eq!(app.names("layers"), ["layer2", "layer3"]);
    // A live release older than all others stays.
    app.set_live(4);
    assert!(app.garbage(CollectScope::All).is_empty());
}

#[test]
fn old_releases_are_withdrawn_and_removed_without_the_lock() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 2;
    for number in 1..=4 {
        app.release(number, "a");
    }
    app.set_live(4);
    assert_eq!(app.collector().withdraw_all(CollectScope::Releases).unwrap(), [""; 0]);
    assert_eq!(app.names("releases"), [".1.gone", ".2.gone", "3", "4"]);
    assert!(app.at.releases().join(".1.gone/app").is_dir(), "it is still to be removed");
    let counted = ["leftover releases/.1.gone", "leftover releases/.2.gone"];
    assert_eq!(app.garbage(CollectScope::All), counted);
    let _making = FileLock::try_shared(File::open(app.at.releases()).unwrap()).unwrap().unwrap();
    let queue = RemovalQueue::find_pending(&PikuRoot::new(Some(app.dir.path().to_owned())).unwrap());
    assert!(format!("{queue:?}").contains("blog"), "{queue:?}");
    finish_removals(&app.at).unwrap();
    assert_eq!(app.names("releases"), ["3", "4"]);
}

#[test]
fn without_a_daemon_a_change_removes_old_releases_itself() {
    let app = StoredApp::new();
    for number in 1..=9 {
        app.release(number, "a");
    }
    app.set_live(9);
    let root = PikuRoot::new(Some(app.dir.path().to_owned())).unwrap();
    collect_after_change(&root, &app.name, CollectScope::Releases);
    assert_eq!(app.names("releases"), ["5", "6", "7", "8", "9"]);
}

#[test]
fn a_release_that_an_instance_runs_stays() {
    let mut app = StoredApp::new();
    for number in 1..=4 {
        app.release(number, "layer");
    }
    app.set_live(4);
    app.settings.keep_releases = 2;
    let records = RecordFolder::open(&app.at).unwrap();
    records.write(&WorkerRecord { release: 1, ..record::tests::own() }).unwrap();
    assert_eq!(app.garbage(CollectScope::Releases), ["release releases/2"]);
    // A record of an ended process keeps nothing.
    records.write(&WorkerRecord { release: 1, boot: String::new(), ..record::tests::own() }).unwrap();
    let in_use = release_use::begin(&app.at, 2).unwrap();
    assert_eq!(app.garbage(CollectScope::Releases), ["release releases/1"]);
    drop(in_use);
    assert_eq!(app.garbage(CollectScope::Releases), ["release releases/1", "release releases/2"]);
    assert!(release_use::begin(&app.at, 5).is_err());
}

#[test]
fn config_changes_do_not_push_out_the_previous_code() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 3;
    for number in 1..=3 {
        app.release(number, "a");
    }
    for number in 4..=9 {
        let release =
            BuiltRelease { tree_of: Some(3), origin: ReleaseOrigin::Config, ..app.release(number, "a") };
        release.write(&app.at.release(number)).unwrap();
    }
    app.set_live(9);
    app.collect(CollectScope::Releases);
    assert_eq!(app.names("releases"), ["2", "7", "8", "9"]);
    app.collect(CollectScope::All);
    assert_eq!(app.names("releases"), ["2", "7", "8", "9"]);
}

#[test]
fn layers_stay_while_a_manifest_cannot_be_read() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 2;
    for (number, layer) in [(1, "a"), (2, "b"), (3, "b")] {
        app.release(number, layer);
    }
    fs::create_dir_all(app.at.layers().join("of-the-second")).unwrap();
    app.set_live(3);
    fs::write(app.at.release(2).join("release.yaml"), "").unwrap();
    app.collect(CollectScope::All);
    assert_eq!(app.names("releases"), ["1", "2", "3"], "the second cannot be rolled back to");
    assert_eq!(app.names("layers"), ["a", "b", "of-the-second"]);
}

#[test]
fn leftovers_of_killed_processes_are_removed() {
    let app = StoredApp::new();
    app.release(7, "a");
    app.set_live(7);
    let half = app.at.releases().join(".3.gone/app/sub");
    fs::create_dir_all(&half).unwrap();
    fs::set_permissions(&half, fs::Permissions::from_mode(0o555)).unwrap();
    for folder in ["layers/.x.gone", "cache/.pip.gone", ".release.abc/release", "deploy.xyz/source"] {
        fs::create_dir_all(app.at.path().join(folder)).unwrap();
    }
    // No later removal would find withdrawn entries there.
    for folder in ["releases/7/.half.4194305/deep", "log/.half.4194305/deep"] {
        fs::create_dir_all(app.at.path().join(folder)).unwrap();
    }
    let hidden = |folder: &str| app.names(folder).into_iter().filter(|name| name.starts_with('.')).count();
    // No process has this pid: it is above the kernel's limit.
    fs::write(app.at.path().join(".config.json.4194305"), "{").unwrap();
    let mine = format!(".verdict.json.{}", std::process::id());
    fs::write(app.at.path().join(&mine), "{").unwrap();
    app.collect(CollectScope::Releases);
    let left = [mine.as_str(), "cache", "current", "deploy.xyz", "layers", "log", "releases"];
    assert_eq!(app.names(""), left);
    app.collect(CollectScope::All);
    assert!(!app.names("").contains(&"deploy.xyz".to_owned()));
    assert_eq!((hidden("releases/7"), hidden("log")), (0, 0));
    assert_eq!((app.names("releases"), app.names("layers")), (vec!["7".to_owned()], vec!["a".to_owned()]));
    assert!(app.names("cache").is_empty());
}

#[test]
fn nothing_is_removed_while_a_release_is_being_made() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 2;
    for number in 1..=3 {
        app.release(number, "a");
    }
    app.set_live(3);
    let making = File::open(app.at.releases()).unwrap();
    let making = FileLock::try_shared(making).unwrap().unwrap();
    app.collect(CollectScope::Releases);
    assert_eq!(app.names("releases"), ["1", "2", "3"]);
    drop(making);
    app.collect(CollectScope::Releases);
    assert_eq!(app.names("releases"), ["2", "3"]);
}

#[test]
fn read_only_directories_are_removed_and_symlinks_not_followed() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 2;
    let outside = app.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    for number in 1..=3 {
        app.release(number, "a");
    }
    app.set_live(3);
    let deep = app.at.release(1).join("app/deep");
    symlink(&outside, deep.join("link")).unwrap();
    for folder in [deep.join("er"), deep.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
    }
    app.collect(CollectScope::Releases);
    assert_eq!(app.names("releases"), ["2", "3"]);
    assert!(outside.join("file").exists());
}

#[test]
fn old_deploy_logs_and_excess_caches_are_removed() {
    let mut app = StoredApp::new();
    app.release(2, "a");
    app.set_live(2);
    for number in 1..=25 {
        fs::write(app.at.deploy_log(number), "x").unwrap();
        fs::write(app.at.log().join(format!("deploy-{number}.json")), "{}").unwrap();
    }
    fs::write(app.at.log().join("web.1.log"), "x").unwrap();
    for (name, mib) in [("pip", 3), ("npm", 1), ("go", 2)] {
        fs::create_dir(app.at.cache().join(name)).unwrap();
        fs::write(app.at.cache().join(name).join("file"), vec![1; mib << 20]).unwrap();
    }
    let logs = |found: Vec<String>| found.into_iter().filter(|item| item.starts_with("log ")).count();
    // Logs and records of 1, 3, 4 and 5, and the record of 2, which is a release.
    assert_eq!(logs(app.garbage(CollectScope::Releases)), 9);
    app.settings.cache_limit = 4;
    assert_eq!(app.garbage(CollectScope::All).last().unwrap(), "cache cache/pip");
    app.collect(CollectScope::Deploy);
    assert_eq!(app.names("cache"), ["go", "measured", "npm"]);
    assert!(app.names("log").contains(&"deploy-2.log".to_owned()) && app.names("log").len() == 42);
    // Tools do not count as caches: one is long unused, one unfinished, one from a clock ten years ahead.
    for (name, days) in [("old", Some(90)), ("new", Some(30)), ("ahead", Some(-3650)), ("half", None)] {
        let tool = app.at.cache().join("tools").join(name);
        fs::create_dir_all(&tool).unwrap();
        if let Some(days) = days {
            let file = File::create(tool.join("complete")).unwrap();
            let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
            file.set_modified(date.into()).unwrap();
        }
    }
    assert_eq!(app.garbage(CollectScope::All), ["layer cache/tools/half", "layer cache/tools/old"]);
    app.collect(CollectScope::All);
    assert_eq!(app.names("cache/tools"), ["ahead", "new"]);
    let ahead = fs::metadata(app.at.cache().join("tools/ahead/complete")).unwrap().modified().unwrap();
    assert!(ahead <= std::time::SystemTime::now(), "its time begins now");
    fs::remove_dir_all(app.at.cache().join("tools")).unwrap();
    app.settings.cache_limit = 0;
    app.collect(CollectScope::Deploy);
    assert_eq!(app.names("cache"), ["go", "measured", "npm"]);
    app.collect(CollectScope::All);
    assert_eq!(app.names("cache"), ["measured"]);
}

#[test]
fn symlinks_left_by_a_build_are_not_followed() {
    let mut app = StoredApp::new();
    app.release(1, "a");
    app.set_live(1);
    let victim = app.dir.path().join("victim");
    fs::create_dir_all(victim.join("pip")).unwrap();
    for name in ["file", ".x.gone", "pip/file"] {
        fs::write(victim.join(name), "precious").unwrap();
    }
    // Each symlink replaces something of piku's.
    symlink(victim.join("file"), app.at.cache().join("measured")).unwrap();
    symlink(&victim, app.at.cache().join("tools")).unwrap();
    symlink(&victim, app.at.cache().join("pip")).unwrap();
    symlink(&victim, app.at.path().join("deploy.x")).unwrap();
    app.settings.cache_limit = 0;
    // The marker's own time is a day old.
    let old = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    let follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, app.at.cache().join("measured"), &times, follow).unwrap();
    app.collect(CollectScope::Deploy);
    assert!(!app.at.cache().join("measured").is_symlink());
    assert!(app.garbage(CollectScope::All).is_empty(), "{:?}", app.garbage(CollectScope::All));
    app.collect(CollectScope::All);
    for name in ["file", ".x.gone", "pip/file"] {
        assert_eq!(fs::read_to_string(victim.join(name)).unwrap(), "precious", "{name}");
    }
    // A symlink among the leftovers is removed itself.
    symlink(&victim, app.at.releases().join(".9.gone")).unwrap();
    app.collect(CollectScope::All);
    assert!(!app.at.releases().join(".9.gone").is_symlink() && victim.join("file").exists());
}

#[test]
fn a_shared_file_is_freed_with_its_last_link() {
    let mut app = StoredApp::new();
    app.settings.keep_releases = 2;
    for number in 1..=4 {
        app.release(number, "a");
    }
    let shared = |number: u64| app.at.release(number).join("app/shared");
    fs::write(shared(1), vec![1; 1 << 20]).unwrap();
    fs::hard_link(shared(1), shared(2)).unwrap();
    app.set_live(4);
    let measured = || {
        let mut found = app.collector().find_garbage(CollectScope::Releases).unwrap();
        app.collector().measure(&mut found);
        found.iter().map(|item| item.bytes >= 1 << 20).collect::<Vec<bool>>()
    };
    assert_eq!(measured(), [false, true]);
    fs::hard_link(shared(1), shared(4)).unwrap();
    assert_eq!(measured(), [false, false], "the live release has it too");
}
