//! Installs requirements by uv and by pip, to the same versions, and by pip where uv fails. All apps share
//! both tools, and none can change them.

use std::fs;

use piku_tests::snapshot::str;

use crate::support::{self, Ran, Running, World, until};

/// Requirements of many kinds: pinned and not, with extras and markers, a source alone, a constraint, folders
/// of the app, and what a virtualenv already has.
const CORPUS: &str = "-r more.txt\n-c pins.txt\nitsdangerous==2.2.0 ; python_version >= '3.8'\nrequests[socks]~=2.32.0\n\
    docopt==0.6.2\n./lib\n-e ./edited\nsetuptools\npywin32 ; sys_platform == 'win32'\n";
const SETUP: &str = "from setuptools import setup\nsetup(name='NAME', version='1', py_modules=['NAME'])\n";

fn corpus(env: &str) -> World {
    let world = World::new(&[
        ("requirements.txt", CORPUS),
        ("more.txt", "gunicorn==20.1.0\nsix>=1.15,<2\n"),
        ("pins.txt", "six<1.17\nidna==3.7\n"),
        ("lib/libone.py", "x = 1\n"),
        ("edited/libtwo.py", "x = 2\n"),
        ("Procfile", "web: python app.py\n"),
        ("app.py", "import docopt, gunicorn.util, itsdangerous, libone, libtwo, pip, requests, six, socks\n"),
        ("ENV", env),
    ]);
    world.write("lib/setup.py", SETUP.replace("NAME", "libone"));
    world.write("edited/setup.py", SETUP.replace("NAME", "libtwo"));
    world
}

