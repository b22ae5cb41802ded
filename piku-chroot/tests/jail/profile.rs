//! Options from a file, and what they come to.

use std::fs;
use std::os::unix::ffi::OsStringExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::scene::{Outcome, Scene, User, run, users};

/// What `--print-profile` says with these options.
fn printed(scene: &Scene, options: &[&str]) -> String {
    let outcome = run(scene.jail(options).arg("--print-profile"));
    assert!(outcome.code == Some(0) && outcome.err.is_empty(), "{options:?}: {outcome:#?}");
    outcome.out
}

/// Refused with one line and a way out.
fn refused(scene: &Scene, options: &[&str]) -> String {
    let Outcome { code, out, err } = run(scene.jail(options).args(["--", "true"]));
    assert!(code == Some(125) && out.is_empty(), "{options:?}: {code:?} {out} {err}");
    assert!(err.lines().count() <= 2 && err.starts_with("piku-chroot: --profile: "), "{options:?}: {err}");
    err
}

#[test]
fn a_profile_is_as_good_as_its_options() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("data");
        let profile = format!(
            "root_from_host: true\nbind:\n- src: {}\n  dst: /kept\ntmpfs: [{{dst: /small, size: 65536}}]\nenv:\n  A: \"1\"\n  B: 'x y'\n\
             hostname: from-file\nchdir: /kept\nnet: none\n",
            scene.path("data").display()
        );
        scene.file("p.yaml", &profile);
        let mut command =
            scene.jail(&["--profile=./p.yaml", "--hostname=typed", "--env=A=2", "--tmpfs=/more"]);
        let script = "pwd; hostname; echo $A $B; echo there > file; df -k --output=size /small | tail -1; test -d /more; ls /sys/class/net";
        let outcome = run(command.args(["--", "sh", "-c", script]));
        let words: Vec<&str> = outcome.out.split_whitespace().collect();
        assert_eq!(words, ["/kept", "typed", "2", "x", "y", "64"], "{outcome:#?}");
        assert_eq!(fs::read_to_string(scene.path("data/file")).unwrap(), "there\n");
        // The same place twice is an error, wherever it was said.
        let twice = run(scene.jail(&["--profile=./p.yaml", "--tmpfs=/kept"]).args(["--", "true"]));
        assert_eq!(twice.code, Some(125));
        assert!(twice.err.contains("--tmpfs: '/kept' is taken by --bind"), "{}", twice.err);
    }
}

#[test]
fn the_ready_profiles() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("app");
        scene.file("app/file", "own\n");
        let app = scene.path("app");
        let app = app.to_str().unwrap();
        let run_it = |options: &[&str], script| {
            let outcome = run(scene.jail(options).args(["--", "sh", "-c", script]));
            assert!(outcome.code == Some(0) && outcome.err.is_empty(), "{options:?}: {outcome:#?}");
            outcome.out
        };
        assert_eq!(run_it(&["--profile=run", "--app", app], "pwd; cat file; hostname"), "/app\nown\napp\n");
        let bind = format!("{app}:/app");
        assert_eq!(
            run_it(&["--profile=build", "--bind", &bind], "pwd; touch new; hostname"),
            "/app\nbuild\n"
        );
        assert!(scene.path("app/new").exists());
    }
}

#[test]
fn what_was_printed_prints_the_same() {
    let scene = Scene::new(User::Own);
    let odd = scene.folder("a: {b}\n- 'c' \"d\" #e\u{1f600}");
    let bind = format!(r"{}:/x y\:z", odd.to_str().unwrap().replace(':', r"\:"));
    let options = [
        "--profile=run",
        "--app=relative",
        "--bind",
        &bind,
        "--ro=/usr/share:/games",
        "--tmpfs=/t:5m",
        "--tmpfs=/u",
        "--env=A=yes",
        "--env=B=\n x: y\n",
        "--env=A=010",
        "--keep-env=TERM",
        "--env-prefix=X_",
        "--net=none",
        "--strict",
    ];
    let first = printed(&scene, &options);
    scene.file("p.yaml", &first);
    assert_eq!(printed(&scene, &["--profile=./p.yaml"]), first);
    assert!(
        first
            .contains(&format!("app: {}/relative\n", scene.path("").to_str().unwrap().trim_end_matches('/'))),
        "{first}"
    );
    assert!(first.contains("A: '010'"), "{first}");
    // Nothing was made, nobody needs rights, and what could not be done cannot be printed.
    let twice = run(scene.jail(&["--print-profile", "--tmpfs=/a", "--ro=/usr:/a"]));
    assert!(twice.code == Some(125) && twice.out.is_empty(), "{twice:#?}");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let scene = Scene::new(User::Own);
    let option = std::ffi::OsString::from_vec(b"--app=/a\xffb".to_vec());
    let outcome = run(scene.jail(&["--print-profile"]).arg(option));
    assert!(outcome.code == Some(125) && outcome.out.is_empty(), "{outcome:#?}");
    assert!(
        outcome.err.contains("--print-profile") && outcome.err.contains("is not UTF-8"),
        "{}",
        outcome.err
    );
}

#[test]
fn files_that_are_no_profiles() {
    let scene = Scene::new(User::Own);
    mkfifo(&scene.path("fifo"), Mode::S_IRWXU).unwrap();
    scene.file("large.yaml", "");
    fs::File::options().write(true).open(scene.path("large.yaml")).unwrap().set_len(100_000_000).unwrap();
    scene.file("empty.yaml", "");
    fs::write(scene.path("latin.yaml"), b"strict: true\napp: /\xe9\n").unwrap();
    scene.file("key.yaml", "strict: true\napps: /x\n");
    scene.file("relative.yaml", "bind:\n- {src: a, dst: /b}\n");
    for (profile, expected) in [
        ("./fifo", "it is no regular file"),
        ("/dev/zero", "it is no regular file"),
        ("./", "it is a folder"),
        ("./large.yaml", "larger than the 32768 bytes"),
        ("./missing.yaml", "No such file"),
        ("./empty.yaml", "'./empty.yaml':1: there is nothing in it"),
        ("./latin.yaml", "'./latin.yaml':2: this is not UTF-8"),
        ("./key.yaml", "'./key.yaml':2: unknown key `apps`"),
        ("./relative.yaml", "'./relative.yaml':2: bind[0].src: 'a' is a relative path"),
        ("ruin", "there is no profile 'ruin', only 'build' and 'run'"),
    ] {
        let err = refused(&scene, &["--profile", profile]);
        assert!(err.contains(expected), "{profile}: {err}");
    }
}
