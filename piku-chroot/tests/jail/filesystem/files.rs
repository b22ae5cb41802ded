//! The files in a jail, and those that can be written to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::scene::{Scene, run, users};

#[test]
fn nothing_of_the_host_but_its_programs() {
    for user in users() {
        let scene = Scene::new(user);
        let secret = scene.file("secret", "s3cret");
        let top = scene.ok(&[], "ls -A /");
        for name in top.lines() {
            let known = ["bin", "dev", "etc", "home", "proc", "run", "sbin", "tmp", "usr", "var"];
            assert!(known.contains(&name) || name.starts_with("lib"), "{name}");
        }
        assert_eq!(scene.ok(&[], "ls -A /home /run /tmp /dev/shm | grep -v :"), "\n\n\n");
        assert_eq!(
            scene.ok(&[], "ls /dev"),
            "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
        );
        let gone = format!(
            "test ! -e {} && test ! -e /root && test ! -e /sys && test ! -e /etc/shadow",
            secret.display()
        );
        scene.ok(&[], &gone);
        // Without any option there is not even a program.
        let outcome = run(scene.jail(&["--", "/bin/sh"]));
        assert_eq!(outcome.code, Some(127), "{outcome:?}");
    }
}

#[test]
fn exactly_three_descriptors() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("open");
        let program = scene.program().to_str().unwrap().to_owned();
        let script = "exec 7<open 9>lock 200</etc; exec \"$1\" --root-from-host -- ls /proc/self/fd";
        let outcome = run(scene.command("bash").args(["-c", script, "bash", &program]));
        // The fourth is what ls itself reads the folder through.
        assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("0\n1\n2\n3\n", ""));
    }
}

#[test]
fn only_data_and_memory_can_be_written_to() {
    for user in users() {
        let scene = Scene::new(user);
        let (app, data) = (scene.folder("app"), scene.folder("data"));
        fs::write(app.join("f"), "").unwrap();
        let options = ["--app", app.to_str().unwrap(), "--data", data.to_str().unwrap()];
        for place in [
            "",
            "usr/",
            "usr/bin/",
            "etc/",
            "dev/",
            "home/",
            "run/",
            "var/",
            "app/",
            "proc/",
            "etc/ssl/certs/",
        ] {
            let outcome =
                scene.sh(&options, &format!("! (: > /{place}new) 2>&- && ! mkdir /{place}newer 2>&-"));
            assert_eq!(outcome.code, Some(0), "/{place}: {outcome:?}");
        }
        scene.ok(
            &options,
            "! chmod 777 /etc/passwd /dev/null /app /app/f /usr 2>&- && ! rm /etc/hosts /app/f 2>&-",
        );
        scene.ok(
            &options,
            "for d in /data /tmp /dev/shm; do echo x > $d/new && mkdir $d/newer; done; test -e /var/tmp/new",
        );
        assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "x\n");
        assert_eq!(fs::read_dir(&app).unwrap().count(), 1);
        for file in [
            "sys/kernel/core_pattern",
            "sys/kernel/hostname",
            "sys/vm/drop_caches",
            "sysrq-trigger",
            "irq/default_smp_affinity",
        ] {
            let outcome = scene.sh(&[], &format!("test -w /proc/{file} || ! (exec 3> /proc/{file}) 2>&-"));
            assert_eq!(outcome.code, Some(0), "{file}");
            assert_ne!(scene.sh(&[], &format!("exec 3> /proc/{file}")).code, Some(0), "{file}");
        }
    }
}

#[test]
fn each_mount_is_restricted() {
    for user in users() {
        let scene = Scene::new(user);
        let data = scene.folder("data");
        let mounts = scene.ok(&["--data", data.to_str().unwrap()], "cat /proc/self/mounts");
        let mut writable = Vec::new();
        for line in mounts.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let (place, options) = (words[1], words[3].split(',').collect::<Vec<_>>());
            assert!(options.contains(&"nosuid"), "{line}");
            assert!(
                options.contains(&"nodev") || options.contains(&"noexec") && place.starts_with("/dev/"),
                "{line}"
            );
            if options.contains(&"rw") {
                writable.push(place);
            }
        }
        writable.sort_unstable();
        assert_eq!(writable, ["/data", "/dev/pts", "/dev/shm", "/proc", "/tmp"]);
    }
}

#[test]
fn what_the_host_mounts_below_a_tree_is_restricted_as_well() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("data/sub");
        // A namespace in which there is something mounted in the tree, writable and with devices.
        let script = "mount -t tmpfs -o mode=777 none data/sub && exec \"$1\" --root-from-host --app data -- \
                      sh -c 'grep /app/sub /proc/self/mounts && ! (: > /app/sub/x) 2>&-'";
        let outcome =
            run(scene.command("unshare").args(["-Urm", "sh", "-c", script, "sh"]).arg(scene.program()));
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(outcome.out.contains(" ro,nosuid,nodev"), "{}", outcome.out);
    }
}

