//! Python apps with the real python3, its venv, and pip.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use piku_tests::snapshot::{assert_redacted, str};

use crate::support::{Ran, World};

/// A WSGI app that needs `six`.
const APP: &str = "import six\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n";

pub(super) fn web() -> World {
    World::new(&[
        ("app.py", APP),
        ("requirements.txt", "six\n"),
        ("Procfile", "wsgi: app:app\nworker: python work.py\n"),
        ("work.py", ""),
    ])
}

/// No package index can be reached through this; what pip would do without one fails at once.
const NO_INDEX: &str = "build_env: {HTTPS_PROXY: 'http://127.0.0.1:9', PIP_RETRIES: '1'}\n";

#[test]
fn dependencies_are_installed_once_and_run_under_the_jail() {
    let mut world = web();
    // Somebody's own python in front of the caller's PATH is not the one that counts.
    let shims = world.path("shims");
    fs::create_dir(&shims).unwrap();
    for name in ["python", "python3", "pip"] {
        fs::write(shims.join(name), "#!/bin/sh\ntouch \"$(dirname \"$0\")/used\"\nexit 1\n").unwrap();
        fs::set_permissions(shims.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.env("PATH", &format!("{}:/usr/bin:/bin", shims.display()));
    world.build("1").good(&[
        "-----> Python app detected: there is a requirements.txt\n",
        "-----> Installing dependencies",
        "        + six==",
    ]);
    assert!(!shims.join("used").exists());
    let release = world.release("1");
    assert_eq!(release.processes["wsgi"], "gunicorn --bind ${BIND_ADDRESS:-127.0.0.1}:$PORT app:app");
    assert_eq!(release.version_from.as_deref(), Some("the machine's python3"));
    assert_eq!((release.layers.len(), release.layers[0].name.as_str()), (1, "venv"));
    assert_eq!(world.layers(), [release.layers[0].key.as_str()]);

    // A script of the virtualenv, by its first line; the app's modules; nothing is written.
    world.work("1", &["gunicorn", "--version"]).good(&[]);
    let ask =
        "import sys, six, app, os; print(sys.prefix, sys.flags.utf8_mode, os.path.exists(app.__cached__))";
    let ran = world.work("1", &["python", "-c", ask]);
    ran.good(&[]);
    assert_eq!(ran.stdout.trim(), format!("{} 1 True", release.layers[0].mount.display()));

    // The second build meets an index that cannot be reached: pip is not even asked.
    world.settings(NO_INDEX);
    world.write("app.py", format!("{APP}# changed\n"));
    world.build("2").good(&["-----> Dependencies are unchanged: layer venv"]).not_said("six");
    assert_eq!(world.release("2").layers, release.layers);
    let plan = world.run(&["plan", "app", "--cache", "cache", "--format", "json", "--settings", "host.yaml"]);
    plan.good(&[]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    if release.jailed {
        assert_eq!(plan["layers"][0]["key"], release.layers[0].key);
        assert_eq!(plan["layers"][0]["hit"], true);
        assert_eq!(plan["steps"].as_array().unwrap().len(), 1);
    }
    assert_eq!(plan["runtime"], "python");
    assert_eq!(plan["processes"]["worker"], "python work.py");
    assert!(plan["env"].as_array().unwrap().contains(&"HTTPS_PROXY".into()));
}

#[test]
fn without_a_jail_a_release_runs_where_it_lies() {
    let world = web().without_jail();
    world.build("1").good(&["the sandbox is off"]);
    let release = world.release("1");
    assert!(!release.jailed);
    assert_eq!(release.layers[0].mount, fs::canonicalize(world.content(&release.layers[0].key)).unwrap());
    world.work("1", &["gunicorn", "--version"]).good(&[]);
    world.work("1", &["python", "-c", "import six, app"]).good(&[]);
}

#[test]
fn a_failed_install_is_retried_and_leaves_nothing() {
    let mut world = web();
    world.settings(NO_INDEX);
    world.build("1").fails(str![[r#"
piku-build: pip cannot reach the package index: Connection refused
hint: is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again

"#]]);
    assert!(
        world.layers().is_empty() && world.outputs().is_empty(),
        "{:?} {:?}",
        world.layers(),
        world.outputs()
    );
    world.settings("");
    world.build("1").good(&[" + six=="]);
}

#[test]
fn a_requirement_that_cannot_be_satisfied_is_named() {
    let world = web();
    world.write("requirements.txt", "# web\nsix==99.1\n");
    world.build("1").fails(str![[r#"
piku-build: requirements.txt:2: cannot find a version for 'six==99.1'
hint: the newest versions are [..]

"#]]);
    world.write("requirements.txt", "-r more.txt\n");
    world.build("1").fails(str![[r#"
piku-build: requirements.txt:1: 'more.txt' does not exist

"#]]);
    world.write("requirements.txt", "six six\n");
    world.build("1").fails(str![[r#"
piku-build: pip cannot parse requirements.txt: Invalid requirement: 'six six' (from line 1 of requirements.txt)
hint: one requirement a line, such as 'flask>=3' or 'six==1.17.0'

"#]]);
    assert!(world.layers().is_empty() && world.outputs().is_empty());
}

#[test]
fn no_requirements_is_an_empty_virtualenv_without_pip() {
    let mut world = World::new(&[("main.py", "print('hello')\n"), ("Procfile", "web: python -u main.py\n")]);
    world.settings(NO_INDEX);
    world
        .build("1")
        .good(&["Python app detected: there are a Procfile and main.py, and no requirements.txt"]);
    let ran = world.work("1", &["python", "main.py"]);
    ran.good(&[]);
    assert_eq!(ran.stdout, "hello\n");
    assert!(!world.content(&world.layers()[0]).join("bin/pip").exists());
}

#[test]
fn a_syntax_error_that_the_app_starts_with_refuses_it() {
    let files = [
        ("main.py", "import views\n"),
        ("views.py", "\ndef f(:\n    pass\n"),
        ("Procfile", "web: python main.py\n"),
    ];
    let world = World::new(&files);
    world.build("1").fails(str![[r#"
piku-build: views.py:2: SyntaxError: invalid syntax
main.py imports it, with which 'web' starts
hint: 'python3 -m py_compile views.py' shows the same on your machine

"#]]);
    assert!(world.outputs().is_empty());
    world.write("main.py", "if True:\nprint(1)\n");
    world.build("1").fails(str![[r#"
piku-build: main.py:2: IndentationError: [..]
'web' starts with it
hint: 'python3 -m py_compile main.py' shows the same on your machine

"#]]);
    world.write("main.py", "print(1)\n");
    world.write("templates/{{name}}.py", "import {{name}}\n");
    world.build("1").good(&[
        " !     warning: views.py:2: SyntaxError",
        " !     warning: templates/{{name}}.py:1: SyntaxError",
    ]);
    assert!(world.path("out/1/app/__pycache__").is_dir());
    let modules = [("wsgi: web.site:app", "web/site.py"), ("web: python -m web", "web/__main__.py")];
    let failures = modules.map(|(command, file)| {
        world.write("Procfile", format!("{command}\n"));
        fs::remove_dir_all(world.app().join("web")).unwrap_or_default();
        world.write(file, "x =\n");
        // The module is looked at before anything else that may be wrong with it.
        world.build("2").failure()
    });
    assert_redacted(
        &failures.concat(),
        &[],
        str![[r#"
piku-build: web/site.py:1: SyntaxError: invalid syntax
'wsgi' starts with it
hint: 'python3 -m py_compile web/site.py' shows the same on your machine
piku-build: web/__main__.py:1: SyntaxError: invalid syntax
'web' starts with it
hint: 'python3 -m py_compile web/__main__.py' shows the same on your machine

"#]],
    );
}

#[test]
fn near_python_apps_are_explained() {
    let failures = ["requirments.txt", "pipfile", "environment.yml"].map(|name| {
        let world = World::new(&[(name, ""), ("app.py", ""), ("Procfile", "web: python app.py\n")]);
        let detected = world.run(&["detect", "app"]).failure();
        assert_eq!(world.build("1").failure(), detected);
        detected
    });
    assert_redacted(
        &failures.concat(),
        &[],
        str![[r#"
piku-build: this looks like a Python app, but its dependencies are in 'requirments.txt'; expected 'requirements.txt'
hint: git mv requirments.txt requirements.txt
piku-build: this looks like a Python app, but its dependencies are in 'pipfile'; expected 'Pipfile'
hint: git mv pipfile Pipfile
piku-build: this looks like a Python app, but its dependencies are in 'environment.yml', which conda reads and piku does not; expected 'requirements.txt'
hint: make one and commit it: pip list --format=freeze > requirements.txt

"#]],
    );
    let world = World::new(&[
        ("app.py", ""),
        ("pyproject.toml", "[project]\nname = 'x'\n"),
        ("Procfile", "web: python app.py\n"),
    ]);
    let because = |world: &World| world.run(&["detect", "app"]).good(&[]).stdout.clone();
    assert!(because(&world).starts_with("python: there is a pyproject.toml\n"));
    world.write("pyproject.toml", "[tool.black]\n");
    assert!(because(&world).contains("there are a Procfile and app.py, and no requirements.txt"));
    world.write("pyproject.toml", "[project]\nname = \n");
    world.run(&["detect", "app"]).fails(str![[r#"
piku-build: pyproject.toml:2: string values must be quoted, expected literal string

"#]]);
}

#[test]
fn process_types_without_a_procfile_only_where_they_are_obvious() {
    let world = World::new(&[("util.py", "print('hello')\n"), ("requirements.txt", "flask\n")]);
    world.run(&["plan", "app"]).fails(str![[r#"
piku-build: this is a Python app without a Procfile, and it is not obvious what to start
hint: add a file 'Procfile' with a line for each process, for example 'web: gunicorn --bind 127.0.0.1:$PORT app:app' for the callable 'app' in app.py, or 'web: python app.py' for a program that listens on PORT itself

"#]]);
    world.write("app.py", "from flask import Flask\napp = Flask(__name__)\n");
    let plan = world.run(&["plan", "app"]);
    plan.good(&[]);
    assert!(
        plan.stdout
            .contains("process  web: gunicorn --bind ${BIND_ADDRESS:-127.0.0.1}:$PORT app:app (app.py)\n"),
        "{plan}"
    );
    assert!(plan.stdout.contains("--requirement requirements.txt gunicorn\n"), "{plan}");
}

#[test]
fn wsgi_entries_are_checked() {
    let world = World::new(&[
        ("app.py", APP),
        ("Procfile", "wsgi: python app.py\n"),
        ("requirements.txt", "GUnicorn\n"),
    ]);
    world.run(&["plan", "app"]).fails(str![[r#"
piku-build: Procfile: wsgi: 'python app.py' is not module:callable
hint: for an app in app.py with 'app = Flask(…)' the line is 'wsgi: app:app'

"#]]);
    world.write("Procfile", "wsgi: app:app\n");
    let plan = world.run(&["plan", "app"]);
    plan.good(&[]);
    assert!(plan.stdout.contains("--no-sources --requirement requirements.txt\n"), "{plan}");
}

#[test]
fn a_module_that_is_nowhere_is_missed() {
    let world = web();
    world.write("Procfile", "wsgi: ap:app\n");
    world.build("1").fails(str![[r#"
piku-build: Procfile: wsgi: there is no module 'ap', neither in the app nor in its dependencies
hint: expected ap.py or ap/__init__.py

"#]]);
    world.write("Procfile", "web: uvicorn app:app\n");
    world.build("1").fails(str![[r#"
piku-build: Procfile: web: there is no program 'uvicorn', neither in the app's dependencies nor on this machine
hint: add what brings 'uvicorn' to the dependencies, or install it on the machine

"#]]);
}

#[test]
fn a_package_of_the_app_installed_in_place_is_a_layer_that_code_does_not_change() {
    let world = World::new(&[
        ("requirements.txt", "-e ./lib\n"),
        (
            "lib/setup.py",
            "from setuptools import setup\nsetup(name='mylib', version='1', py_modules=['mylib'])\n",
        ),
        ("lib/mylib.py", "print('one')\n"),
        ("Procfile", "web: python main.py\n"),
        ("main.py", "import mylib\n"),
    ]);
    if !crate::support::has_jail() {
        world.build("1").fails(str![[r#"
piku-build: requirements.txt:1: '-e lib' cannot be installed where there is no jail: the path of the build is not the path of the release
hint: write 'lib' without -e

"#]]);
        return;
    }
    world.build("1").good(&[]);
    assert_eq!(world.work("1", &["python", "main.py"]).good(&[]).stdout, "one\n");
    assert_eq!(crate::support::names(&world.path("out/1/app/lib")), ["__pycache__", "mylib.py", "setup.py"]);
    world.write("lib/mylib.py", "print('two')\n");
    world.build("2").good(&["Dependencies are unchanged"]);
    assert_eq!(world.work("2", &["python", "main.py"]).good(&[]).stdout, "two\n");
    world.write(
        "lib/setup.py",
        "from setuptools import setup\nsetup(name='mylib', version='2', py_modules=['mylib'])\n",
    );
    let plan = world.run(&["plan", "app", "--cache", "cache"]);
    assert!(plan.good(&[]).stdout.contains(" miss\n"), "{plan}");
}

#[test]
fn links_out_of_the_app_are_refused_and_not_shown() {
    let world = World::new(&[("Procfile", "web: python app.py\n"), ("app.py", "")]);
    fs::write(world.path("secret"), "-r secret-line\n").unwrap();
    symlink("../secret", world.app().join("requirements.txt")).unwrap();
    world
        .build("1")
        .fails(str![[r#"
piku-build: 'requirements.txt' leads out of the app's folder
hint: put a copy of the file into the repository

"#]])
        .not_said("secret-line");
}

/// Runs piku-build where root of an own namespace has changed some mounts; says aloud where that cannot be.
fn under(mounts: &str, world: &World, args: &[&str]) -> Option<Ran> {
    let wrap = |inner: Command| {
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c"]);
        command.arg(format!("{mounts} && exec \"$0\" \"$@\""));
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(world.path("")).stdin(Stdio::null());
        command
    };
    let mut true_command = Command::new("/bin/true");
    true_command.env_clear();
    if !wrap(true_command).output().is_ok_and(|output| output.status.success()) {
        crate::support::skipped("what needs a mount namespace");
        return None;
    }
    Some(Ran::of(wrap(world.command(args)).output().expect("unshare runs")))
}

#[test]
fn a_machine_without_python3_venv_is_told_what_to_install() {
    let world = web();
    let hide = "for d in /usr/lib/python3.*/ensurepip; do mount -t tmpfs none $d; done";
    let Some(ran) = under(hide, &world, &["plan", "app", "--sandbox", "off"]) else { return };
    ran.fails(str![[r#"
piku-build: this is a Python app, recognised, but python3-venv is missing
hint: apt install python3-venv (or python3.[..]-venv where python3.[..] is not the system's own)

"#]]);
}

#[test]
fn a_full_disk_is_seen_before_the_build() {
    let world = web();
    fs::create_dir(world.path("small")).unwrap();
    let small = format!("mount -t tmpfs -o size=3m none '{}'", world.path("small").display());
    let args = ["build", "app", "--sandbox", "off", "--cache", "small/cache", "--output", "small/out"];
    let Some(ran) = under(&small, &world, &args) else { return };
    ran.fails(str![[r#"
piku-build: not enough space on the disk of '[DIR]/small/.piku-build-[..]': the app needs about 16 KiB and a reserve of 4.0 MiB; 3.0 MiB are free, 1.0 MiB are missing
hint: run 'piku gc' to remove unused files, or enlarge the disk

"#]]).not_said("Collecting");
}
