use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use piku_layout::paths::PikuRoot;

use super::*;

/// The difference of the first program from the second, and of the second from the third, as an older piku
/// wrote them.
const FRAMES: [&[u8]; 2] = [
    &[
        40, 181, 47, 253, 164, 163, 134, 1, 0, 189, 0, 0, 32, 1, 1, 1, 1, 3, 16, 16, 45, 181, 169, 225, 62,
        132, 13, 166, 134, 249, 149, 55, 53, 172, 130, 78, 84, 229, 20,
    ],
    &[
        40, 181, 47, 253, 164, 163, 134, 1, 0, 189, 0, 0, 32, 2, 2, 2, 2, 3, 16, 16, 45, 181, 169, 225, 62,
        132, 13, 166, 134, 249, 149, 55, 53, 172, 130, 66, 108, 187, 182,
    ],
];

/// Returns a program of which a line has changed; nothing can compress it.
fn program(version: u8) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut program: Vec<u8> = std::iter::repeat_with(next).take(100_000).collect();
    program[1000] = version;
    program.splice(70_000..70_000, [version; 3]);
    program
}

fn date(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * number)
}

/// Three releases; of the first two an older piku has kept what differs.
struct FoldedApp {
    _dir: tempfile::TempDir,
    at: AppDir,
}

impl FoldedApp {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"shop".parse().unwrap());
        let app = Self { _dir: dir, at };
        for number in 1..=3 {
            fs::create_dir_all(app.file(number).parent().unwrap()).unwrap();
        }
        fs::write(app.file(3), program(3)).unwrap();
        app.fold(1, FRAMES[0]);
        app.fold(2, FRAMES[1]);
        app
    }

    fn file(&self, number: u64) -> PathBuf {
        self.at.release(number).join("app/bin/web")
    }

    fn delta(&self, number: u64) -> PathBuf {
        self.at.release(number).join(format!("delta/{}/bin/web", number + 1))
    }

    fn fold(&self, number: u64, frame: &[u8]) {
        let delta = self.delta(number);
        fs::create_dir_all(delta.parent().unwrap()).unwrap();
        fs::write(&delta, frame).unwrap();
        fs::set_permissions(&delta, Permissions::from_mode(0o755)).unwrap();
        File::open(&delta).unwrap().set_modified(date(number)).unwrap();
        fs::write(self.at.release(number).join("delta/done"), "").unwrap();
    }

    fn is_folded(&self) -> [bool; 3] {
        [1, 2, 3].map(|number| is_folded(&self.at.release(number)))
    }

    fn is_whole(&self, number: u64) {
        let (path, expected) = (self.file(number), program(u8::try_from(number).unwrap()));
        assert!(fs::read(&path).unwrap() == expected, "release {number}");
        let meta = fs::metadata(path).unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.modified().unwrap()), (0o755, date(number)));
        let names = fs::read_dir(self.at.release(number)).unwrap().count();
        assert_eq!(names, 1, "nothing but the tree of release {number}");
    }
}

#[test]
fn what_an_older_piku_has_folded_comes_back() {
    let app = FoldedApp::new();
    assert_eq!(app.is_folded(), [true, true, false]);
    unfold(&app.at, 3).unwrap();
    assert_eq!(app.is_folded(), [true, true, false]);
    // The first one differs from the second, and that from the third.
    unfold(&app.at, 1).unwrap();
    assert_eq!(app.is_folded(), [false; 3]);
    app.is_whole(1);
    app.is_whole(2);
}

#[test]
fn a_release_that_others_differ_from_goes_once_they_are_whole() {
    let app = FoldedApp::new();
    unfold_dependents(&app.at, 2).unwrap();
    app.is_whole(1);
    app.is_whole(2);
    let app = FoldedApp::new();
    unfold_dependents(&app.at, 3).unwrap();
    assert_eq!(app.is_folded(), [true, false, false], "the second differed from it");
    app.is_whole(2);
}

#[test]
fn who_is_killed_between_two_steps_has_lost_nothing() {
    let app = FoldedApp::new();
    unfold(&app.at, 2).unwrap();
    // The file is back, and what stood for it is still there: the file counts. One in the making does not.
    app.fold(2, b"no frame");
    fs::write(app.at.release(2).join(format!(".unfolded.{}", std::process::id())), "half").unwrap();
    app.fold(1, FRAMES[0]);
    fs::write(app.at.release(1).join(format!(".unfolded.{}", std::process::id())), "half").unwrap();
    unfold(&app.at, 1).unwrap();
    app.is_whole(1);
    assert!(fs::read(app.file(2)).unwrap() == program(2));
    assert_eq!(app.is_folded(), [false; 3]);
}

