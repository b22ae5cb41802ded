use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use piku_layout::paths::PikuRoot;
use piku_release::manifest::ReleaseLayer;

use super::*;

fn app() -> (tempfile::TempDir, AppDir) {
    let dir = tempfile::tempdir().unwrap();
    let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
    (dir, app)
}

/// Writes a release that needs one layer.
pub(crate) fn write_release(app: &AppDir, number: u64, layer: &str) -> BuiltRelease {
    let folder = app.release(number);
    fs::create_dir_all(folder.join("app/deep/er")).unwrap();
    fs::write(folder.join("app/deep/er/file"), "x".repeat(10_000)).unwrap();
    fs::create_dir_all(app.layers().join(layer).join("content")).unwrap();
    let release = BuiltRelease {
        app: "blog".parse().unwrap(),
        number,
        commit: format!("{number:040}"),
        subject: format!("Change {number}"),
        by: "ann".to_owned(),
        origin: ReleaseOrigin::Deploy,
        tree_of: None,
        at: "2026-11-22T10:00:00Z".parse().unwrap(),
        architecture: "x86_64".to_owned(),
        native: None,
        runtime: "python".to_owned(),
        version: None,
        version_from: None,
        profile: false,
        kept: Vec::new(),
        layers: vec![ReleaseLayer {
            name: "venv".to_owned(),
            key: layer.to_owned(),
            mount: PathBuf::from("/layers/venv"),
        }],
        host: Vec::new(),
        processes: indexmap::IndexMap::new(),
        formation: std::collections::BTreeMap::new(),
        env: std::collections::BTreeMap::new(),
        jailed: true,
    };
    release.write(&folder).unwrap();
    release
}

pub(crate) fn set_live(app: &AppDir, number: u64) {
    let _ = fs::remove_file(app.current());
    symlink(format!("releases/{number}"), app.current()).unwrap();
}

#[test]
fn newest_first_with_what_each_is() {
    let (_dir, app) = app();
    assert_eq!(list_releases(&app).unwrap(), []);
    for number in [1, 2, 3, 10] {
        write_release(&app, number, "a");
    }
    set_live(&app, 3);
    fs::write(app.release(1).join("release.yaml"), "app: [").unwrap();
    fs::create_dir_all(app.log()).unwrap();
    let attempt = DeployAttempt {
        commit: "f".repeat(40),
        subject: "No good".to_owned(),
        by: "bob".to_owned(),
        at: "2026-11-22T10:00:00Z".to_owned(),
    };
    // Of the tenth there is a release.
    for number in [5, 10] {
        attempt.write(&app.attempt(number)).unwrap();
    }
    let rows = list_releases(&app).unwrap();
    let told: Vec<(u64, &str)> = rows.iter().map(|row| (row.release, row.state.as_str())).collect();
    assert_eq!(told, [(10, "deploying"), (5, "failed"), (3, "live"), (2, "previous"), (1, "broken")]);
    let json = output::render(OutputFormat::Json, &rows[2], String::new).unwrap();
    let expected = serde_json::json!({
        "release": 3, "commit": format!("{:040}", 3), "subject": "Change 3", "by": "ann",
        "at": "2026-11-22T10:00:00Z", "state": "live", "origin": "deploy", "tree_of": null,
        "architecture": "x86_64", "native": null,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
    let expected = "\
RELEASE  STATE     AT                    COMMIT   FOR     BY   SUBJECT
2        previous  2026-11-22T10:00:00Z  0000000  x86_64  ann  Change 2
1        broken    -
";
    assert_eq!(render_table(&rows[3..]), expected);
}
