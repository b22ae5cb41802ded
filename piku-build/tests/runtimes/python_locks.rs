//! Python apps with lock files, each with the real tool that wrote it: uv, poetry, pipenv; and apps that are
//! packages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use piku_tests::snapshot::{assert_redacted, str};

use crate::support::World;

/// A WSGI app that needs `itsdangerous`.
const APP: &str = "import itsdangerous\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [itsdangerous.__version__.encode()]\n";
/// Program that prints the version of a package, and whether it is compiled.
const ASK: &str =
    "import app, itsdangerous, os; print(itsdangerous.__version__, os.path.exists(itsdangerous.__cached__))";
/// No package index can be reached through this.
const NO_INDEX: &str =
    "build_env: {HTTPS_PROXY: 'http://127.0.0.1:9', PIP_RETRIES: '1', UV_HTTP_TIMEOUT: '2'}\n";

const HASHES: [&str; 2] = [
    "sha256:c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef",
    "sha256:e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173",
];

/// A world whose tools and downloads the suite's worlds share.
fn world(files: &[(&str, &str)]) -> World {
    let world = World::new(files).sharing_caches();
    world.write("app.py", APP);
    world.write("Procfile", "wsgi: app:app\n");
    world
}

/// The app works, and a second build installs nothing.
fn serves(world: &mut World, layer: &str) {
    let release = world.release("1");
    assert_eq!((release.layers.len(), release.layers[0].name.as_str()), (1, "venv"));
    assert_eq!(world.layers(), [release.layers[0].key.as_str()]);
    let ran = world.work("1", &["python", "-c", ASK]);
    assert_eq!(ran.good(&[]).stdout.trim(), "2.2.0 True");
    let ask = "import itsdangerous, os; print(os.path.isfile(itsdangerous.__cached__))";
    assert_eq!(world.work("1", &["python", "-c", ask]).good(&[]).stdout.trim(), "True", "it is compiled");
    world.work("1", &["gunicorn", "--check-config", "app:app"]).good(&[]);
    world.settings(NO_INDEX);
    world.write("app.py", format!("{APP}# changed\n"));
    world.build("2").good(&["-----> Dependencies are unchanged: layer venv"]).not_said(layer);
    assert_eq!(world.release("2").layers, release.layers);
    let plan = world.run(&["plan", "app", "--cache", "cache", "--format", "json"]);
    plan.good(&[]);
}

