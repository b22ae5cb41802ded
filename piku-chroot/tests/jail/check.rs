//! `--check`, and what is said where a jail cannot be made.

use crate::scene::{Outcome, Scene, run, users};

#[test]
fn all_required_layers_hold_here() {
    for user in users() {
        let scene = Scene::new(user);
        let outcome = run(scene.jail(&["--check", "--format", "json"]));
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let rows: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        for row in rows.as_array().unwrap() {
            assert!(row["holds"] == true || row["required"] == false, "{row}");
        }
        let quiet = run(scene.jail(&["--check", "--quiet"]));
        assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));
    }
}

#[test]
fn other_groups_are_reported() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a process more groups");
        return;
    }
    let scene = Scene::new(users()[1]);
    let with_groups = |options: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--groups", "4,5"])
            .arg(scene.program())
            .args(options);
        run(&mut command)
    };
    let table = with_groups(&["--check"]);
    assert!(table.code == Some(0) && table.out.contains("in 2 more groups"), "{table:#?}");
    assert_eq!(with_groups(&["--check", "--strict"]).code, Some(1));
    let refused = with_groups(&["--strict", "--root-from-host", "--", "true"]);
    assert!(refused.code == Some(125) && refused.err.contains("--strict"), "{refused:#?}");
}

/// Runs a script as root of a new user namespace, where it can break things for what it starts.
fn broken(scene: &Scene, script: &str) -> Outcome {
    let mut command = scene.command("unshare");
    run(command.args(["-Urmpf", "--mount-proc", "sh", "-c", script, "sh"]).arg(scene.program()))
}

#[test]
fn no_namespaces_left_is_not_a_full_disk() {
    for user in users() {
        let scene = Scene::new(user);
        let forbid = "echo 0 > /proc/sys/user/max_user_namespaces &&";
        let outcome = broken(&scene, &format!("{forbid} exec \"$1\" --root-from-host -- true"));
        assert_eq!(outcome.code, Some(125));
        assert!(outcome.err.contains("user.max_user_namespaces is 0"), "{}", outcome.err);
        assert!(outcome.err.contains("\nhint: sysctl user.max_user_namespaces="), "{}", outcome.err);
        let outcome = broken(&scene, &format!("{forbid} exec \"$1\" --check"));
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.out.contains("fix:  sysctl user.max_user_namespaces="), "{}", outcome.out);
    }
}

#[test]
fn a_container_that_hides_its_proc_is_named() {
    for user in users() {
        let scene = Scene::new(user);
        let hide = "mount -t tmpfs none /proc/sys/kernel &&";
        // A container manager may keep another proc, out of sight, that serves the kernel as well.
        if broken(&scene, &format!("{hide} unshare -Urmpf --mount-proc true")).code == Some(0) {
            eprintln!("skipped: nothing hides the proc of this machine");
            return;
        }
        let outcome = broken(&scene, &format!("{hide} exec \"$1\" --root-from-host -- true"));
        assert_eq!(outcome.code, Some(125));
        assert!(outcome.err.contains("the outer container hides parts of its own /proc"), "{}", outcome.err);
        assert!(outcome.err.contains("hint: "), "{}", outcome.err);
        let outcome = broken(&scene, &format!("{hide} exec \"$1\" --check"));
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert!(outcome.out.contains("user namespace                        yes"), "{}", outcome.out);
    }
}

#[test]
fn a_jail_in_a_namespace_works() {
    for user in users() {
        let scene = Scene::new(user);
        let outcome = broken(&scene, "exec \"$1\" --root-from-host -- echo in");
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "in\n"), "{}", outcome.err);
    }
}

/// On x86-64: a program of 32 bits, which the filter does not know, says 0 to `exit`; else nothing that could
/// be run.
fn foreign_program() -> Vec<u8> {
    // mov eax, 1; xor ebx, ebx; int 0x80; hlt
    const CODE: [u8; 10] = [0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80, 0xf4];
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves =
        |file: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    let words =
        |file: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, 0x0804_8054, 52, 0, 0]);
    halves(&mut file, &[52, 32, 1, 0, 0, 0]);
    words(&mut file, &[1, 0, 0x0804_8000, 0x0804_8000, 94, 94, 5, 4096]);
    file.extend(CODE);
    file
}

#[test]
fn tree_whose_programs_the_filter_ends_is_reported() {
    for user in users() {
        let scene = Scene::new(user);
        let table = run(scene.jail(&["--check"])).out;
        assert!(table.contains("a program runs in it                  yes"), "{table}");
        let tree = scene.folder("tree/bin");
        for content in [foreign_program(), b"no program".to_vec()] {
            std::fs::write(tree.join("sh"), content).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(tree.join("sh"), mode).unwrap();
            let outcome = run(scene.jail(&["--check", "--root", "tree"]));
            assert_eq!(outcome.code, Some(1), "{outcome:#?}");
            assert!(
                outcome.out.contains("a program runs in it                  no, required"),
                "{outcome:#?}"
            );
            assert_ne!(run(scene.jail(&["--root", "tree", "--", "/bin/sh"])).code, Some(0));
        }
        let outcome = run(scene.jail(&["--check", "--root-from-host"]));
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
}
