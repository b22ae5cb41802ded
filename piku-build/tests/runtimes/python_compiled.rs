//! Compiled packages that apps share, from an index on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use piku_tests::index::Index;

use crate::support::{self, Ran, Running, World, until};

/// Replaces the compiled form of the first source in a file of the store by that of other code.
const REPLACE: &str = "\
import marshal, sys
with open(sys.argv[1], 'rb') as file: made = file.read()
size = int.from_bytes(made[4:8], 'little')
form = marshal.dumps(compile('VALUE = \"from the store\"', 'x', 'exec'))
with open(sys.argv[1], 'wb') as file:
    file.write(made[:4] + len(form).to_bytes(4, 'little') + form + made[8 + size:])
";

/// A module that is large enough for a place in the store.
fn module(value: &str) -> String {
    let functions = (0..5000).map(|number| format!("def f{number}(x):\n    return x + {number}\n"));
    functions.fold(format!("VALUE = {value:?}\n"), |text, function| text + &function)
}

/// Publishes a version of a package, with a small one beside it, with tests, and with a file that does not compile.
fn publish(index: &Index, version: &str) {
    let large = module(version);
    let files = [
        ("big/__init__.py", large.as_str()),
        ("big/old.py", "print 1\n"),
        ("big/deep/er.py", "x = 1\n"),
        ("big/tests/test_big.py", "x = 1\n"),
        ("small.py", "x = 1\n"),
    ];
    index.publish_files("big", version, &files);
}

fn app(index: &Index, version: &str) -> World {
    let world = World::new(&[
        ("Procfile", "web: python app.py\n"),
        ("app.py", "import big, big.deep.er, small\nprint(big.VALUE)\n"),
    ]);
    world.write("requirements.txt", format!("big=={version}\n"));
    world.write("ENV", format!("PIKU_INSTALLER=pip\nPIP_INDEX_URL={}\n", index.url()));
    world
}

fn store(world: &World) -> PathBuf {
    world.path("tools/compiled")
}

/// Returns the value that the package has in a release.
fn value(world: &World, release: &str) -> String {
    world.work(release, &["python", "app.py"]).good(&[]).stdout.trim().to_owned()
}

/// Returns the virtualenv of a release.
/// Starts an index that has these versions of the packages.
fn start_index(files: &tempfile::TempDir, versions: &[&str]) -> Index {
    let index = Index::start(&files.path().join("index"));
    for version in versions {
        publish(&index, version);
    }
    index
}

fn venv(world: &World, release: &str) -> PathBuf {
    world.content(&world.release(release).layers[0].key)
}

fn replace_form(world: &World, file: &Path) {
    let python = fs::canonicalize(venv(world, "1").join("bin/python")).expect("the app's Python");
    let status = Command::new(python).args(["-I", "-c", REPLACE]).arg(file).status();
    assert!(status.expect("python runs").success());
}

#[test]
fn a_package_is_compiled_once_for_all_apps() {
    if !support::has_jail() {
        return;
    }
    let files = tempfile::tempdir().expect("a folder");
    let index = start_index(&files, &["1.0", "2.0"]);
    let first = app(&index, "1.0").with_own_tools();
    first.build("1").good(&[]).not_said("compiled");
    let keys = support::names(&store(&first));
    assert!(keys.len() == 1 && keys[0].len() == 64, "{keys:?}");
    assert_eq!(value(&first, "1"), "1.0");

    // Python takes the files as they are; what the compiling step does is as ever.
    let ran = first.work("1", &["python", "-v", "-c", "import big, big.deep.er, small"]);
    for name in ["big/__init__.py", "big/deep/er.py", "small.py"] {
        let is_taken = |line: &str| line.contains(" matches ") && line.trim_end_matches('\'').ends_with(name);
        assert!(ran.stderr.lines().any(is_taken), "{name}\n{ran}");
    }
    let lib =
        fs::read_dir(venv(&first, "1").join("lib")).expect("lib").next().expect("an entry").expect("it");
    let packages = lib.path().join("site-packages");
    assert_eq!(support::names(&packages.join("big/__pycache__")).len(), 1);
    assert!(!packages.join("big/tests/__pycache__").exists());

    // Another app does not compile it.
    let key = store(&first).join(&keys[0]);
    replace_form(&first, &key);
    let second = app(&index, "1.0").with_tools_of(&first);
    second.build("1").good(&[]);
    assert_eq!(value(&second, "1"), "from the store");
    // The operator asks for a build without anything that was there.
    second.build_with("2", &["--no-cache"]).good(&[]);
    assert_eq!(value(&second, "2"), "1.0");
    // Other sources are another package.
    let third = app(&index, "2.0").with_tools_of(&first);
    third.build("1").good(&[]);
    assert_eq!(value(&third, "1"), "2.0");
    assert_eq!(support::names(&store(&first)).len(), 2);

    // What a full disk or a power cut has left of a file is not taken.
    let whole = fs::read(&key).expect("the file");
    for len in [0, 3, whole.len() - 1] {
        fs::write(&key, &whole[..len]).expect("the file");
        let next = app(&index, "1.0").with_tools_of(&first);
        next.build("1").good(&[]);
        assert_eq!(value(&next, "1"), "1.0");
        assert!(fs::read(&key).expect("the file").len() > whole.len() / 2);
    }
    assert_eq!(support::names(&store(&first)).len(), 2);
}

#[test]
fn builds_share_packages_at_once_and_after_a_kill() {
    if !support::has_jail() {
        return;
    }
    let files = tempfile::tempdir().expect("a folder");
    let index = start_index(&files, &["1.0"]);
    let first = app(&index, "1.0").with_own_tools();
    let mut build = Running::start(first.build_command("0", &[]));
    until("a package is compiled", || store(&first).exists());
    build.signal("KILL");
    build.0.wait().expect("it ends");
    let second = app(&index, "1.0").with_tools_of(&first);
    let both: Vec<_> =
        [&first, &second].map(|world| world.build_command("1", &[]).spawn().expect("a build")).into();
    for build in both {
        Ran::of(build.wait_with_output().expect("it ends")).good(&[]);
    }
    for world in [&first, &second] {
        assert_eq!(value(world, "1"), "1.0");
    }
    let keys: Vec<_> =
        support::names(&store(&first)).into_iter().filter(|key| !key.starts_with('.')).collect();
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_store_that_cannot_be_used_stops_no_build() {
    if !support::has_jail() {
        return;
    }
    let files = tempfile::tempdir().expect("a folder");
    let index = start_index(&files, &["1.0"]);
    let world = app(&index, "1.0").with_own_tools();
    fs::create_dir(world.path("tools")).expect("tools");
    fs::write(store(&world), "in its place").expect("a file");
    world.build("1").good(&[]);
    assert_eq!(value(&world, "1"), "1.0");
    let ran = world.work("1", &["python", "-v", "-c", "import big"]);
    ran.said(&[" matches "]);
}
