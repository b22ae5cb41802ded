//! Builds that are killed, ended, or meet another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use piku_tests::snapshot::str;

use crate::support::{Ran, Running, World, until};

fn app() -> World {
    World::new(&[
        ("app.py", "import six\n"),
        ("requirements.txt", "six\n"),
        ("Procfile", "worker: python app.py\n"),
    ])
}

/// The content of the layer that is being built, once something is in it.
fn half_made(world: &World) -> PathBuf {
    let mut found = PathBuf::new();
    until("a layer has begun", || {
        let Some(key) = world.layers().pop() else { return false };
        found = world.content(&key);
        found.join("pyvenv.cfg").exists()
    });
    found
}

fn complete(content: &Path) -> bool {
    content.with_file_name("complete").exists()
}

#[test]
fn a_layer_of_a_killed_build_is_built_again() {
    let world = app();
    let mut build = Running::start(world.build_command("1", &[]));
    let content = half_made(&world);
    build.signal("KILL");
    build.0.wait().unwrap();
    assert!(!complete(&content));
    fs::write(content.join("half"), "").unwrap();
    assert!(world.outputs().iter().all(|name| name.starts_with(".piku-build-")), "{:?}", world.outputs());
    world.build("1").good(&["-----> Installing dependencies"]);
    assert!(complete(&content) && !content.join("half").exists());
    world.work("1", &["python", "app.py"]).good(&[]);
    assert_eq!(world.outputs(), ["1"], "the next build sweeps");
}

#[test]
fn terminated_build_leaves_nothing() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let world = app();
        let mut build = Running::start(world.build_command("1", &[]));
        half_made(&world);
        build.signal(name);
        assert_eq!(build.0.wait().unwrap().code(), Some(code));
        assert!(
            world.layers().is_empty() && world.outputs().is_empty(),
            "{:?} {:?}",
            world.layers(),
            world.outputs()
        );
    }
}

#[test]
fn a_step_that_will_not_end_is_killed() {
    let world = World::new(&[(
        "Procfile",
        "preflight: trap '' TERM; touch begun; while :; do sleep 1; done\nweb: true\n",
    )]);
    let mut build = Running::start(world.build_command("1", &[]));
    until("the step has begun", || {
        world.outputs().iter().any(|name| world.path("out").join(name).join("release/app/begun").exists())
    });
    build.signal("TERM");
    assert_eq!(build.0.wait().unwrap().code(), Some(143));
    assert!(world.outputs().is_empty());
}

#[test]
fn two_builds_of_one_layer_build_it_once() {
    let world = app();
    let both: Vec<_> = ["1", "2"].map(|name| world.build_command(name, &[]).spawn().unwrap()).into();
    let ran: Vec<_> = both.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect();
    let installed = ran.iter().filter(|ran| ran.good(&[]).stderr.contains(" + six==")).count();
    assert_eq!(installed, 1, "{}\n{}", ran[0], ran[1]);
    assert_eq!((world.layers().len(), world.outputs().len()), (1, 2));
    for name in ["1", "2"] {
        world.work(name, &["python", "app.py"]).good(&[]);
    }
}

#[test]
fn a_build_that_takes_too_long_is_ended() {
    let mut world = World::new(&[("Procfile", "preflight: sleep 1000\nweb: true\n")]);
    world.settings("build_timeout: 1\n");
    world.build("1").fails(str![[r#"
piku-build: step 'preflight': the build took longer than this host allows; nothing was kept
hint: build_timeout in host.yaml sets the limit, in seconds

"#]]);
    assert!(world.outputs().is_empty(), "{:?}", world.outputs());
}

/// The work folder is on a file system of its own, in a mount namespace of the command's.
#[test]
fn a_build_that_uses_up_the_disk_is_ended() {
    let fill = "mkdir -p $PIP_CACHE_DIR; echo x >$PIP_CACHE_DIR/x; trap 'echo asked=$((1+1)); sleep 1000' TERM; \
                head -c 40m /dev/zero >big; sleep 1000";
    let mut world = World::new(&[("Procfile", &format!("preflight: {fill}\nweb: true\n"))]);
    world.settings("disk_reserve: 32\nbuild_timeout: 60\n");
    fs::create_dir(world.path("out")).unwrap();
    let build = world.build_command("1", &[]);
    let mount = "mount -t tmpfs -o size=64m tmpfs out && { \"$@\"; code=$?; ls -A out; exit $code; }";
    let mut all = Command::new("unshare");
    all.args(["--map-root-user", "--mount", "sh", "-c", mount, "sh"]).arg(build.get_program());
    all.args(build.get_args()).env_clear().current_dir(build.get_current_dir().unwrap());
    all.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(all.stdin(Stdio::null()).output().unwrap());
    ran.fails(str![[r#"
piku-build: step 'preflight': the build has used up the disk; nothing was kept, and its caches were removed
hint: disk_reserve in host.yaml sets how much of it stays free for the other apps

"#]]);
    assert!(ran.stdout.is_empty(), "{ran}");
    // It could go on writing.
    ran.not_said("asked=2");
    assert!(!world.path("cache/pip").exists());
}