/// Returns the packages of a release with their versions.
fn packages(world: &World) -> Vec<String> {
    let ran = world.work("1", &["pip", "list", "--format=freeze", "--disable-pip-version-check"]);
    ran.good(&[]).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn uv_installs_what_pip_does() {
    if !support::has_jail() {
        return;
    }
    let (fast, slow) = (corpus(""), corpus("PIKU_INSTALLER=pip\n"));
    let ran = fast.build("1");
    ran.good(&["        + six==1.16.0", "        + libtwo==1"]).not_said("Collecting");
    slow.build("1").good(&["Collecting six"]).not_said(" + six");
    assert_eq!(packages(&fast), packages(&slow));
    for world in [&fast, &slow] {
        world.work("1", &["python", "app.py"]).good(&[]);
        world.work("1", &["gunicorn", "--version"]).good(&[]);
        world.work("1", &["python", "-m", "pip", "check"]).good(&[]);
    }
    // A change of a folder that is installed is installed.
    fast.write("lib/libone.py", "x = 'changed'\n");
    fast.build("2").good(&["+ libone"]);
    let ran = fast.work("2", &["python", "-c", "import libone; print(libone.x)"]);
    assert_eq!(ran.good(&[]).stdout, "changed\n");
}

#[test]
fn pip_does_what_uv_does_not() {
    let app = |requirements: &str, env: &str| {
        let world = World::new(&[("Procfile", "web: python app.py\n"), ("app.py", "import six\n")]);
        world.write("requirements.txt", requirements);
        world.write("ENV", env);
        world
    };
    // uv fails: with a setting that it does not take, and by not being there.
    for env in ["UV_INDEX_STRATEGY=none\n", "UV_VERSION=0.0.0.1\n"] {
        let world = app("six\n", env);
        world
            .build("1")
            .good(&["       uv does not install them, pip does: ", "Successfully installed six-"]);
        world.work("1", &["python", "app.py"]).good(&[]);
    }
    // It would do something else.
    let option = "pip installs them: requirements.txt:1: --prefer-binary\n";
    app("--prefer-binary\nsix\n", "").build("1").good(&[option, "Successfully installed six-"]);
    let variable = "pip installs them: PIP_PREFER_BINARY is set\n";
    app("six\n", "PIP_PREFER_BINARY=1\n").build("1").good(&[variable, "Successfully installed six-"]);
    app("six\n", "PIKU_INSTALLER=conda\n").build("1").fails(str![[r#"
piku-build: PIKU_INSTALLER in ENV: 'conda' is not an installer: write uv or pip

"#]]);
    // What neither can install is explained in the words of pip.
    app("six==99.1\n", "").build("1").fails(str![[r#"
piku-build: requirements.txt:1: cannot find a version for 'six==99.1'
hint: the newest versions are [..]

"#]]);
}

/// A build script that changes every tool that it can.
const EVIL_SETUP: &str = "import os\nfrom setuptools import setup\n\
    for top, _, names in os.walk('/tools'):\n    for name in names:\n        path = os.path.join(top, name)\n        try:\n            \
    os.chmod(path, 0o777); open(path, 'ab').write(b'evil')\n        except OSError: continue\n        raise SystemExit('CHANGED ' + path)\n\
    setup(name='evil', version='1')\n";
/// Leaves settings for the steps after it.
const EVIL_PREFLIGHT: &str = "mkdir -p $HOME/.config/pip $HOME/.config/uv\n\
    printf '[global]\\nindex-url = http://127.0.0.1:9/\\n' >$HOME/.config/pip/pip.conf\ncp $HOME/.config/pip/pip.conf $HOME/.pip.conf\n";

#[test]
fn tools_are_made_once_and_no_app_changes_them() {
    if !support::has_jail() {
        return;
    }
    let world = World::new(&[
        ("Procfile", "preflight: sh plant.sh\nweb: python app.py\n"),
        ("plant.sh", EVIL_PREFLIGHT),
        ("requirements.txt", "six\n./evil\n"),
        ("evil/setup.py", EVIL_SETUP),
        ("app.py", "import six\n"),
        ("ENV", "PYTHONUSERBASE=/app\nPYTHONPATH=/app\nUV_CACHE_DIR=/cache/uv\n"),
        // Shadows a module of ensurepip's and of pip's.
        ("zipfile.py", "raise SystemExit('SHADOWED')\n"),
    ])
    .with_own_tools();
    let keys = || support::names(&world.path("tools"));
    // Killed while it makes the first tool.
    let mut build = Running::start(world.build_command("0", &[]));
    until("a tool has begun", || {
        keys().iter().any(|key| world.path("tools").join(key).join("content").exists())
    });
    build.signal("KILL");
    build.0.wait().expect("it ends");
    // The module of the app does not get into the tools, though it breaks what runs in the app.
    let shadowed = World::new(&[
        ("Procfile", "web: python app.py\n"),
        ("requirements.txt", "six\n"),
        ("app.py", "import six\n"),
        ("ENV", "PYTHONPATH=/app\n"),
        ("zipfile.py", "raise SystemExit('SHADOWED')\n"),
    ])
    .with_own_tools();
    shadowed.build("1");
    let made = support::names(&shadowed.path("tools"));
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|key| shadowed.path("tools").join(key).join("complete").exists()));
    fs::remove_file(world.app().join("zipfile.py")).expect("zipfile.py");
    let both: Vec<_> = ["1", "2"].map(|name| world.build_command(name, &[]).spawn().expect("a build")).into();
    let ran: Vec<_> =
        both.into_iter().map(|child| Ran::of(child.wait_with_output().expect("it ends"))).collect();
    for tool in ["pip", "uv"] {
        let line = format!("Installing tools for all apps: layer {tool} ");
        let made = ran.iter().filter(|ran| ran.good(&[]).stderr.contains(&line)).count();
        assert_eq!(made, 1, "{tool}\n{}\n{}", ran[0], ran[1]);
    }
    let said = format!("{}{}", ran[0], ran[1]);
    assert!(said.contains(" + evil==1") && !said.contains("CHANGED"), "{said}");
    assert_eq!(keys().len(), 2);
    assert!(keys().iter().all(|key| world.path("tools").join(key).join("complete").exists()));
}
