//! Pythons that no jail shows by itself: one of pyenv's, and one that pyenv builds for the app.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use piku_tests::snapshot::str;

use crate::support::World;
use piku_tests::ports::free_port;

const APP: &str = "import sys\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [sys.version.encode()]\n";

/// pyenv's folder of whoever runs the tests, where it has something.
fn pyenv() -> Option<PathBuf> {
    let root = Path::new(&std::env::var_os("HOME")?).join(".pyenv");
    let there = root.join("plugins/python-build/bin/python-build").is_file();
    if !there {
        crate::support::skipped("Pythons of pyenv: there is no pyenv in HOME");
    }
    there.then_some(root)
}

#[test]
fn a_python_of_pyenvs_is_shown_to_builds_and_workers() {
    let Some(root) = pyenv() else { return };
    // Its virtualenvs have no setuptools: the first of these is 3.12.
    let versions = crate::support::names(&root.join("versions"));
    let Some(version) = versions.iter().find(|name| name.starts_with("3.12.") || name.starts_with("3.13."))
    else {
        crate::support::skipped("a Python of pyenv: it has none that is new enough");
        return;
    };
    let mut world = World::new(&[
        ("app.py", APP),
        ("Procfile", "wsgi: app:app\n"),
        // It imports pkg_resources, which the newest setuptools no longer have.
        ("requirements.txt", "gunicorn==20.1.0\n"),
        (".python-version", &format!("{version}\n")),
    ])
    .sharing_caches();
    world.settings(&format!("build_env: {{PYENV_ROOT: '{}'}}\n", root.display()));
    world.build("1").good(&[&format!("-----> Python {version} (.python-version)")]);
    let release = world.release("1");
    if release.jailed {
        let home = fs::canonicalize(root.join("versions").join(version)).unwrap();
        assert_eq!(release.host, [home]);
    }
    let ran = world.work("1", &["python", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]);
    assert_eq!(ran.good(&[]).stdout.trim(), version);
    world.work("1", &["gunicorn", "--check-config", "app:app"]).good(&[]);

    // An app has no say in which folders of the machine it sees.
    world.settings("");
    world.write("ENV", format!("PYENV_ROOT={}\n", root.display()));
    world.write(".python-version", ">=3.12,<3.14\n");
    let plan = world.run(&["plan", "app"]);
    assert!(!plan.stdout.contains(".pyenv"), "{plan}");
}

#[test]
fn a_python_that_pyenv_builds_is_a_layer() {
    let Some(real) = pyenv() else { return };
    let mut world = World::new(&[
        ("main.py", "import sys; print(sys.base_prefix)\n"),
        ("Procfile", "web: python main.py\n"),
        (".python-version", "3.99\n"),
    ]);
    // pyenv's own python-build, with a source that builds in a moment: it is the machine's Python over again.
    let root = world.path("pyenv");
    let plugin = root.join("plugins/python-build");
    fs::create_dir_all(plugin.join("share/python-build")).unwrap();
    fs::create_dir(plugin.join("bin")).unwrap();
    fs::copy(real.join("plugins/python-build/bin/python-build"), plugin.join("bin/python-build")).unwrap();
    fs::write(
        plugin.join("share/python-build/3.99.1"),
        "install_package 'Python-3.99.1' 'http://127.0.0.1:9/Python-3.99.1.tar.gz' standard\n",
    )
    .unwrap();
    world.settings(&format!("build_env: {{PYENV_ROOT: '{}'}}\n", root.display()));
    world.build("1").fails(str![[r#"
piku-build: .python-version asks for a Python that is not on this machine, and pyenv cannot build 3.99.1: its source cannot be fetched
hint: put Python-3.99.1.tar.xz into the folder cache of pyenv, or name a mirror in build_env of host.yaml: PYTHON_BUILD_MIRROR_URL
hint: or ask in .python-version for a Python that is there

"#]]);
    assert!(world.layers().is_empty() && world.outputs().is_empty());

    let source = world.path("Python-3.99.1");
    fs::create_dir(&source).unwrap();
    fs::create_dir(root.join("cache")).unwrap();
    let configure = "#!/bin/sh\nfor word; do case $word in --prefix=*) echo \"prefix = ${word#--prefix=}\" >Makefile ;; esac; done\n\
                     cat Makefile.in >>Makefile\n";
    let makefile = "all:\n\ninstall:\n\tmkdir -p $(prefix)/bin $(prefix)/lib\n\tcp $$(readlink -f /usr/bin/python3) $(prefix)/bin/python3\n\
                    \tln -s /usr/lib/python3.* $(prefix)/lib/\n";
    fs::write(source.join("configure"), configure).unwrap();
    fs::set_permissions(source.join("configure"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(source.join("Makefile.in"), makefile).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "pyenv/cache/Python-3.99.1.tar.gz", "Python-3.99.1"])
        .current_dir(world.path(""))
        .status();
    assert!(packed.expect("tar runs").success());
    world.build("1").good(&[]);
    let release = world.release("1");
    let layers: Vec<_> = release.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(layers, ["python", "venv"]);
    let ran = world.work("1", &["python", "main.py"]);
    assert_eq!(ran.good(&[]).stdout.trim(), release.layers[0].mount.to_str().unwrap());
    world.build("2").good(&["unchanged: layer python", "unchanged: layer venv"]);

    // From a mirror that the operator names, which has sources by their checksums.
    let tarball = root.join("cache/Python-3.99.1.tar.gz");
    let sum = Command::new("sha256sum").arg(&tarball).output().expect("sha256sum runs").stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    fs::create_dir(world.path("mirror")).unwrap();
    fs::rename(&tarball, world.path("mirror").join(&sum)).unwrap();
    fs::write(
        plugin.join("share/python-build/3.99.2"),
        format!("install_package 'Python-3.99.1' 'http://127.0.0.1:9/Python-3.99.1.tar.gz#{sum}' standard\n"),
    )
    .unwrap();
    let port = free_port();
    let mut mirror = Command::new("python3");
    mirror.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(world.path("mirror"));
    mirror.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let _mirror = crate::support::Running::start(mirror);
    crate::support::until("the mirror", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    world.settings(&format!(
        "build_env: {{PYENV_ROOT: '{}', PYTHON_BUILD_MIRROR_URL: 'http://127.0.0.1:{port}'}}\n",
        root.display()
    ));
    world
        .build("3")
        .good(&["-----> Python 3.99.2 (.python-version)", &format!("http://127.0.0.1:{port}/{sum}")]);
}
