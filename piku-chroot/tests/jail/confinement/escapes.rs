//! Known ways out, each tried.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::process::Stdio;

use nix::libc::O_PATH;

use crate::scene::{Running, Scene, User, copy_program, run, users};

#[test]
fn process_1_tells_nothing() {
    for user in users() {
        let scene = Scene::new(user);
        for name in ["exe", "cwd", "root"] {
            assert_ne!(scene.sh(&[], &format!("readlink /proc/1/{name}")).code, Some(0), "{name}");
        }
        for name in ["environ", "mem", "auxv"] {
            assert_ne!(scene.sh(&[], &format!("head -c 1 /proc/1/{name}")).code, Some(0), "{name}");
        }
        assert_ne!(scene.sh(&[], "ls /proc/1/fd/ && ls -l /proc/1/fd/ | grep -e '->'").code, Some(0));
        // Nor can it be ended or replaced.
        scene.ok(&[], "kill -KILL 1; kill -STOP 1; kill -SEGV 1; test -d /proc/1");
        let before = fs::read(scene.program()).unwrap();
        let script = "! (echo x > /proc/1/exe) 2>&- && ! (echo x > /proc/self/exe) 2>&- && ! cp /bin/true /proc/1/exe 2>&-";
        scene.ok(&[], script);
        assert!(before == fs::read(scene.program()).unwrap(), "the program was overwritten");
    }
}

#[test]
fn no_folder_as_input_or_output() {
    for user in users() {
        let scene = Scene::new(user);
        for (redirection, said) in
            [("</", "stdin is a directory"), (">&- 1</", "stdout is a directory"), ("2</", "")]
        {
            let line = format!(r#""$0" --root-from-host -- ls /proc/self/fd/0/ {redirection}"#);
            let outcome = run(scene.command("sh").args(["-c", &line]).arg(scene.program()));
            assert_eq!(outcome.code, Some(125), "{redirection}: {outcome:#?}");
            assert!(outcome.err.contains(said) && outcome.out.is_empty(), "{redirection}: {outcome:#?}");
        }
        // Neither input nor output, and yet a way to a file of the host's.
        let path = OpenOptions::new().read(true).custom_flags(O_PATH).open("/etc/hostname").unwrap();
        let mut jail = scene.jail(&["--root-from-host", "--", "cat", "/dev/stdin"]);
        assert_eq!(Running::start(jail.stdin(path)).wait().code(), Some(125));
    }
}

#[test]
fn no_tracing_of_process_1() {
    for user in users() {
        let scene = Scene::new(user);
        // ptrace(PTRACE_ATTACH, 1), and reading its memory.
        let script = "/usr/bin/python3 -c '
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, 1, 0, 0) == -1 and ctypes.get_errno() == 1
try: open(\"/proc/1/mem\", \"rb\"); assert False
except PermissionError: pass
'";
        scene.ok(&[], script);
    }
}

#[test]
fn no_mounts_no_other_root_no_devices() {
    for user in users() {
        let scene = Scene::new(user);
        for attempt in [
            "mount -t tmpfs none /tmp",
            "mount -o remount,rw /",
            "mount -o remount,rw,bind /usr",
            "mount --bind /tmp /usr",
            "umount /proc",
            "umount -l /tmp",
            "umount /etc/ssl/certs",
            "chroot / true",
            "mknod /tmp/null c 1 3",
            "mknod /tmp/removed c 0 0",
            "mknod /tmp/disk b 8 0",
            "hostname other",
            "nsenter -t 1 -m true",
            "nsenter -t 1 -U true",
            "setpriv --reuid 1 true",
            "setpriv --clear-groups true",
        ] {
            assert_ne!(scene.sh(&[], attempt).code, Some(0), "{attempt}");
        }
    }
}

#[test]
fn a_set_uid_program_is_a_plain_one() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a set-uid program of root's");
        return;
    }
    let scene = Scene::new(User::Nobody);
    // Not below /tmp, which is often mounted nosuid itself.
    let place = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let data = place.path();
    let id = data.join("id");
    copy_program("/usr/bin/id".as_ref(), &id);
    chown(&id, Some(0), Some(0)).unwrap();
    fs::set_permissions(&id, PermissionsExt::from_mode(0o6755)).unwrap();
    let outside = run(scene.command(&id)).out;
    assert!(outside.contains("euid=0"), "the test is no test: {outside}");
    let inside = scene.ok(&["--data", data.to_str().unwrap()], "/data/id -u; /data/id -ru");
    assert_eq!(inside, "65534\n65534\n");
}

