use super::*;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use piku_build::release::{Layer, Origin};
use piku_procfile::layout::Root;

fn app() -> (tempfile::TempDir, AppDir) {
    let dir = tempfile::tempdir().unwrap();
    let app = Root::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
    (dir, app)
}

/// A release on the disk that needs one layer.
fn release(app: &AppDir, number: u64, layer: &str) {
    let folder = app.release(number);
    fs::create_dir_all(folder.join("app/deep/er")).unwrap();
    fs::write(folder.join("app/deep/er/file"), "x").unwrap();
    fs::create_dir_all(app.layers().join(layer).join("content")).unwrap();
    let release = Release {
        app: "blog".parse().unwrap(),
        number,
        commit: format!("{number:040}"),
        subject: format!("Change {number}"),
        by: "ann".to_owned(),
        origin: Origin::Deploy,
        tree_of: None,
        at: "2026-11-22T10:00:00Z".parse().unwrap(),
        architecture: "x86_64".to_owned(),
        runtime: "python".to_owned(),
        version: None,
        version_from: None,
        profile: false,
        kept: Vec::new(),
        layers: vec![Layer {
            name: "venv".to_owned(),
            key: layer.to_owned(),
            mount: PathBuf::from("/layers/venv"),
        }],
        host: Vec::new(),
        processes: indexmap::IndexMap::new(),
        env: std::collections::BTreeMap::new(),
        jailed: true,
    };
    release.write(&folder).unwrap();
}

fn live(app: &AppDir, number: u64) {
    let _ = fs::remove_file(app.current());
    symlink(format!("releases/{number}"), app.current()).unwrap();
}

#[test]
fn newest_first_with_what_each_is() {
    let (_dir, app) = app();
    assert_eq!(list(&app).unwrap(), []);
    for number in [1, 2, 3, 10] {
        release(&app, number, "a");
    }
    live(&app, 3);
    fs::write(app.release(1).join("release.yaml"), "app: [").unwrap();
    let rows = list(&app).unwrap();
    let told: Vec<(u64, &str)> = rows.iter().map(|row| (row.release, row.state.as_str())).collect();
    assert_eq!(told, [(10, "newer"), (3, "live"), (2, "previous"), (1, "broken")]);
    let json = output::render(Format::Json, &rows[1], String::new).unwrap();
    let expected = serde_json::json!({
        "release": 3, "commit": format!("{:040}", 3), "subject": "Change 3", "by": "ann",
        "at": "2026-11-22T10:00:00Z", "state": "live",
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
    let expected = "\
RELEASE  STATE     AT                    COMMIT    BY   SUBJECT
2        previous  2026-11-22T10:00:00Z  00000000  ann  Change 2
1        broken    -
";
    assert_eq!(text(&rows[2..]), expected);
}

#[test]
fn the_newest_and_what_they_need_are_kept() {
    let (_dir, app) = app();
    for number in 1..=6 {
        release(&app, number, &format!("layer{}", number / 2));
    }
    // Nothing is live: nothing goes.
    assert_eq!(prune(&app, 1).unwrap(), Pruned::default());
    // Somebody went back to 5; 6 is not counted.
    live(&app, 5);
    let pruned = prune(&app, 3).unwrap();
    let expected = Pruned { releases: vec![1, 2], layers: vec!["layer0".to_owned()], left: vec![] };
    assert_eq!(pruned, expected);
    // Even when asked for less, the one before the live one stays.
    assert_eq!(prune(&app, 0).unwrap().releases, [3]);
    assert_eq!(app.release_numbers().unwrap(), [4, 5, 6]);
    assert_eq!(names(&app.layers()).unwrap(), ["layer2", "layer3"]);
    assert_eq!(names(&app.releases()).unwrap(), ["4", "5", "6"]);
    // A live release that is older than all others stays too.
    live(&app, 4);
    assert_eq!(prune(&app, 1).unwrap(), Pruned::default());
}

#[test]
fn layers_stay_while_a_release_does_not_say_what_it_needs() {
    let (_dir, app) = app();
    release(&app, 1, "a");
    release(&app, 2, "b");
    release(&app, 3, "b");
    live(&app, 3);
    fs::write(app.release(2).join("release.yaml"), "").unwrap();
    let pruned = prune(&app, 2).unwrap();
    assert_eq!((pruned.releases, pruned.layers), (vec![1], vec![]));
    assert_eq!(names(&app.layers()).unwrap(), ["a", "b"]);
}

#[test]
fn what_a_killed_removal_left_goes_the_next_time() {
    let (_dir, app) = app();
    release(&app, 7, "a");
    live(&app, 7);
    let half = app.releases().join(".3.gone/app/sub");
    fs::create_dir_all(&half).unwrap();
    fs::set_permissions(&half, fs::Permissions::from_mode(0o555)).unwrap();
    fs::create_dir_all(app.layers().join(".x.gone")).unwrap();
    assert_eq!(prune(&app, 5).unwrap(), Pruned::default());
    assert_eq!(names(&app.releases()).unwrap(), ["7"]);
    assert_eq!(names(&app.layers()).unwrap(), ["a"]);
}

#[test]
fn folders_that_are_not_writable_go_too_and_links_are_not_followed() {
    let (dir, app) = app();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    for number in 1..=3 {
        release(&app, number, "a");
    }
    live(&app, 3);
    let deep = app.release(1).join("app/deep");
    symlink(&outside, deep.join("link")).unwrap();
    for folder in [deep.join("er"), deep.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let pruned = prune(&app, 2).unwrap();
    assert_eq!((pruned.releases, pruned.left), (vec![1], vec![]));
    assert_eq!(names(&app.releases()).unwrap(), ["2", "3"]);
    assert!(outside.join("file").exists());
}