#[test]
fn links_in_the_apps_tree_lead_nowhere() {
    for user in users() {
        let scene = Scene::new(user);
        let (app, data) = (scene.folder("app"), scene.folder("outside"));
        scene.folder("app/real/deep");
        symlink("/etc", app.join("data")).unwrap();
        symlink("../../..", app.join("up")).unwrap();
        symlink(&data, app.join("x")).unwrap();
        let app = app.to_str().unwrap();
        // Read through the links: the jail's own files, and nothing else.
        scene.ok(&["--app", app], "test -e /app/data/passwd && test ! -e /app/data/shadow && test ! -e /app/x && ls /app/up/usr > /tmp/x");
        for place in ["/app/data", "/app/up/y", "/app/x", "/app/x/y", "/app/new", "/app/real/new"] {
            let bind = format!("{}:{place}", data.display());
            let outcome = scene.sh(&["--app", app, "--bind", &bind], "true");
            assert_eq!(outcome.code, Some(125), "{place}: {outcome:?}");
            assert!(outcome.err.contains(&format!("--bind: cannot mount at '{place}': ")), "{outcome:?}");
            let outcome = scene.sh(&["--app", app, "--tmpfs", place], "true");
            assert_eq!(outcome.code, Some(125), "{place}: {outcome:?}");
        }
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        assert!(!scene.path("app/new").exists() && !scene.path("app/real/new").exists());
        // A folder that is really there can be covered.
        let bind = format!("{}:/app/real/deep", data.display());
        scene.ok(&["--app", app, "--bind", &bind], "echo in > /app/real/deep/file");
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "in\n");
    }
}

#[test]
fn places_in_memory_and_in_each_other() {
    for user in users() {
        let scene = Scene::new(user);
        let file = scene.file("file", "f");
        let folder = scene.folder("folder");
        let (file, folder) =
            (format!("{}:/new/deep/file", file.display()), format!("{}:/home/me", folder.display()));
        let options = ["--tmpfs", "/home:1m", "--bind", &folder, "--ro", &file, "--tmpfs", "/new/memory"];
        scene.ok(
            &options,
            "echo a > /home/x && echo b > /home/me/y && test $(cat /new/deep/file) = f && : > /new/memory/z",
        );
        assert_eq!(fs::read_to_string(scene.path("folder/y")).unwrap(), "b\n");
        let etc = format!("{}:/etc/passwd", scene.path("file").display());
        assert_eq!(scene.ok(&["--ro", &etc], "cat /etc/passwd"), "f");
    }
}

#[test]
fn memory_is_limited() {
    for user in users() {
        let scene = Scene::new(user);
        for (place, options) in [("/tmp", &["--tmpfs", "/tmp:1m"][..]), ("/dev/shm", &[])] {
            let outcome = scene.sh(options, &format!("head -c 100m /dev/zero > {place}/big"));
            assert!(
                outcome.code != Some(0) && outcome.err.contains("No space left on device"),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn the_number_of_files_in_memory_is_limited() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "/usr/bin/python3 -c '
import errno, os
for place in (\"/tmp\", \"/dev/shm\"):
    try:
        for number in range(200_000): os.mknod(f\"{place}/{number}\")
        print(\"no end\")
    except OSError as err: print(err.errno == errno.ENOSPC)
'";
        assert_eq!(scene.ok(&[], script), "True\nTrue\n");
    }
}

#[test]
fn names_are_data() {
    for user in users() {
        let scene = Scene::new(user);
        let folder = scene.folder("--odd:na\\me,\nof");
        fs::write(folder.join("--run"), "#!/bin/sh\nprintf '%s.' \"$@\"\n").unwrap();
        fs::set_permissions(folder.join("--run"), PermissionsExt::from_mode(0o755)).unwrap();
        let source = folder.to_str().unwrap().replace('\\', "\\\\").replace(':', "\\:");
        let bind = format!("{source}:/--a\\:b,\n\\\\c");
        let argv = ["--", "/--a:b,\n\\c/--run", "--check", "a b", "", "--", "x\ny"];
        let outcome = run(scene.jail(&["--root-from-host", "--ro", &bind]).args(argv));
        assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("--check.a b..--.x\ny.", ""));
        let outcome = run(scene
            .jail(&["--root-from-host", "--app=--odd:na\\me,\nof", "--chdir=/app"])
            .args(["--", "./--run", "x"]));
        assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("x.", ""));
    }
}
