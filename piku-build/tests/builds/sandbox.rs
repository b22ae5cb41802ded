//! Builds where no jail can be made: only a machine that makes none at all builds without.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a skipped test reports it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use piku_tests::snapshot::str;

use crate::support::{Ran, World};

/// The end of a trial as piku-chroot tells it.
const ENDED: &str =
    r#"{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0,"obstacle":"KIND"}"#;

/// An app whose preflight leaves a mark, and a piku-chroot that is this script.
fn world(script: &str) -> World {
    let mut world = World::new(&[]);
    let ran = world.path("ran");
    world.write("Procfile", format!("web: ./serve\npreflight: touch {}\n", ran.display()));
    world.executable("serve", "#!/bin/sh\n");
    let program = world.path("piku-chroot");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world.env("PIKU_CHROOT", program.to_str().unwrap());
    world
}

fn ends(obstacle: &str) -> String {
    format!("echo '{}'; echo 'piku-chroot: no luck' >&2; exit 125", ENDED.replace("KIND", obstacle))
}

/// Builds as the settings say, with no word on the command line.
fn build(world: &World, settings: &str, more: &[&str]) -> Ran {
    fs::write(world.path("host.yaml"), settings).unwrap();
    let mut args = vec!["build", "app", "--cache", "cache", "--output", "out/1", "--settings", "host.yaml"];
    args.extend(more);
    world.run(&args)
}

#[test]
fn a_failure_that_may_pass_never_builds_without_a_jail() {
    let temporary = ends("temporary");
    for script in [
        temporary.as_str(),
        "exit 125",
        "exit 1",
        "exit 127",
        "kill -9 $$",
        "kill -SEGV $$",
        "echo 'piku-chroot: cannot begin a session keyring: Disk quota exceeded' >&2; exit 125",
    ] {
        let world = world(script);
        for settings in ["", "sandbox: require\n", "protections: []\n", "protections: [namespaces]\n"] {
            let ran = build(&world, settings, &[]);
            assert_eq!(ran.code, Some(75), "{script}, {settings}: {ran}");
            ran.said(&["no jail can be made now", "hint: "]);
        }
        assert!(world.outputs().is_empty() && !world.path("ran").exists(), "{script}");
    }
}

#[test]
fn a_missing_or_foreign_jail_program_never_builds_without_a_jail() {
    let mut world = world("exit 0");
    let foreign = build(&world, "", &[]);
    foreign.said(&["does not say what holds", "hint: install the piku-chroot that came with this program"]);
    world.env("PIKU_CHROOT", "/no/such/piku-chroot");
    let missing = build(&world, "", &[]);
    missing.said(&["cannot run '/no/such/piku-chroot'", "hint: install piku-chroot beside this program"]);
    for ran in [foreign, missing] {
        assert_eq!(ran.code, Some(1), "{ran}");
    }
    assert!(world.outputs().is_empty() && !world.path("ran").exists());
}

#[test]
fn a_machine_without_jails_builds_without_unless_it_had_them() {
    let world = world(&ends("absent"));
    build(&world, "sandbox: require\n", &[]).fails(str![[r#"
piku-build: this machine's settings require the jail: no jail can be made here: no luck
hint: piku doctor says what keeps jails from being made

"#]]);
    build(&world, "protections: [namespaces]\n", &[]).fails(str![[r#"
piku-build: this machine made jails before and no longer does: no jail can be made here: no luck
hint: piku doctor says what keeps jails from being made
hint: if that is intended, record it: sudo piku doctor --record

"#]]);
    build(&world, "protections: []\n", &["--sandbox", "require"]).fails(str![[r#"
piku-build: this machine's settings require the jail: no jail can be made here: no luck
hint: piku doctor says what keeps jails from being made

"#]]);
    assert!(world.outputs().is_empty() && !world.path("ran").exists());
    build(&world, "protections: []\n", &[]).good(&[" !     warning: the steps run without a jail"]);
    assert!(!world.release("1").jailed && world.path("ran").exists());
}

#[test]
fn the_sandbox_that_is_off_asks_for_no_jail() {
    let world = world(&ends("temporary"));
    build(&world, "sandbox: off\nprotections: [namespaces]\n", &[]).good(&["the sandbox is off"]);
    assert!(!world.release("1").jailed);
}

#[test]
fn a_protection_that_was_recorded_and_is_gone_ends_the_build() {
    let jail =
        r#"echo '{"event":"started","level":1,"layers":["namespaces","seccomp"],"missing":[],"limits":[]}'"#;
    let world = world(jail);
    build(&world, "protections: [namespaces, seccomp, landlock]\n", &[]).fails(str![[r#"
piku-build: the jail has lost protections that this machine had before: landlock
hint: piku doctor says why, and how to fix it
hint: if that is intended, record it: sudo piku doctor --record

"#]]);
    assert!(world.outputs().is_empty() && !world.path("ran").exists());
}

/// The host's own buildpacks are asked about each app, which is code that reads what somebody pushed.
#[test]
fn buildpacks_of_the_host_are_not_asked_without_a_jail_either() {
    for (obstacle, settings, code) in [
        ("temporary", "", 75),
        ("absent", "sandbox: require\n", 1),
        ("absent", "protections: [namespaces]\n", 1),
    ] {
        let world = world(&ends(obstacle));
        let pack = world.path("packs/own/bin");
        fs::create_dir_all(&pack).unwrap();
        let detect = pack.join("detect");
        fs::write(&detect, format!("#!/bin/sh\ntouch '{}'\n", world.path("asked").display())).unwrap();
        fs::set_permissions(&detect, fs::Permissions::from_mode(0o755)).unwrap();
        let packs = world.path("packs");
        let ran = build(&world, settings, &["--buildpacks", packs.to_str().unwrap()]);
        assert_eq!(ran.code, Some(code), "{obstacle}, {settings}: {ran}");
        assert!(!world.path("asked").exists() && !world.path("ran").exists(), "{obstacle}, {settings}");
    }
}

/// With the real piku-chroot, while another program of the same user holds all user namespaces there may be.
#[test]
fn namespaces_that_are_used_up_are_not_a_machine_without_them() {
    let world = World::new(&[]);
    let ran = world.path("ran");
    world.write("Procfile", format!("web: true\npreflight: touch {}\n", ran.display()));
    let build = world.command(&["build", "app", "--cache", "cache", "--output", "out/1"]);
    let script = "echo 1 >/proc/sys/user/max_user_namespaces || exit 99
        unshare -U sleep 60 &
        while [ \"$(readlink /proc/$!/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do :; done
        exec \"$@\"";
    let mut shell = Command::new("unshare");
    shell
        .args(["-Urmpf", "--mount-proc", "sh", "-c", script, "sh"])
        .arg(build.get_program())
        .args(build.get_args());
    shell.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(build.get_current_dir().unwrap());
    let ran = Ran::of(shell.output().unwrap());
    if ran.code == Some(99) || ran.stderr.starts_with("unshare: ") {
        eprintln!("skipped: no user namespace can be had, or limited: {ran}");
        return;
    }
    assert_eq!(ran.code, Some(75), "{ran}");
    ran.said(&["no jail can be made now", "all namespaces that /proc/sys/user allows are in use"]);
    assert!(!world.path("ran").exists());
}
