use std::os::unix::fs::{PermissionsExt, symlink};

use piku_layout::paths::{AppDir, PikuRoot};
use piku_procfile::env::EnvFile;

use super::*;

fn set(pairs: &[(&str, &str)]) -> ConfigEdit {
    ConfigEdit::Set(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn config(pairs: &[(&str, &str)]) -> ConfigValues {
    set(pairs).apply(&ConfigValues::default()).unwrap().0
}

#[test]
fn any_value_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let all: String = (1..=0x2_ffff).filter_map(char::from_u32).collect();
    let small: String = all.chars().take(30_000).collect();
    let values =
        ["", " a  b ", "it's \"q\" $HOME `x` $(y) \\n", "two\nlines\r\n", "{\"k\": [1]}", "=a=b", &small];
    let names: Vec<String> = (0..values.len()).map(|number| format!("V{number}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
    let written = config(&pairs);
    written.write(&path).unwrap();
    let read = ConfigValues::read(&path).unwrap();
    assert_eq!(read, written);
    assert!(read.0.values().eq(values.iter()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // The text form is what `import` reads.
    let text = EnvFile { vars: read.0, ..EnvFile::default() }.to_text();
    let (imported, _) = ConfigEdit::Import(text.into_bytes()).apply(&ConfigValues::default()).unwrap();
    assert_eq!(imported.get("V2"), Some(values[2]));
}

#[test]
fn a_bad_one_changes_nothing() {
    let before = config(&[("A", "1")]);
    for bad in [("1X", "v"), ("", "v"), ("A-B", "v"), ("B", "a\0b"), ("B", &"x".repeat(MAX_STRING))] {
        assert!(set(&[("A", "2"), bad]).apply(&before).is_err(), "{:?}", bad.0);
    }
    assert!(ConfigEdit::Import(b"A=2\nB: 3\n".to_vec()).apply(&before).is_err());
    // The longest one that Linux takes does reach a program.
    let longest = "x".repeat(MAX_STRING - 3);
    set(&[("L", &longest)]).apply(&before).unwrap();
    let mut command = std::process::Command::new("sh");
    let out = command.args(["-c", "printf %s \"${#L}\""]).env_clear().env("L", &longest).output().unwrap();
    assert_eq!(out.stdout, longest.len().to_string().into_bytes());
    assert_eq!(parse_assignment("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
    assert_eq!(format!("{:#}", parse_assignment("s3cret").unwrap_err()), "expected NAME=value");
}

#[test]
fn json_of_heroku_and_dokku_is_imported_as_it_is() {
    let before = config(&[("A", "1")]);
    let import = |text: &str| ConfigEdit::Import(text.as_bytes().to_vec()).apply(&before);
    let (new, _) = import("\n{\"B\": \"it's $A \\\"q\\\"\\nnext\", \"A\": \"\"}\n").unwrap();
    assert_eq!(new, config(&[("A", ""), ("B", "it's $A \"q\"\nnext")]));
    for bad in
        ["{\"s3cret\": 1}", "{\"A\": \"s3cret\"", "{\"A\": {\"B\": \"s3cret\"}}", "{\"a-b\": \"s3cret\"}"]
    {
        let said = format!("{:#}", import(bad).unwrap_err());
        assert!(!said.contains("s3cret"), "{bad}: {said}");
    }
}

#[test]
fn a_change_is_told_by_its_names_and_can_be_made_elsewhere() {
    let old = config(&[("A", "1"), ("B", "2"), ("GONE", "x")]);
    let (new, _) = set(&[("A", "s3cret"), ("B", "2"), ("C", "3")]).apply(&old).unwrap();
    let (new, _) = ConfigEdit::Unset(vec!["GONE".to_owned(), "NONE".to_owned()]).apply(&new).unwrap();
    let change = ConfigChange::between(&old, &new);
    assert_eq!(change.to_string(), "set A, C; unset GONE");
    let mut other = config(&[("OTHER", "o"), ("GONE", "y")]);
    change.apply(&mut other);
    assert_eq!(other, config(&[("OTHER", "o"), ("A", "s3cret"), ("C", "3")]));
    assert!(ConfigChange::between(&new, &new).is_empty());
    assert_eq!(ConfigChange::between(&new, &old).to_string(), "set A, GONE; unset C");
    let (imported, _) = ConfigEdit::Import(b"C=\"x y\" # c\nB=2\n".to_vec()).apply(&old).unwrap();
    assert_eq!(ConfigChange::between(&old, &imported).to_string(), "set C");
}

#[test]
fn a_broken_file_is_never_taken_for_empty() {
    let (_dir, app) = app();
    for broken in ["", "{", "[]", "{\"A\": 1}", "{\"A-B\": \"x\"}", "{\"A\": \"\\u0000\"}"] {
        fs::write(app.config(), broken).unwrap();
        assert!(ConfigValues::read(&app.config()).is_err(), "{broken:?}");
        assert!(
            store::apply(&app, &ConfigChange::between(&ConfigValues::default(), &config(&[("A", "1")])))
                .is_err()
        );
        assert_eq!(fs::read_to_string(app.config()).unwrap(), broken);
    }
}

fn app() -> (tempfile::TempDir, AppDir) {
    let dir = tempfile::tempdir().unwrap();
    let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
    fs::create_dir_all(app.path()).unwrap();
    (dir, app)
}

#[test]
fn changes_at_the_same_time_all_stay() {
    let (_dir, app) = app();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let app = &app;
            scope.spawn(move || {
                for round in 0..5 {
                    let one = config(&[(&format!("T{thread}_{round}"), "x")]);
                    store::apply(app, &ConfigChange::between(&ConfigValues::default(), &one)).unwrap();
                }
            });
        }
    });
    assert_eq!(store::read(&app).unwrap().0.len(), 40);
}

#[test]
fn the_store_follows_what_is_live_once_and_nothing_else() {
    let (_dir, app) = app();
    let old = config(&[("A", "1"), ("B", "1")]);
    old.write(&app.config()).unwrap();
    for number in [1, 2] {
        fs::create_dir_all(app.release(number)).unwrap();
    }
    store::write_beside(&app.release(1), &old, &ConfigChange::default()).unwrap();
    let new = config(&[("A", "2"), ("B", "1")]);
    store::write_beside(&app.release(2), &new, &ConfigChange::between(&old, &new)).unwrap();
    symlink("releases/1", app.current()).unwrap();
    assert_eq!(store::read(&app).unwrap(), old, "release 2 is on trial");
    // Stored meanwhile, for later.
    store::apply(&app, &ConfigChange::between(&old, &config(&[("A", "1"), ("B", "3")]))).unwrap();

    fs::remove_file(app.current()).unwrap();
    symlink("releases/2", app.current()).unwrap();
    assert_eq!(store::read(&app).unwrap(), config(&[("A", "2"), ("B", "3")]));
    store::apply(&app, &ConfigChange::between(&new, &old)).unwrap();
    assert_eq!(store::read(&app).unwrap(), config(&[("A", "1"), ("B", "3")]), "not a second time");
    assert_eq!(store::of_release(&app, 2).unwrap(), Some(new));
    assert_eq!(store::of_release(&app, 3).unwrap(), None);
    let mode = fs::metadata(app.release(2).join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
