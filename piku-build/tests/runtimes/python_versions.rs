//! The version of Python that an app requests.

use std::fs;
use std::io::Write;

use piku_tests::snapshot::str;

use super::python::web;
use crate::support::World;

#[test]
fn requested_version_is_used() {
    let world = web();
    world.write(".python-version", "3.99\n");
    world.run(&["plan", "app"]).good(&[
        " !     warning: .python-version asks for Python 3.99, which is not on this machine: using the nearest, 3.",
    ]);
    world.write(".python-version", ">=3.99\n");
    world.build("1").fails(str![[r#"
piku-build: .python-version asks for Python >=3.99; this machine has [..]
hint: if the app runs on it, .python-version may say >=3.[..]
hint: or have the machine's operator install it: with apt, or as the user that runs piku: pyenv install 3.99 (or: uv python install 3.99)

"#]]);
    let json = |world: &World| -> serde_json::Value {
        let ran = world.run(&["plan", "app", "--format", "json"]);
        serde_json::from_str(&ran.good(&[]).stdout).unwrap()
    };
    fs::remove_file(world.app().join(".python-version")).unwrap();
    let version = json(&world)["version"].as_str().unwrap().to_owned();
    let minor = version.rsplit_once('.').unwrap().0;
    world.write("runtime.txt", format!("python-{minor}.99\n"));
    let near = world.run(&["plan", "app", "--format", "yaml"]);
    near.good(&[
        " !     warning: runtime.txt asks for Python python-",
        "which is not on this machine: using the nearest, ",
    ]);
    assert!(near.stdout.contains(&format!("version: {version}\nversion_from: runtime.txt\n")), "{near}");
    world.write("ENV", format!("PYTHON_VERSION=>={minor},<4\n"));
    assert_eq!(json(&world)["version_from"], "PYTHON_VERSION in ENV");
}

/// A wheel of one package that says which Pythons it is for.
fn wheel(requires: &str) -> Vec<u8> {
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [
        ("METADATA", format!("Metadata-Version: 2.1\nName: old\nVersion: 1\nRequires-Python: {requires}\n")),
        ("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
        ("RECORD", String::new()),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        wheel.start_file(format!("old-1.dist-info/{name}"), options).expect("a file");
        wheel.write_all(text.as_bytes()).expect("its text");
    }
    wheel.finish().expect("a wheel").into_inner()
}

#[test]
fn a_nearest_python_that_the_dependencies_refuse_is_named() {
    let world = World::new(&[
        ("requirements.txt", "./old-1-py3-none-any.whl\n"),
        (".python-version", "3.4.1\n"),
        ("Procfile", "web: python main.py\n"),
        ("main.py", ""),
    ]);
    world.write("old-1-py3-none-any.whl", wheel("<3.5"));
    world.build("1").fails(str![[r#"
 !     warning: .python-version asks for Python [VERSION], which is not on this machine: using the nearest, 3.[..]
piku-build: .python-version asks for Python [VERSION], which is not on this machine, and the app's dependencies refuse the nearest, 3.[..]: Package 'old' requires a different Python: 3.[..] not in '<3.5'
hint: ask for versions of them that go with Python [VERSION]
hint: or have the machine's operator install it: with apt, or as the user that runs piku: pyenv install 3.4.1 (or: uv python install 3.4.1)

"#]]);
    // Where they only fail to build it may be the reason all the same.
    world.write("requirements.txt", "./lib\n");
    world.write(
        "lib/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = 'no'\nbackend-path = ['.']\n",
    );
    world.write("lib/no.py", "import sys\nsys.exit('no')\n");
    world.build("1").fails(str![[r#"
 !     warning: .python-version asks for Python [VERSION], which is not on this machine: using the nearest, 3.[..]
piku-build: './lib' could not be built
  no
hint: a version of it that comes built for this machine (a wheel) needs no compiler
hint: .python-version asks for Python [VERSION] and gets the nearest, 3.[..]: old versions of a package may fail to build with it
hint: or have the machine's operator install it: with apt, or as the user that runs piku: pyenv install 3.4.1 (or: uv python install 3.4.1)

"#]]);
}
