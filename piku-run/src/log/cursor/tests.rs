use super::*;
use std::fs::OpenOptions;
use std::io::Write;

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn all(source: &mut LogCursor) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        source.look().unwrap();
        if source.time().is_none() {
            return lines;
        }
        lines.push(String::from_utf8(source.take().to_vec()).unwrap());
    }
}

fn last(path: &Path, count: usize) -> (Vec<String>, usize) {
    let (mut source, found) = LogCursor::last(path.to_owned(), count).unwrap();
    (all(&mut source), found)
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
    let (mut source, found) = LogCursor::last(path.clone(), 2).unwrap();
    assert_eq!((all(&mut source), found), (vec!["e".to_owned()], 2));
    assert_eq!(source.unfinished(), b"unfinished");
    append(&path, " no more\n");
    assert_eq!(all(&mut source), ["unfinished no more"]);
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
fn goes_on_through_rotations_removal_and_truncation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.1.log");
    let line = |second: u32| format!("2026-11-22T10:00:{second:02}.000Z web.1: {second}\n");
    let shown = |second: u32| line(second).trim_end().to_owned();
    append(&path, &line(1));
    let (mut source, _) = LogCursor::last(path.clone(), 9).unwrap();
    assert_eq!(all(&mut source), [shown(1)]);
    // Three rotations between two looks, with lines before each.
    for second in [2, 3, 4] {
        append(&path, &line(second));
        crate::log::rotate::rotate(&path, 5).unwrap();
    }
    assert_eq!(all(&mut source), [shown(2), shown(3), shown(4)]);
    append(&path, &line(5));
    assert_eq!(all(&mut source), [shown(5)]);
    // So many that the file at hand is gone: what is still there is shown, from the oldest on, and nothing twice.
    for second in [6, 7, 8] {
        crate::log::rotate::rotate(&path, 2).unwrap();
        append(&path, &line(second));
    }
    assert_eq!(all(&mut source), [shown(6), shown(7), shown(8)]);
    fs::remove_file(&path).unwrap();
    append(&path, &line(9));
    assert_eq!(all(&mut source), [shown(9)]);
    fs::write(&path, "").unwrap();
    assert_eq!(all(&mut source), [""; 0]);
    append(&path, &line(10));
    assert_eq!(all(&mut source), [shown(10)]);
}
