use super::*;
use crate::log::rotate::numbered;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const TIME: &str = "2026-11-22T10:00:00.123Z";
const PREFIX: &str = "2026-11-22T10:00:00.123Z web.1: ";
const REMARK: &str = "2026-11-22T10:00:00.123Z web.1 piku: ";

fn now() -> Timestamp {
    TIME.parse().unwrap()
}

/// Returns a new directory and the path of a log in it.
fn log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log").join("web.1.log");
    (dir, path)
}

/// Returns all bytes of a log, older files first.
fn read_all(path: &Path) -> Vec<u8> {
    let older = (1..=500).rev().map(|age| numbered(path, age)).filter(|path| path.exists());
    older.chain([path.to_owned()]).flat_map(|path| fs::read(path).unwrap()).collect()
}

/// Pseudo-random numbers that are the same each time, so that a failure can be reproduced.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    /// Returns lines of arbitrary bytes, most of them short, some empty, a few very long.
    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(60) {
            let length = match self.below(40) {
                0 => self.below(3 * line::MAX_TEXT),
                1..5 => 0,
                _ => self.below(120),
            };
            text.extend((0..length).map(|_| u8::try_from(self.below(256)).unwrap()).filter(|b| *b != b'\n'));
            text.push(b'\n');
        }
        text.extend((0..self.below(50)).map(|_| b'z'));
        text
    }

    /// Cuts the text into pieces of any size.
    fn cut<'a>(&mut self, mut text: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let most = [3, 100, 5000, 70_000][self.below(4)];
            let (piece, rest) = text.split_at((1 + self.below(most)).min(text.len()));
            pieces.push(piece);
            text = rest;
        }
        pieces
    }
}

/// Checks that a log has the lines of the text. Only a line longer than the limit may have become several.
fn assert_same(log: &[u8], text: &[u8]) {
    let whole = log.strip_suffix(b"\n").unwrap_or(log);
    let mut texts = whole.split(|b| *b == b'\n').map(|line| {
        line.strip_prefix(PREFIX.as_bytes()).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line)))
    });
    for expected in text.strip_suffix(b"\n").unwrap_or(text).split(|b| *b == b'\n') {
        let mut found = texts.next().unwrap().to_vec();
        let mut pieces = 1;
        while found.len() < expected.len() {
            found.extend(texts.next().unwrap());
            pieces += 1;
        }
        assert!(found == expected, "{} bytes for {}", found.len(), expected.len());
        assert!(pieces <= expected.len() / line::MAX_TEXT + 1, "{pieces} pieces of {}", expected.len());
    }
    assert_eq!(texts.next(), None);
}

#[test]
fn each_line_has_its_time_and_name_however_it_is_cut() {
    let (_dir, path) = log();
    let mut writer = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
    for piece in ["on", "e\ntw", "o\n\nth", "ree"] {
        writer.feed(piece.as_bytes(), now());
    }
    writer.write_remark("ended", now());
    writer.feed(b"four\n", now());
    let expected = ["one", "two", "", "three"].map(|text| format!("{PREFIX}{text}\n")).concat();
    assert_eq!(fs::read_to_string(path).unwrap(), format!("{expected}{REMARK}ended\n{PREFIX}four\n"));
    assert_eq!(writer.last_lines(3), ["two", "three", "four"]);
    assert_eq!(writer.last_lines(0), [""; 0]);
}

#[test]
fn no_byte_is_lost_however_often_the_supervisor_is_killed() {
    for seed in 1..=60 {
        let mut random = Random(seed);
        let (_dir, path) = log();
        let limits = RotationLimits { bytes: [300, 20_000, 10_000_000][random.below(3)], keep: 500 };
        let mut writer = LogWriter::open(path.clone(), limits).unwrap();
        let text = random.text();
        for piece in random.cut(&text) {
            if random.below(4) == 0 {
                // Opening a second writer before the first is dropped stands for a kill -9.
                writer = LogWriter::open(path.clone(), limits).unwrap();
            }
            writer.feed(piece, now());
        }
        if !text.is_empty() {
            assert_same(&read_all(&path), &text);
        }
    }
}

#[test]
fn a_line_is_never_cut_inside_a_character() {
    let (_dir, path) = log();
    let mut writer = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
    for unit in ["x", "ä", "€", "🦀"] {
        let text = format!("{}{}\n", "y".repeat(unit.len() - 1), unit.repeat(line::MAX_TEXT));
        for piece in text.as_bytes().chunks(1000) {
            writer.feed(piece, now());
        }
    }
    let text = fs::read_to_string(path).unwrap();
    let longest = text.lines().map(str::len).max().unwrap();
    assert!(longest <= PREFIX.len() + line::MAX_TEXT + 3, "{longest}");
    assert!(text.lines().all(|line| line.len() > PREFIX.len()), "no line is empty");
}

