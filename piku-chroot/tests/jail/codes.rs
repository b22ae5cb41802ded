//! Exit codes and messages.

use piku_tests::snapshot::{assert_snapshot, file, str};

use crate::scene::{Scene, run, users};

#[test]
fn exit_codes_are_those_of_the_command() {
    for user in users() {
        let scene = Scene::new(user);
        assert_eq!(scene.sh(&[], "exit 42").code, Some(42));
        assert_eq!(scene.sh(&[], "exit 0").code, Some(0));
        assert_eq!(scene.sh(&[], "exit 255").code, Some(255));
        assert_eq!(scene.sh(&[], "kill -SEGV $$").code, Some(139));
        assert_eq!(scene.sh(&[], "kill -TERM $$").code, Some(143));
        assert_eq!(scene.sh(&[], "kill -KILL $$").code, Some(137));
    }
}

#[test]
fn a_command_that_is_not_there_or_cannot_be_run() {
    for user in users() {
        let scene = Scene::new(user);
        scene.file("script", "#!/nowhere/sh\n");
        scene.file("text", "no program\n");
        let data = scene.path("");
        let outcome = |argv: &str| {
            let _ = std::process::Command::new("chmod")
                .arg("755")
                .arg(scene.path("script"))
                .arg(scene.path("text"))
                .status();
            let outcome =
                run(scene.jail(&["--root-from-host", "--data", data.to_str().unwrap(), "--", argv]));
            (outcome.code, outcome.err)
        };
        let said = |text: &str| format!("piku-chroot: {text}\n");
        assert_eq!(outcome("no-such"), (Some(127), said("'no-such': no such command in the jail")));
        assert_eq!(outcome("/no/such"), (Some(127), said("'/no/such': no such command in the jail")));
        assert_eq!(outcome(""), (Some(127), said("'': no such command in the jail")));
        let empty = run(scene.jail(&["--", "ls"]));
        let hint = "hint: without --root-from-host or --root, the jail is empty";
        assert_eq!(
            (empty.code, empty.err),
            (Some(127), said(&format!("'ls': no such command in the jail\n{hint}")))
        );
        let (code, err) = outcome("/etc/passwd");
        assert_eq!(code, Some(126));
        assert_snapshot(
            &err,
            str![[r#"
piku-chroot: cannot run '/etc/passwd': Permission denied (os error 13)

"#]],
        );
        assert_eq!(outcome("/usr").0, Some(126));
        assert_eq!(outcome("/data/text").0, Some(126));
        let (code, err) = outcome("/data/script");
        assert_eq!(code, Some(127));
        assert_snapshot(
            &err,
            str![[r#"
piku-chroot: '/data/script': its interpreter is not in the jail

"#]],
        );
    }
}

#[test]
fn errors_name_the_option_and_the_path() {
    for user in users() {
        let scene = Scene::new(user);
        scene.file("file", "");
        std::os::unix::fs::symlink("/etc", scene.path("link")).unwrap();
        let cases: [&[&str]; 18] = [
            &["--app", "/no/such"],
            &["--data", "gone"],
            &["--bind", "gone:/x"],
            &["--ro", "gone:/x"],
            &["--root", "gone"],
            &["--app", "file"],
            &["--root", "file"],
            &["--app", "link"],
            &["--bind", "link/:/x"],
            &["--bind", "/proc/self/root:/x"],
            &["--bind", "/proc/self/root/etc:/x"],
            &["--bind", "file:/x/../y"],
            &["--bind", "file:/proc/self"],
            &["--bind", "file:/lib64/x/y"],
            &["--bind", "file:/var/tmp/x"],
            &["--ro", ".:/x", "--bind", "file:/x"],
            &["--chdir", "/no/such"],
            &["--user", "no-such-user"],
        ];
        let printed = cases.iter().map(|options| {
            let mut command = scene.jail(options);
            if !options.contains(&"--root") {
                command.arg("--root-from-host");
            }
            let outcome = run(command.args(["--", "true"]));
            assert_eq!(outcome.code, Some(125), "{options:?}: {outcome:#?}");
            format!("$ piku-chroot {} -- true\n{}", options.join(" "), outcome.err)
        });
        assert_snapshot(&printed.collect::<String>(), file!["errors/options.txt"]);
    }
}

#[test]
fn a_limit_of_file_sizes_is_reported() {
    for user in users() {
        let scene = Scene::new(user);
        let line = r#"ulimit -f 0; exec "$0" --root-from-host -- true"#;
        let outcome = run(scene.command("sh").args(["-c", line]).arg(scene.program()));
        assert_eq!(outcome.code, Some(125), "{outcome:#?}");
        assert!(outcome.err.contains("File too large"), "{outcome:#?}");
    }
}

#[test]
fn a_wrong_command_line_is_a_failure_to_set_up() {
    let scene = Scene::new(users()[0]);
    assert_eq!(run(scene.jail(&[])).code, Some(125));
    assert_eq!(run(scene.jail(&["--no-such-option", "--", "true"])).code, Some(125));
    assert_eq!(run(scene.jail(&["--bind", "/a", "--", "true"])).code, Some(125));
    assert_eq!(run(scene.jail(&["--help"])).code, Some(0));
}