#[test]
fn a_bound_folder_that_is_moved_away_from_outside() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("data/sub/deep");
        scene.file("secret", "s3cret");
        let mut command = scene.jail(&["--root-from-host", "--data", "data", "--", "sh"]);
        let mut jail = Running::start(command.stdin(Stdio::piped()));
        let mut say = jail.child.stdin.take().unwrap();
        writeln!(say, "cd /data/sub/deep && echo there").unwrap();
        jail.until_line("there");
        fs::rename(scene.path("data/sub"), scene.path("sub")).unwrap();
        // Going up from here would now pass by the top of the tree that was let in.
        writeln!(
            say,
            "cd -P .. ; cd -P .. ; cd -P ../.. ; ls; cat secret ../secret ../../secret; ls ..; echo done"
        )
        .unwrap();
        drop(say);
        let outcome = std::io::read_to_string(jail.child.stdout.take().unwrap()).unwrap();
        assert!(
            outcome.ends_with("done\n") && !outcome.contains("secret") && !outcome.contains("s3cret"),
            "{outcome}"
        );
    }
}

#[test]
fn what_is_mounted_later_on_the_host_stays_out() {
    let scene = Scene::new(User::Own);
    scene.folder("data/sub");
    // A host of our own, whose mounts are shared as systemd has it.
    let script = "mount --make-rshared / && mkfifo fifo && : > out && \
                  { \"$1\" --root-from-host --data data -- sh -c 'echo ready; read x; ls /data/sub' < fifo > out & } && exec 3> fifo && \
                  until grep -q ready out; do sleep 0.01; done; mount -t tmpfs none data/sub && : > data/sub/seen && echo go >&3 && wait && cat out";
    let outcome = run(scene.command("unshare").args(["-Urm", "sh", "-c", script, "sh"]).arg(scene.program()));
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), "ready\n", ""));
}

#[test]
fn a_working_directory_that_leads_out() {
    for user in users() {
        let scene = Scene::new(user);
        let app = scene.folder("app");
        for (name, target) in
            [("fd", "/proc/self/fd/9"), ("root", "/proc/1/root"), ("stub", "/proc/1/cwd"), ("deep", "fd/etc")]
        {
            std::os::unix::fs::symlink(target, app.join(name)).unwrap();
        }
        let jail = |dir: &str| {
            let line = r#"exec 9</ 8</etc "$@""#;
            let mut command = scene.command("bash");
            command.args(["-c", line, "bash"]).arg(scene.program());
            run(command.args(["--root-from-host", "--app=app", "--chdir", dir, "--", "pwd", "-P"]))
        };
        for dir in [
            "/proc/self/fd/9",
            "/proc/self/fd/8",
            "/proc/self/fd/9/etc",
            "/proc/self/cwd",
            "/proc/self/root",
            "/proc/1/root",
            "/proc/1/cwd",
            "/proc/thread-self/fd/9",
            "/proc/thread-self/cwd",
            "/dev/fd/9",
            "/app/fd",
            "/app/root",
            "/app/stub",
            "/app/deep",
            "/proc/self/task/1/root",
        ] {
            let outcome = jail(dir);
            assert_eq!((outcome.code, outcome.out.as_str()), (Some(125), ""), "{dir}: {outcome:?}");
            assert!(outcome.err.contains("--chdir: cannot go to '"), "{outcome:?}");
        }
        for dir in ["/app/..", "/app/../../..", "../..", "app"] {
            let outcome = jail(dir);
            assert_eq!((outcome.code, outcome.out.as_str()), (Some(125), ""), "{dir}: {outcome:?}");
        }
        // Links within the jail are none of this.
        std::os::unix::fs::symlink("/usr/lib", app.join("lib")).unwrap();
        assert_eq!(jail("/app/lib").out, "/usr/lib\n");
        assert_eq!(jail("/proc/self").code, Some(0));
    }
}

#[test]
fn a_crash_feeds_no_handler_of_the_host() {
    for user in users() {
        let scene = Scene::new(user);
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let expected = if pattern.starts_with(['|', '@']) { "1" } else { "0" };
        let said = scene.ok(&[], "ulimit -Sc; ulimit -Hc; grep core /proc/self/limits | tr -s ' '");
        let line = format!("Max core file size {expected} {expected} bytes");
        assert_eq!(said.lines().last().map(str::trim), Some(line.as_str()), "{said}");
        assert_ne!(scene.sh(&[], "ulimit -c unlimited").code, Some(0));
    }
}