#[test]
fn full_files_are_rotated_at_a_lines_end_and_the_oldest_removed() {
    let (_dir, path) = log();
    let limits = RotationLimits { bytes: 10_000, keep: 3 };
    let mut writer = LogWriter::open(path.clone(), limits).unwrap();
    for number in 0..2000 {
        // No piece ends where a line ends.
        let line = format!("line {number:05}\nstill ");
        writer.feed(line.as_bytes(), now());
    }
    writer.write_remark("ended", now());
    let names: Vec<PathBuf> = (1..=4).map(|age| numbered(&path, age)).collect();
    assert_eq!(names.iter().map(|path| path.exists()).collect::<Vec<_>>(), [true, true, true, false]);
    for full in &names[..3] {
        let text = fs::read_to_string(full).unwrap();
        assert!((10_000..10_100).contains(&text.len()), "{}", text.len());
        assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with(PREFIX)));
    }
    let text = String::from_utf8(read_all(&path)).unwrap();
    let numbers = text.lines().filter_map(|line| line.split("line ").nth(1)?.parse::<u32>().ok());
    let numbers: Vec<u32> = numbers.collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing is missing in between");
    assert_eq!(numbers.last(), Some(&1999));
    // The last lines are found in rotated files too.
    assert_eq!(writer.last_lines(2), ["still line 01999", "still "]);
    assert_eq!(writer.last_lines(200).len(), 200);
}

#[test]
fn the_last_lines_are_those_since_it_was_opened() {
    let (_dir, path) = log();
    LogWriter::open(path.clone(), RotationLimits::default()).unwrap().feed(b"of the old release\n", now());
    let mut writer = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
    assert_eq!(writer.last_lines(9), [""; 0]);
    writer.write_remark("release 2 starts", now());
    let long = "y".repeat(3000);
    writer
        .feed(format!("\x1b[31mTraceback\x1b[0m\r\n\n\n{long}\nNo module\tnamed \"app\"").as_bytes(), now());
    let cut = format!("{}…", "y".repeat(1000));
    assert_eq!(writer.last_lines(9), ["Traceback", &cut, "No module\tnamed \"app\""]);
}

#[test]
fn two_writers_cut_lines_and_never_mix_them() {
    let (_dir, path) = log();
    let limits = RotationLimits { bytes: 2000, keep: 500 };
    let mut old = LogWriter::open(path.clone(), limits).unwrap();
    old.feed(b"old be", now());
    let mut new = LogWriter::open(path.clone(), limits).unwrap();
    new.write_remark("starts", now());
    old.feed(b"gins\n", now());
    for number in 0..200 {
        old.feed(format!("o{number}\nold ").as_bytes(), now());
        new.feed(format!("n{number}\nnew ").as_bytes(), now());
    }
    let text = String::from_utf8(read_all(&path)).unwrap();
    assert!(
        text.starts_with(&format!(
            "{PREFIX}old be\n{REMARK}starts\n{PREFIX}gins\n{PREFIX}o0\n{PREFIX}old \n"
        ))
    );
    assert!(text.lines().all(|line| line.matches(TIME).count() == 1), "{text}");
    for number in 0..200 {
        assert_eq!(text.matches(&format!("{PREFIX}o{number}\n")).count(), 1);
        assert_eq!(text.matches(&format!("{PREFIX}n{number}\n")).count(), 1);
    }
}

#[test]
fn an_operator_may_remove_move_or_empty_the_log() {
    let (_dir, path) = log();
    let mut writer = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
    writer.feed(b"one\ntwo", now());
    fs::remove_file(&path).unwrap();
    writer.feed(b"three\n", now());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{PREFIX}three\n"));
    fs::rename(&path, path.with_extension("old")).unwrap();
    writer.feed(b"four\n", now());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{PREFIX}four\n"));
    fs::write(&path, "").unwrap();
    writer.feed(b"five\n", now());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{PREFIX}five\n"));
    fs::write(&path, "torn").unwrap();
    writer.feed(b"six\n", now());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("torn\n{PREFIX}six\n"));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    writer.feed(b"seven\n", now());
    assert_eq!(writer.last_lines(5), ["seven"]);
}