#[test]
fn another_file_than_it_was_made_from_is_an_error_and_never_another_program() {
    let app = FoldedApp::new();
    let mut other = program(3);
    other[5000] ^= 1;
    fs::write(app.file(3), other).unwrap();
    let err = format!("{:#}", unfold(&app.at, 1).unwrap_err());
    assert!(err.contains("cannot make release 2 whole: 'bin/web'"), "{err}");
    assert!(!app.file(1).exists() && !app.file(2).exists());
    let names = fs::read_dir(app.at.release(2)).unwrap().count();
    assert_eq!(names, 2, "the tree and what differs");
    fs::remove_file(app.file(3)).unwrap();
    let err = format!("{:#}", unfold(&app.at, 1).unwrap_err());
    assert!(err.contains("the file that it differs from is gone"), "{err}");
    fs::write(app.file(3), program(3)).unwrap();
    unfold(&app.at, 1).unwrap();
    app.is_whole(1);
    // It would never end.
    fs::create_dir_all(app.at.release(3).join("delta/3")).unwrap();
    assert!(unfold(&app.at, 3).unwrap_err().to_string().contains("older"));
}

#[test]
fn a_frame_that_grows_beyond_all_that_was_folded_is_given_up() {
    let app = FoldedApp::new();
    // A frame of one segment and 40 MiB, all of it zeros: blocks of 128 KiB that repeat a byte.
    let (size, block) = (40_u32 << 20, 128_u32 << 10);
    let mut frame = vec![40, 181, 47, 253, 0b1010_0000];
    frame.extend(size.to_le_bytes());
    for at in 0..size / block {
        let is_last = u32::from(at + 1 == size / block);
        frame.extend(&(is_last | 1 << 1 | block << 3).to_le_bytes()[..3]);
        frame.push(0);
    }
    app.fold(2, &frame);
    let err = format!("{:#}", unfold(&app.at, 2).unwrap_err());
    assert!(err.contains("larger than it may be"), "{err}");
    assert!(!app.file(2).exists() && app.delta(2).exists());
    // As much as is allowed is read.
    let (size, last) = (32_u32 << 20, frame.len() - 4);
    frame[5..9].copy_from_slice(&size.to_le_bytes());
    let kept = 9 + 4 * (size / block) as usize;
    frame.copy_within(last.., kept - 4);
    frame.truncate(kept);
    app.fold(2, &frame);
    unfold(&app.at, 2).unwrap();
    assert_eq!(fs::metadata(app.file(2)).unwrap().len(), u64::from(size));
}

#[test]
fn links_lead_neither_out_of_the_release_nor_out_of_its_base() {
    let app = FoldedApp::new();
    let victim = app.at.path().join("victim");
    fs::create_dir(&victim).unwrap();
    // What lies outside is nothing to differ from: the base's folder is a link, or the file is, or a pipe has
    // its place.
    fs::rename(app.file(3), victim.join("web")).unwrap();
    symlink(victim.join("web"), app.file(3)).unwrap();
    assert!(unfold(&app.at, 2).is_err());
    fs::remove_file(app.file(3)).unwrap();
    nix::unistd::mkfifo(&app.file(3), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(unfold(&app.at, 2).is_err());
    fs::remove_dir_all(app.file(3).parent().unwrap()).unwrap();
    symlink(&victim, app.file(3).parent().unwrap()).unwrap();
    assert!(unfold(&app.at, 2).is_err());
    fs::remove_file(app.file(3).parent().unwrap()).unwrap();
    fs::create_dir(app.file(3).parent().unwrap()).unwrap();
    fs::rename(victim.join("web"), app.file(3)).unwrap();
    // What stands for a file comes back into the release, or not at all.
    fs::remove_dir(app.file(2).parent().unwrap()).unwrap();
    symlink(&victim, app.file(2).parent().unwrap()).unwrap();
    assert!(unfold(&app.at, 2).is_err());
    assert!(!victim.join("web").exists() && app.delta(2).exists());
}
