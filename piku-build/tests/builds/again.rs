//! Builds that come after another: what they share with it, and what they do not take from it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use piku_tests::snapshot::str;

use crate::support::World;

fn app() -> World {
    World::new(&[
        ("requirements.txt", ""),
        ("app.py", "print('one')\n"),
        ("data.txt", "the same\n"),
        ("Procfile", "web: python app.py\n"),
    ])
}

fn key(world: &World, name: &str) -> String {
    world.release(name).layers[0].key.clone()
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn without_caches_everything_is_built_anew_and_stays() {
    let world = app();
    world.build("1").good(&[]);
    fs::write(world.path("cache/pip/poison"), "x").unwrap();
    let again = world.build_with("2", &["--no-cache"]);
    again.good(&["Installing dependencies"]);
    assert_ne!(key(&world, "1"), key(&world, "2"), "what is in use is not written again");
    assert!(world.path("cache/layers").join(key(&world, "1")).is_dir());
    assert!(!world.path("cache/pip/poison").exists(), "the old caches are gone");
    let third = world.build("3");
    third.good(&["Dependencies are unchanged"]);
    assert_eq!(key(&world, "2"), key(&world, "3"));

    world.write("app.py", "def broken(:\n");
    world.build_with("4", &["--no-cache"]).fails(str![[r#"
piku-build: app.py:1: SyntaxError: invalid syntax
'web' starts with it
hint: 'python3 -m py_compile app.py' shows the same on your machine

"#]]);
    world.write("app.py", "print('one')\n");
    world.build("5").good(&[]);
    assert_eq!(key(&world, "2"), key(&world, "5"), "one that failed changes nothing");
}

#[test]
fn files_that_are_the_same_are_shared_with_the_release_before() {
    let world = app();
    if !crate::support::has_jail() {
        let world = world.without_jail();
        world.build("1").good(&[]);
        world.build_with("2", &["--before", "out/1"]).good(&[]);
        let [one, two] = ["1", "2"].map(|name| world.path(&format!("out/{name}/app/data.txt")));
        assert_ne!(inode(&one), inode(&two), "its workers could write to both");
        return;
    }
    world.build_with("1", &["--before", "out/0"]).good(&[]);
    world.write("app.py", "print('two')\n");
    world.executable("data2.txt", "x");
    world.build_with("2", &["--before", "out/1"]).good(&[]);
    let file = |name: &str, file: &str| world.path(&format!("out/{name}/app/{file}"));
    assert_eq!(inode(&file("1", "data.txt")), inode(&file("2", "data.txt")));
    assert_ne!(inode(&file("1", "app.py")), inode(&file("2", "app.py")));
    assert_eq!(fs::read_to_string(file("1", "app.py")).unwrap(), "print('one')\n");
    assert_eq!(fs::read_to_string(file("2", "app.py")).unwrap(), "print('two')\n");
    // The same content with other rights is another file.
    world.executable("data.txt", "the same\n");
    world.build_with("3", &["--before", "out/2"]).good(&[]);
    assert_ne!(inode(&file("2", "data.txt")), inode(&file("3", "data.txt")));
    assert_eq!(inode(&file("2", "data2.txt")), inode(&file("3", "data2.txt")));
}

#[test]
fn a_build_that_wants_more_memory_than_it_may_have_is_told_so() {
    let mut world = World::new(&[
        ("requirements.txt", ""),
        ("app.py", ""),
        ("Procfile", "preflight: python3 -c \"x = bytearray(300 * 1024 * 1024)\"\nweb: python app.py\n"),
    ]);
    world.settings("build_memory: 128m\n");
    let ran = world.build("1");
    if crate::support::has_jail() {
        ran.fails(str![[r#"
piku-build: step 'preflight' ran out of memory; each of its processes may have 128m
hint: build_memory in host.yaml sets how much memory a build may use; by default, what is available

"#]]);
    }
    world.settings("build_memory: lots\n");
    world.build("2").fails(str![[r#"
piku-build: build_memory in host.yaml: 'lots' is not an amount of memory: expected bytes, with k, m or g after them, or 1% to 100%
hint: examples for build_memory in host.yaml: 512m, 50%

"#]]);
}

#[test]
fn build_has_lower_priority_than_instances() {
    let world = World::new(&[
        ("requirements.txt", ""),
        ("app.py", ""),
        ("Procfile", "preflight: nice > nice.txt; ulimit -S -f > size.txt\nweb: python app.py\n"),
    ]);
    let nice = |name: &str| world_nice(&world.path(&format!("out/{name}/app/nice.txt")));
    let before = nice_of_this_test();
    world.build("1").good(&[]);
    assert_eq!(nice("1"), (before + 10).min(19));
    // git has limits, which its hooks inherit.
    let build = world.build_command("2", &[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -S -f 40000; exec \"$@\"", "sh"]).arg(build.get_program());
    limited.args(build.get_args()).env_clear().current_dir(build.get_current_dir().unwrap());
    limited.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    crate::support::Ran::of(limited.stdin(std::process::Stdio::null()).output().unwrap()).good(&[]);
    assert_eq!(fs::read_to_string(world.path("out/2/app/size.txt")).unwrap(), "unlimited\n");
}

fn world_nice(file: &Path) -> i32 {
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn nice_of_this_test() -> i32 {
    let out = std::process::Command::new("nice").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn unreadable_files_of_a_step_are_in_both_releases() {
    let world = World::new(&[
        ("app.js", ""),
        ("Procfile", "web: node app.js\n"),
        (
            "package.json",
            r#"{"scripts":{"build":"mkdir -p closed/in && echo x >closed/in/x && chmod 0 closed/in/x && chmod 0 closed/in closed"}}"#,
        ),
    ]);
    world.build("1").good(&[]);
    world.build_with("2", &["--before", "out/1"]).good(&[]);
    assert_eq!(fs::read_to_string(world.path("out/2/app/closed/in/x")).unwrap(), "x\n");
    let mode = |path: &str| fs::metadata(world.path("out/1/app").join(path)).unwrap().mode() & 0o777;
    assert_eq!([mode("closed/in/x"), mode("closed/in"), mode("closed")], [0o400, 0o700, 0o700]);
    if crate::support::has_jail() {
        let [one, two] = ["1", "2"].map(|name| world.path(&format!("out/{name}/app/closed/in/x")));
        assert_eq!(inode(&one), inode(&two));
    }
}
