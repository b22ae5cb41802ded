use super::*;

fn now() -> Timestamp {
    "2026-11-22T10:00:00.123Z".parse().unwrap()
}

const PREFIX: &str = "2026-11-22T10:00:00.123Z web.1: ";

/// A log in a folder of its own.
fn log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log").join("web.1.log");
    (dir, path)
}

#[test]
fn each_line_has_its_time_and_name_however_it_is_cut() {
    let (_dir, path) = log();
    let mut writer = LogWriter::open(path.clone()).unwrap();
    for piece in ["on", "e\ntw", "o\n\nth", "ree"] {
        writer.feed(piece.as_bytes(), now());
    }
    writer.line("ended", now());
    writer.feed(b"four\n", now());
    let expected = ["one", "two", "", "three"].map(|text| format!("{PREFIX}{text}\n")).concat();
    let expected = expected + "2026-11-22T10:00:00.123Z web.1 piku: ended\n" + PREFIX + "four\n";
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
    assert_eq!(writer.tail(3), ["two", "three", "four"]);
}