#[test]
fn dropped_lines_are_counted_and_reported_when_there_is_space_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.1.log");
    // Every write to this device fails as on a full disk.
    symlink("/dev/full", &path).unwrap();
    let mut writer = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
    writer.feed(b"one\ntwo\n", now());
    writer.write_remark("a remark", now());
    writer.feed(b"three", now());
    writer.flush();
    assert_eq!(writer.last_lines(2), ["a remark", "three"]);
    fs::remove_file(&path).unwrap();
    writer.flush();
    let text = fs::read_to_string(&path).unwrap();
    let (before, remark) = text.split_once(" web.1 piku: ").unwrap();
    assert_eq!(before.len(), TIME.len());
    assert_eq!(
        remark,
        format!("3 lines (22 bytes) lost since {TIME}: No space left on device (os error 28)\n")
    );
    writer.feed(b"four\n", now());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}{PREFIX}four\n"));
}

/// Runs the named test again in a mount namespace with a small tmpfs. There it returns the tmpfs; in the
/// outer run, and on a host without user namespaces (where it prints that the test is skipped), it returns
/// `None`.
fn rerun_on_small_disk(test: &str) -> Option<PathBuf> {
    const FOLDER: &str = "PIKU_TEST_SMALL_DISK";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(PathBuf::from(folder));
    }
    let dir = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(dir.path()).arg(exe).args([test, "--exact", "--nocapture"]).env(FOLDER, dir.path());
        command.output()
    };
    let mount = "mount -t tmpfs -o size=256k none \"$1\"";
    if !unshare(mount).is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "cannot make a user namespace with a tmpfs");
        let _ = writeln!(io::stderr(), "skipped: {test}: cannot make a user namespace with a tmpfs");
        return None;
    }
    let out = unshare(&format!("{mount} && shift && exec \"$@\"")).unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    None
}

#[test]
fn a_full_disk_stops_nothing_and_leaves_whole_lines() {
    let name = "log::writer::tests::a_full_disk_stops_nothing_and_leaves_whole_lines";
    let Some(folder) = rerun_on_small_disk(name) else { return };
    let path = folder.join("web.1.log");
    let filler = folder.join("filler");
    let limits = RotationLimits { bytes: 50_000, keep: 2 };
    let mut writer = LogWriter::open(path.clone(), limits).unwrap();
    let mut fed = 0;
    for round in 0..4 {
        // Fill it to its last byte, so that there is no space for the log's next page.
        let mut file = File::create(&filler).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
        drop(file);
        for _ in 0..500 {
            writer.feed(format!("line {fed:06} of round {round}\npart of").as_bytes(), now());
            fed += 1;
        }
        assert_eq!(writer.last_lines(1).len(), 1);
        fs::remove_file(&filler).unwrap();
        writer.feed(b" a line\n", now());
    }
    let text = String::from_utf8(read_all(&path)).unwrap();
    let lost: Vec<&str> = text.lines().filter(|line| line.contains(" lost since ")).collect();
    assert_eq!(lost.len(), 4, "{text}");
    assert!(lost.iter().all(|line| line.ends_with(": No space left on device (os error 28)")), "{lost:?}");
    assert!(text.lines().all(|line| line.matches(TIME).count() <= 2 && line.starts_with(TIME)), "{text}");
    let count =
        |line: &str| line.split_whitespace().nth(3).and_then(|count| count.parse::<usize>().ok()).unwrap();
    let dropped: usize = lost.iter().map(|line| count(line)).sum();
    let kept = text.lines().filter(|line| line.contains("line 0")).count();
    assert_eq!(kept + dropped, fed, "each line is in the log or counted");
}

#[test]
fn a_log_that_cannot_be_rotated_does_not_grow_for_ever() {
    let (_dir, path) = log();
    let limits = RotationLimits { bytes: 1000, keep: 1 };
    let mut writer = LogWriter::open(path.clone(), limits).unwrap();
    // A directory has the name to which the file would be renamed.
    fs::create_dir_all(numbered(&path, 1).join("x")).unwrap();
    for _ in 0..10_000 {
        writer.feed(b"hello hello\n", now());
    }
    assert!(fs::metadata(&path).unwrap().len() < 140_000);
    fs::remove_dir_all(numbered(&path, 1)).unwrap();
    writer.feed(b"again\n", now());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("the log is over its size and cannot be rotated\n"), "{text}");
    assert!(text.ends_with(&format!("{PREFIX}again\n")));
}
