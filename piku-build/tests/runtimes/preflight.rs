//! The preflight task: a step that the app gives, which shows what all steps see.

use std::fs;
use std::process::Stdio;

use piku_tests::snapshot::str;

use crate::support::{World, has_jail};

#[test]
fn preflight_runs_before_the_build_and_its_failure_stops_it() {
    let world = World::new(&[
        ("Procfile", "preflight: echo \"made by $WHO\" > made\nweb: cat made\n"),
        ("ENV", "WHO=env\n"),
    ]);
    let config = world.path("config.json");
    fs::write(&config, r#"{"WHO": "a secret"}"#).unwrap();
    let ran = world.build_with("1", &["--config", "config.json"]);
    ran.good(&["-----> Running preflight: echo"]).not_said("a secret");
    assert_eq!(fs::read_to_string(world.path("out/1/app/made")).unwrap(), "made by a secret\n");
    assert!(!world.app().join("made").exists());
    world.write("Procfile", "preflight: echo reason >&2; exit 3\nweb: true\n");
    world.build("2").fails(str![[r#"
piku-build: step 'preflight' failed with exit code 3

"#]]);
    world.write("Procfile", "preflight: kill -9 $$\nweb: true\n");
    world.build("2").fails(str![[r#"
piku-build: step 'preflight' was killed, most likely out of memory; its largest process had [..]
hint: give the machine swap (sudo apt-get install systemd-zram-generator) or more memory, use packages that need no compiling, or build on another machine (deploy_to in its host.yaml)

"#]]);
    assert_eq!(world.outputs(), ["1"]);
}

#[test]
fn a_step_sees_nothing_of_the_callers() {
    let mut world = World::new(&[(
        "Procfile",
        "preflight: env > seen; ls -d /cache/* >> seen; ls / >> seen\nweb: true\n",
    )]);
    world.env("GIT_DIR", "/somewhere");
    world.env("SECRET", "of the caller");
    world.settings("build_env: {MIRROR: here}\n");
    world.build("1").good(&[]);
    let seen = fs::read_to_string(world.path("out/1/app/seen")).unwrap();
    assert!(seen.contains("MIRROR=here\n"), "{seen}");
    assert!(seen.contains("PATH=/usr/local/sbin:"), "{seen}");
    if crate::support::has_jail() {
        assert!(seen.contains("/cache/pip\n") && !seen.contains("/cache/layers"), "{seen}");
        assert!(!seen.contains("root\n"), "{seen}");
    }
    for name in ["GIT_DIR", "SECRET", "PIKU_"] {
        assert!(!seen.contains(name), "{seen}");
    }
}

#[test]
fn a_step_listens_on_the_ports_that_its_app_declares() {
    let bind = "import socket\ntry: socket.create_server(('127.0.0.1', 9123)); print('bound')\nexcept OSError as err: print(type(err).__name__)\n";
    let world =
        World::new(&[("Procfile", "preflight: python3 bind.py > said\nweb: cat said\n"), ("bind.py", bind)]);
    let said = |name: &str, env: &str| {
        world.write("ENV", env);
        world.build(name).good(&[]);
        fs::read_to_string(world.path("out").join(name).join("app/said")).unwrap()
    };
    assert_eq!(said("1", "LISTEN_PORTS=9123\n"), "bound\n");
    // A kernel before Linux 6.7 restricts none.
    if has_jail() && said("2", "LISTEN_PORTS=9124\n") != "bound\n" {
        assert_eq!(said("3", ""), "PermissionError\n");
    }
    world.write("ENV", "LISTEN_PORTS=20000\n");
    world.build("4").fails(str![[r#"
piku-build: LISTEN_PORTS: 20000 is one of the ports that piku gives to instances
hint: choose one outside of 20000 to 29999

"#]]);
}

#[test]
fn a_laptop_that_goes_away_stops_no_build() {
    let world =
        World::new(&[("Procfile", "preflight: for i in 1 2 3 4 5 6 7 8 9; do echo $i; done\nweb: true\n")]);
    let mut command = world.build_command("1", &[]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(world.outputs(), ["1"]);
}
