use super::*;
use std::fs::OpenOptions;
use std::io::Write;

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn read_lines(cursor: &mut LogCursor) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        cursor.find_line().unwrap();
        if cursor.line_time().is_none() {
            return lines;
        }
        lines.push(String::from_utf8(cursor.take_line().to_vec()).unwrap());
    }
}

fn last(path: &Path, count: usize) -> (Vec<String>, usize) {
    let (mut cursor, found) = LogCursor::before_last_lines(path.to_owned(), count).unwrap();
    (read_lines(&mut cursor), found)
}

#[test]
fn the_last_lines_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.1.log");
    assert_eq!(last(&path, 3), (vec![], 0));
    append(&numbered(&path, 3), "a\nb\n");
    append(&numbered(&path, 1), "c\n\n");
    append(&path, "d\ne\n");
    assert_eq!(last(&path, 0), (vec![], 0));
    assert_eq!(last(&path, 1), (vec!["e".to_owned()], 1));
    assert_eq!(last(&path, 2).0, ["d", "e"]);
    assert_eq!(last(&path, 3).0, ["", "d", "e"]);
    assert_eq!(last(&path, 5).0, ["b", "c", "", "d", "e"]);
    assert_eq!(last(&path, usize::MAX), (["a", "b", "c", "", "d", "e"].map(String::from).to_vec(), 6));
    append(&path, "unfinished");
    let (mut cursor, found) = LogCursor::before_last_lines(path.clone(), 2).unwrap();
    assert_eq!((read_lines(&mut cursor), found), (vec!["e".to_owned()], 2));
    assert_eq!(cursor.unfinished_line(), b"unfinished");
    append(&path, " no more\n");
    assert_eq!(read_lines(&mut cursor), ["unfinished no more"]);
}

#[test]
fn lines_longer_than_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.1.log");
    let long = "x".repeat(BLOCK * 3 + 7);
    append(&path, &format!("one\n{long}\nthree\n"));
    assert_eq!(last(&path, 2).0, [long.as_str(), "three"]);
}

#[test]
fn reading_continues_through_rotation_removal_and_truncation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.1.log");
    let line = |second: u32| format!("2026-11-22T10:00:{second:02}.000Z web.1: {second}\n");
    let shown = |second: u32| line(second).trim_end().to_owned();
    append(&path, &line(1));
    let (mut cursor, _) = LogCursor::before_last_lines(path.clone(), 9).unwrap();
    assert_eq!(read_lines(&mut cursor), [shown(1)]);
    // Three rotations between two reads, with lines before each.
    for second in [2, 3, 4] {
        append(&path, &line(second));
        crate::log::rotate::rotate(&path, 5).unwrap();
    }
    assert_eq!(read_lines(&mut cursor), [shown(2), shown(3), shown(4)]);
    append(&path, &line(5));
    assert_eq!(read_lines(&mut cursor), [shown(5)]);
    // After so many rotations the current file is gone: the remaining lines are read, oldest first, none
    // twice.
    for second in [6, 7, 8] {
        crate::log::rotate::rotate(&path, 2).unwrap();
        append(&path, &line(second));
    }
    assert_eq!(read_lines(&mut cursor), [shown(6), shown(7), shown(8)]);
    fs::remove_file(&path).unwrap();
    append(&path, &line(9));
    assert_eq!(read_lines(&mut cursor), [shown(9)]);
    fs::write(&path, "").unwrap();
    assert_eq!(read_lines(&mut cursor), [""; 0]);
    append(&path, &line(10));
    assert_eq!(read_lines(&mut cursor), [shown(10)]);
}
