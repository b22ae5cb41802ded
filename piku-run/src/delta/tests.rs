use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use piku_procfile::layout::Root;

struct App {
    _dir: tempfile::TempDir,
    at: AppDir,
}

/// Bytes that nothing can compress, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A program of which a line has changed.
fn program(version: u8) -> Vec<u8> {
    let mut program = noise(7, 300_000);
    program[1000] = version;
    program.splice(200_000..200_000, [version; 3]);
    program
}

impl App {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = Root::new(Some(dir.path().to_owned())).unwrap().app(&"shop".parse().unwrap());
        Self { _dir: dir, at }
    }

    fn release(&self, number: u64, jailed: bool) {
        let folder = self.at.release(number);
        fs::create_dir_all(folder.join("app/bin")).unwrap();
        let text = format!(
            r#"{{"app": "shop", "number": {number}, "at": "2026-01-01T00:00:00Z", "architecture": "x86_64", "runtime": "go", "processes": {{}}, "jailed": {jailed}}}"#
        );
        fs::write(folder.join("release.yaml"), text).unwrap();
        let program = self.file(number, "bin/web");
        fs::write(&program, self::program(u8::try_from(number).unwrap())).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        File::open(program).unwrap().set_modified(Self::date(number)).unwrap();
        fs::write(self.file(number, "page"), number.to_string()).unwrap();
        fs::write(self.file(number, "photo"), noise(number, 100_000)).unwrap();
    }

    fn file(&self, number: u64, path: &str) -> PathBuf {
        self.at.release(number).join(TREE).join(path)
    }

    fn date(number: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * number)
    }

    fn is_whole(&self, number: u64) {
        let (path, expected) = (self.file(number, "bin/web"), program(u8::try_from(number).unwrap()));
        assert!(fs::read(&path).unwrap() == expected, "release {number}");
        let meta = fs::metadata(path).unwrap();
        assert_eq!(
            (meta.permissions().mode() & 0o777, meta.modified().unwrap()),
            (0o755, Self::date(number))
        );
        assert_eq!(fs::read(self.file(number, "photo")).unwrap(), noise(number, 100_000));
    }

    fn has(&self, number: u64) -> bool {
        self.file(number, "bin/web").exists()
    }

    fn delta(&self, number: u64, base: u64) -> PathBuf {
        self.at.release(number).join(DELTA).join(base.to_string()).join("bin/web")
    }
}

#[test]
fn what_differs_is_little_and_all_comes_back() {
    let app = App::new();
    for number in 1..=4 {
        app.release(number, true);
    }
    // As deploys follow each other: each is smaller than the next one.
    assert!(fold(&app.at, 1, 2).unwrap() > 290_000);
    assert!(fold(&app.at, 2, 3).unwrap() > 290_000);
    fold(&app.at, 3, 4).unwrap();
    assert_eq!(fold(&app.at, 3, 4).unwrap(), 0, "it was looked at");
    assert_eq!((1..=4).map(|number| app.has(number)).collect::<Vec<_>>(), [false, false, false, true]);
    assert!(fs::metadata(app.delta(1, 2)).unwrap().len() < 2000);
    // What has nothing in common stays.
    assert!(app.file(1, "photo").exists() && app.file(1, "page").exists());
    unfold(&app.at, 1).unwrap();
    for number in [1, 2, 3] {
        app.is_whole(number);
        assert!(!app.at.release(number).join(DELTA).exists());
    }
    unfold(&app.at, 4).unwrap();
    // A release goes: the one that differs from it needs it no more.
    fold(&app.at, 1, 3).unwrap();
    fold(&app.at, 2, 3).unwrap();
    release(&app.at, 2).unwrap();
    assert!(!app.has(1) && !app.has(2));
    release(&app.at, 3).unwrap();
    app.is_whole(1);
    app.is_whole(2);
}