#[test]
fn uv_installs_what_its_lock_says() {
    let project = "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['itsdangerous==2.2.0']\n\
                   [dependency-groups]\ndev = ['six']\n";
    let mut world = world(&[
        ("pyproject.toml", project),
        ("uv.lock", "version = 1\nrequires-python = '>=3.9'\n"),
        ("requirements.txt", "six\n"),
    ]);
    world.build("1").fails(str![[r#"
 !     warning: uv.lock lists the dependencies; not read: requirements.txt
piku-build: uv.lock is out of step with pyproject.toml: it was made before pyproject.toml was changed, and nothing that is not locked is installed
hint: make it again and commit it: uv lock

"#]]);
    assert!(world.layers().is_empty() && world.outputs().is_empty());
    let uv = tool("uv");
    let locked = Command::new(&uv)
        .args(["lock", "--quiet", "--python", "/usr/bin/python3"])
        .current_dir(world.app())
        .output()
        .expect("uv runs");
    assert!(locked.status.success(), "{locked:?}");
    world.build("1").good(&["-----> Python app detected: there is a uv.lock\n", "+ itsdangerous==2.2.0"]);
    serves(&mut world, "+ itsdangerous");
    assert!(world.work("1", &["python", "-c", "import six"]).stderr.contains("No module named 'six'"));

    // The lock was made with another index than this machine is told to use: the same files come from there.
    world.settings("build_env: {UV_DEFAULT_INDEX: 'http://127.0.0.1:9/simple', UV_HTTP_RETRIES: '0'}\n");
    world.build("3").fails(str![[r#"
 !     warning: uv.lock lists the dependencies; not read: requirements.txt
piku-build: pip cannot reach the package index: cause: error sending request for url (http://127.0.0.1:9/simple/itsdangerous
hint: is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again

"#]]);
}

#[test]
fn poetrys_lock_is_installed_by_pip() {
    let project = "[tool.poetry]\nname = 'shop'\nversion = '0.1.0'\ndescription = ''\nauthors = []\n\
                   [tool.poetry.dependencies]\npython = '^3.9'\nitsdangerous = '^2.2'\n";
    let lock = format!(
        "[[package]]\nname = 'itsdangerous'\nversion = '2.2.0'\ndescription = ''\noptional = false\n\
         python-versions = '>=3.8'\ngroups = ['main']\nfiles = [\n\
         {{file = 'itsdangerous-2.2.0-py3-none-any.whl', hash = '{}'}},\n\
         {{file = 'itsdangerous-2.2.0.tar.gz', hash = '{}'}},\n]\n\n\
         [metadata]\nlock-version = '2.1'\npython-versions = '^3.9'\n\
         content-hash = '6c5552e988e32e7209f12d210673710e6add98192710fc3c1d1cc3841446bf9a'\n",
        HASHES[0], HASHES[1]
    );
    let mut world = world(&[("pyproject.toml", project), ("poetry.lock", &lock)]);
    world.build("1").good(&[
        "-----> Python app detected: there is a poetry.lock\n",
        "Successfully installed itsdangerous-2.2.0",
        // There is no folder `shop` that would be the package.
        " !     warning: the app itself is not installed as a package: ",
        "'package-mode = false'",
    ]);
    assert!(world.release("1").version_from.as_deref() == Some("pyproject.toml"));
    serves(&mut world, "Collecting");
    world.settings("");
    world.write("pyproject.toml", project.replace("'^2.2'", "'^2.1'"));
    world.build("3").fails(str![[r#"
piku-build: poetry.lock is out of step with pyproject.toml: it was made before pyproject.toml was changed, and nothing that is not locked is installed
hint: make it again and commit it: poetry lock

"#]]);

    // Without a lock nobody but pip asks the index: poetry would for JSON, which mirrors often do not have.
    fs::remove_file(world.app().join("poetry.lock")).unwrap();
    world.write("shop/__init__.py", "");
    world.build("3").good(&[
        "warning: there is no poetry.lock: each build may get other versions",
        "Successfully installed itsdangerous-2.2.0",
    ]);
    world.work("3", &["python", "-c", "import app, shop"]).good(&[]);
}

#[test]
fn pipenvs_lock_is_strict() {
    let lock = format!(
        r#"{{"_meta": {{"hash": {{"sha256": "426c121f5f9a04907f2bdb8d8038ad00c4f6de9dc7bcbedcd63c077ff26a3870"}}, "pipfile-spec": 6,
            "requires": {{}}, "sources": []}}, "default": {{"itsdangerous": {{"hashes": ["{}", "{}"], "version": "==2.2.0"}}}}, "develop": {{}}}}"#,
        HASHES[0], HASHES[1]
    );
    let mut world = world(&[
        ("Pipfile", "[packages]\nitsdangerous = \"==2.2.0\"\n"),
        ("Pipfile.lock", &lock),
        // It is nobody's ENV, and would break what reads it.
        (".env", "PIP_INDEX_URL=http://127.0.0.1:9/simple\nPIPENV_PYPI_MIRROR=http://127.0.0.1:9/simple\n"),
    ]);
    world.build("1").good(&["-----> Python app detected: there is a Pipfile.lock\n", "itsdangerous-2.2.0"]);
    serves(&mut world, "Collecting");
    world.settings("");
    // `pipenv sync` would take it.
    world.write("Pipfile", "[packages]\nitsdangerous = \"==2.1.2\"\n");
    world.build("3").fails(str![[r#"
 !     warning: '.env' is not read: settings that ship with the app stand in a file named ENV, secrets are set with config:set
piku-build: Pipfile.lock is out of step with Pipfile, and nothing that is not locked is installed
  'itsdangerous' is ==2.1.2 in the Pipfile and ==2.2.0 in the lock
hint: make it again and commit it: pipenv lock

"#]]).not_said("Collecting");
    world.write("Pipfile.lock", "{\n<<<<<<< ours\n");
    world.build("3").fails(str![[r#"
 !     warning: '.env' is not read: settings that ship with the app stand in a file named ENV, secrets are set with config:set
piku-build: Pipfile.lock:2: this is not what its tool writes; was it merged by hand?
hint: make it again and commit it: pipenv lock

"#]]);
}

#[test]
fn a_project_is_installed_without_a_lock() {
    // Two folders at the top: no package, and setuptools would refuse to guess.
    let plain = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['itsdangerous==2.2.0']\n";
    let mut apps = world(&[("pyproject.toml", plain), ("one/a.py", ""), ("two/b.py", "")]);
    apps.build("1").good(&[
        "-----> Python app detected: there is a pyproject.toml\n",
        "warning: there is no uv.lock: each build may get other versions",
    ]);
    serves(&mut apps, " + itsdangerous");

    let mut package = World::new(&[
        ("setup.py", "from setuptools import setup\nsetup(name='shop', version='1', package_dir={'': 'src'}, packages=['shop'], install_requires=['itsdangerous==2.2.0'])\n"),
        ("src/shop/__init__.py", APP),
        ("src/shop/views.py", "x = 1\n"),
        ("Procfile", "wsgi: shop:app\n"),
    ])
    .sharing_caches();
    package.build("1").good(&["-----> Python app detected: there is a setup.py\n"]);
    package.work("1", &["gunicorn", "--check-config", "shop:app"]).good(&[]);
    package.write("src/shop/views.py", "x = 2\n");
    package.settings(NO_INDEX);
    if !crate::support::has_jail() {
        // Its code is in the layer then.
        return;
    }
    package.build("2").good(&["Dependencies are unchanged"]);
    let ran = package.work("2", &["python", "-c", "from shop import views; print(views.x)"]);
    assert_eq!(ran.good(&[]).stdout, "2\n");
    package.write("src/shop/views.py", "x = \n");
    package.write("src/shop/__init__.py", format!("{APP}from . import views\n"));
    package.settings("");
    package.build("3").fails(str![[r#"
piku-build: src/shop/views.py:1: SyntaxError: invalid syntax
src/shop/__init__.py imports it, with which 'wsgi' starts
hint: 'python3 -m py_compile src/shop/views.py' shows the same on your machine

"#]]);
}

#[test]
fn a_package_that_is_not_the_one_that_was_hashed_is_refused() {
    let bad = HASHES[1].replace('e', "f");
    let world = world(&[("requirements.txt", &format!("itsdangerous==2.2.0 --hash={bad}\n"))]);
    let bad = bad.trim_start_matches("sha256:");
    assert_redacted(
        &world.build("1").failure(),
        &[("[ASKED]", bad)],
        str![[r#"
piku-build: the hashes in requirements.txt are not those of the packages
itsdangerous==2.2.0 from https://files.pythonhosted.org/packages/04/96/92447566d16df59b2a776c0fb82dbc4d9e07cd95062562af01e408583fc4/itsdangerous-2.2.0-py3-none-any.whl (from -r requirements.txt (line 1)):
Expected sha256 [ASKED]
Got        [SHA]
hint: make the file again with the tool that wrote the hashes

"#]],
    );
}

/// The program of a tool that an earlier build has installed.
fn tool(name: &str) -> PathBuf {
    let tools = crate::support::shared_cache().join("shared-tools");
    let found = fs::read_dir(&tools).expect("tools").find_map(|entry| {
        let program = entry.expect("an entry").path().join("content/bin").join(name);
        program.is_file().then_some(program)
    });
    found.unwrap_or_else(|| panic!("no {name} in {}", tools.display()))
}