#[test]
fn who_is_killed_between_two_steps_has_lost_nothing() {
    let app = App::new();
    for number in 1..=3 {
        app.release(number, true);
    }
    fold(&app.at, 1, 2).unwrap();
    // The difference is written and the file is still there; another release is live when it goes on.
    fs::write(app.file(1, "bin/web"), program(1)).unwrap();
    fs::remove_file(app.at.release(1).join(DELTA).join(DONE)).unwrap();
    fs::write(app.at.release(1).join(DELTA).join(".aside.1"), "half").unwrap();
    let meta = fs::metadata(app.delta(1, 2)).unwrap();
    fs::set_permissions(app.file(1, "bin/web"), meta.permissions()).unwrap();
    File::open(app.file(1, "bin/web")).unwrap().set_modified(App::date(1)).unwrap();
    fold(&app.at, 1, 3).unwrap();
    assert!(!app.has(1) && app.delta(1, 2).exists() && app.delta(1, 3).exists());
    unfold(&app.at, 1).unwrap();
    app.is_whole(1);

    // The other way: the file is back, and what stood for it is still there.
    fold(&app.at, 1, 3).unwrap();
    let delta = fs::read(app.delta(1, 3)).unwrap();
    unfold(&app.at, 1).unwrap();
    fs::create_dir_all(app.delta(1, 3).parent().unwrap()).unwrap();
    fs::write(app.delta(1, 3), delta).unwrap();
    unfold(&app.at, 1).unwrap();
    app.is_whole(1);
}

#[test]
fn what_is_not_sure_to_come_back_stays() {
    let app = App::new();
    for number in 1..=3 {
        app.release(number, number != 2);
    }
    assert_eq!(
        fold(&app.at, 1, 2).unwrap() + fold(&app.at, 2, 3).unwrap(),
        0,
        "an app may write to its release"
    );
    let held = hold(&app.at, 1).unwrap();
    assert_eq!(fold(&app.at, 1, 3).unwrap(), 0, "somebody runs a command in it");
    drop(held);
    fs::hard_link(app.file(1, "bin/web"), app.file(2, "shared")).unwrap();
    assert_eq!(fold(&app.at, 1, 3).unwrap(), 0, "another release has it too");
    fs::remove_file(app.file(2, "shared")).unwrap();
    fs::remove_dir_all(app.at.release(1).join(DELTA)).unwrap();
    fold(&app.at, 1, 3).unwrap();

    // Another file than it was made from gives an error, and never another program.
    fs::write(app.file(3, "bin/web"), noise(9, 300_003)).unwrap();
    let err = format!("{:#}", unfold(&app.at, 1).unwrap_err());
    assert!(err.contains("cannot make release 1 whole: 'bin/web'"), "{err}");
    assert!(!app.has(1) && app.delta(1, 3).exists());
    fs::write(app.file(3, "bin/web"), program(3)).unwrap();
    unfold(&app.at, 1).unwrap();
    app.is_whole(1);
}

#[test]
fn links_lead_neither_out_of_the_release_nor_out_of_the_live_one() {
    let app = App::new();
    for number in 1..=3 {
        app.release(number, true);
    }
    let victim = app.at.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("web"), program(2)).unwrap();
    // The live release's folder is a link to another app's files; so is a file of it.
    fs::remove_dir_all(app.file(3, "bin")).unwrap();
    std::os::unix::fs::symlink(&victim, app.file(3, "bin")).unwrap();
    assert_eq!(fold(&app.at, 2, 3).unwrap(), 0, "what lies outside is nothing to differ from");
    fs::remove_file(app.file(3, "bin")).unwrap();
    fs::create_dir(app.file(3, "bin")).unwrap();
    nix::unistd::mkfifo(&app.file(3, "bin/web"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(fold(&app.at, 1, 3).unwrap(), 0, "a pipe neither");
    // What stands for a file comes back into the release, or not at all.
    fs::remove_dir_all(app.at.release(1).join(DELTA)).unwrap();
    fs::remove_dir_all(app.at.release(2).join(DELTA)).unwrap();
    assert!(fold(&app.at, 1, 2).unwrap() > 0);
    fs::remove_dir_all(app.file(1, "bin")).unwrap();
    std::os::unix::fs::symlink(&victim, app.file(1, "bin")).unwrap();
    fs::remove_file(victim.join("web")).unwrap();
    assert!(unfold(&app.at, 1).is_err());
    assert!(!victim.join("web").exists() && app.delta(1, 2).exists());
}
