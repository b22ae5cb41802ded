//! Jails with a prepared root: as confined as others, and apart from each other.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use piku_tests::snapshot::{assert_redacted, str};

use crate::filesystem::hostfiles::Machine;
use crate::scene::{
    Outcome, Running, Scene, kill_at_any_instant, processes_with, rounds, run, unique, until, users,
};

/// Options with which most are made.
const COMMON: [&str; 4] = ["--root-from-host", "--tmpfs=/app", "--tmpfs=/data", "--hostname=blog"];

/// Prints what a command sees of its jail.
pub(crate) const LOOK: &str = "cat /proc/self/uid_map /proc/self/gid_map; id; hostname
    grep -E '^(Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status; ls -l /proc/self/fd | grep -c -- '->'
    cut -d ' ' -f 4-6 /proc/self/mountinfo | sort; ls /proc | grep '^[0-9]' | head -n 2; cat /proc/1/environ; ls /proc/1/root
    cat /proc/keys /proc/modules; cd /etc; for file in *; do if [ -f $file ] && [ $file != mtab ]; then echo $file $(cksum < $file); fi; done
    for place in / /etc /etc/ssl /dev /dev/pts /var /run /home /tmp /dev/shm; do cd $place; ls -A | while read -r name; do stat -c '%A %u:%g %N' $name; done; done
    for place in / /etc /dev /var /var/empty /usr /proc/1 /app /proc/sys/kernel; do touch $place/x; done; echo x > /etc/hosts; echo x > /var/null
    mv /etc/hosts /etc/other; ln /etc/hosts /etc/more; chmod 666 /etc/hosts; echo > /proc/sys/kernel/hostname
    mount -t tmpfs x /tmp; mount -o remount,rw /; umount /usr; unshare -U true; unshare -m true; nsenter --user=/proc/self/ns/user true
    nsenter --mount=/proc/self/ns/mnt true; chroot / true; echo $$; cat /proc/self/oom_score_adj";

/// Runs this command, which prepares a root, and returns that.
pub(crate) fn prepare(mut command: Command) -> OwnedFd {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let status = command.arg("--prepare").stdin(Stdio::from(OwnedFd::from(theirs))).status().unwrap();
    assert!(status.success(), "{status}");
    drop(command);
    let (mut byte, mut space) = ([0], nix::cmsg_space!([i32; 1]));
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let message =
        recvmsg::<()>(ours.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor")
    };
    // A second name for it, which this test owns.
    let path = format!("/proc/self/fd/{}", fds[0]);
    let root = fs::File::open(path).unwrap().into();
    nix::unistd::close(fds[0]).unwrap();
    root
}

/// Returns the option for a descriptor that a command inherits.
pub(crate) fn option_for(root: &OwnedFd) -> String {
    fcntl(root, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    format!("--prepared={}", root.as_raw_fd())
}

fn jail_with(scene: &Scene, root: &OwnedFd, options: &[&str]) -> Command {
    let mut command = scene.jail(&["--root-from-host", "--hostname=blog", &option_for(root)]);
    command.args(options);
    command
}

fn sh(scene: &Scene, root: &OwnedFd, options: &[&str], script: &str) -> Outcome {
    run(jail_with(scene, root, options).args(["--", "sh", "-c", script]))
}

/// Returns descriptors that are no prepared root: of a file, and of this process's own namespace.
pub(crate) fn strangers() -> [OwnedFd; 2] {
    ["/dev/null", "/proc/self/ns/mnt"].map(|path| fs::File::open(path).unwrap().into())
}

/// Returns what a start says that must be refused.
pub(crate) fn refusal(outcome: Outcome) -> String {
    assert!(outcome.code == Some(125) && outcome.out.is_empty(), "{outcome:#?}");
    outcome.err
}

/// Returns the name of its mount namespace.
pub(crate) fn name_of(root: &OwnedFd) -> String {
    format!("mnt:[{}]", rustix::fs::fstat(root).unwrap().st_ino)
}

/// Returns the open descriptors of a process, with their names.
fn descriptors(pid: i32) -> BTreeSet<(OsString, String)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let named = |fd: fs::DirEntry| {
        Some((fd.file_name(), fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned()))
    };
    open.filter_map(named).collect()
}

fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn the_command_sees_and_may_do_the_same() {
    for user in users() {
        let scene = Scene::new(user);
        let (data, app, scratch) = (scene.folder("data"), scene.folder("app"), scene.folder("scratch"));
        let [data, app, scratch] = [&data, &app, &scratch].map(|path| path.to_str().unwrap());
        let root = prepare(scene.jail(&COMMON));
        let options =
            ["--data", data, "--app", app, "--scratch", scratch, "--oom-score-adj=500", "--env=HOME=/tmp"];
        let alone = scene.sh(&[&options[..], &["--hostname=blog"]].concat(), LOOK);
        let prepared = sh(&scene, &root, &options, LOOK);
        assert_eq!((alone.code, &alone.out, &alone.err), (prepared.code, &prepared.out, &prepared.err));
        assert!(alone.err.lines().count() >= 20, "{}", alone.err);
    }
}

#[test]
fn the_jails_do_not_see_each_other_and_leave_nothing() {
    for user in users() {
        let scene = Scene::new(user);
        let (app, scratch) = (scene.folder("app"), scene.folder("scratch"));
        let [app, scratch] = [&app, &scratch].map(|path| path.to_str().unwrap());
        let options = ["--app", app, "--scratch", scratch];
        let root = prepare(scene.jail(&COMMON));
        let word = unique("prepared");
        let start = || {
            let mut jail = jail_with(&scene, &root, &options);
            let script = "echo mine | tee /tmp/x /dev/shm/x /app/x; ls /dev/pts; sleep 600; :";
            let mut jail = Running::start(jail.args(["--", "sh", "-c", script, &word]));
            jail.until_line("ptmx");
            jail
        };
        let (mut first, mut second) = (start(), start());
        let pids = processes_with(&word);
        for kind in ["user", "pid", "mnt", "ipc", "uts"] {
            let link = |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            let link = |pid| link(pid).to_string_lossy().into_owned();
            let kinds: BTreeSet<_> = pids.iter().map(link).collect();
            // Those of the monitors, and of each jail.
            assert!(kinds.len() == 3 && !kinds.contains(&name_of(&root)), "{kinds:?}");
        }
        for pid in pids {
            let open = descriptors(pid);
            assert!(open.iter().all(|(_, name)| *name != name_of(&root)), "{open:?}");
        }
        let monitor = first.pid().as_raw();
        let init = children(monitor)[0];
        // What the monitor has too was inherited, for instance a lock of the caller's.
        let own: Vec<_> = descriptors(init).difference(&descriptors(monitor)).cloned().collect();
        assert!(own.is_empty(), "{own:?}");
        let look =
            "cat /proc/[0-9]*/comm | grep -c sleep; ls /tmp /dev/shm /app /dev/pts; kill -9 -1; kill -9 2";
        let third = sh(&scene, &root, &options, look);
        assert_eq!(third.out, "0\n/app:\n\n/dev/pts:\nptmx\n\n/dev/shm:\n\n/tmp:\n", "{third:#?}");
        first.signal(Signal::SIGTERM);
        assert_eq!(first.wait().code(), Some(143));
        nix::sys::signal::kill(second.pid(), Signal::SIGKILL).unwrap();
        second.wait();
        until("the end of the jails", || processes_with(&word).is_empty());
    }
}

#[test]
fn many_starts_at_once_have_the_same_root() {
    let scene = &Scene::new(users()[0]);
    let root = &prepare(scene.jail(&COMMON));
    let script = "for file in /etc/*; do if [ -f $file ]; then cksum $file; fi; done; ls -A /etc /dev /var";
    let expected = &scene.ok(&["--hostname=blog", "--env=HOME=/tmp"], script);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..4 {
                    let outcome = sh(scene, root, &[], script);
                    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), (expected.as_str(), ""));
                }
            });
        }
    });
}

#[test]
fn killed_at_any_instant_nothing_is_left() {
    for user in users() {
        let scene = Scene::new(user);
        let root = prepare(scene.jail(&COMMON));
        kill_at_any_instant(200, || jail_with(&scene, &root, &[]));
        let left = sh(&scene, &root, &[], "ls -A /etc | grep '^[.]'; ls -A /run /home /app /data");
        assert_eq!(left.out, "/app:\n\n/data:\n\n/home:\n\n/run:\n", "{left:#?}");
    }
}

#[test]
fn what_was_not_prepared_is_made_by_the_jail_alone() {
    let scene = Scene::new(users()[0]);
    let (folder, file) = (scene.folder("folder"), scene.file("file", "content\n"));
    let option = |src: &std::path::Path| format!("--ro={}:/srv/it", src.display());
    let root = prepare(scene.jail(&[&COMMON[..], &[&option(&folder)]].concat()));
    let of_file = sh(&scene, &root, &[&option(&file)], "cat /srv/it");
    assert_eq!((of_file.out.as_str(), of_file.err.as_str()), ("content\n", ""));
    let of_folder = sh(&scene, &root, &[&option(&folder)], "cd /srv/it && ls /");
    assert!(of_folder.out.contains("srv") && of_folder.code == Some(0), "{of_folder:#?}");
    let elsewhere = format!("--ro={}:/opt/other/it", file.display());
    let other = sh(&scene, &root, &[&elsewhere, "--tmpfs=/mnt"], "cat /opt/other/it; echo x > /mnt/x");
    assert_eq!((other.out.as_str(), other.err.as_str()), ("content\n", ""));
    // Nor does the next one see a trace of it.
    let next = sh(&scene, &root, &[], "ls /opt /mnt /srv/it/");
    assert_eq!((next.code, next.out.as_str()), (Some(2), "/srv/it/:\n"), "{next:#?}");
}

#[test]
fn files_of_the_host_are_up_to_date_in_all_its_jails() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        let enter = |machine: &Machine<'_>, options: &[&str]| {
            let mut command = machine.enter();
            command.arg(scene.program()).args(["--root-from-host", "--hostname=blog"]).args(options);
            command
        };
        machine.does("echo one > /etc/resolv.conf; echo Mars/One > /etc/timezone");
        let root = prepare(enter(&machine, &["--tmpfs=/app"]));
        let prepared = option_for(&root);
        let has = |machine: &Machine<'_>, script: &str| {
            let outcome = run(enter(machine, &[&prepared]).args(["--", "sh", "-c", script]));
            assert_eq!(outcome.err, "");
            outcome.out
        };
        assert_eq!(has(&machine, "cat /etc/resolv.conf /etc/timezone"), "one\nMars/One\n");
        // By a rename, in place, and gone.
        machine.does("echo two > /etc/new; mv /etc/new /etc/resolv.conf; rm /etc/timezone");
        assert_eq!(has(&machine, "cat /etc/resolv.conf; ls -A /etc | grep -E 'timezone|^[.]'"), "two\n");
        let wait = "echo up; for i in $(seq 3000); do if grep -q three /etc/resolv.conf; then echo three; fi; sleep 0.01; done";
        let start = || {
            let mut jail = Running::start(enter(&machine, &[&prepared]).args(["--", "sh", "-c", wait]));
            jail.until_line("up");
            jail
        };
        let mut jails = [start(), start(), start()];
        machine.does("echo three > /etc/new; mv /etc/new /etc/resolv.conf");
        for jail in &mut jails {
            jail.until_line("three");
            jail.signal(Signal::SIGKILL);
            jail.wait();
        }
        machine.does("ln -sf ../usr/share/zoneinfo/UTC /etc/localtime; echo Mars/Two > /etc/timezone");
        let zone = "cat /etc/timezone; readlink /etc/localtime; ls -A /etc | grep '^[.]'";
        assert_eq!(has(&machine, zone), "Mars/Two\n../usr/share/zoneinfo/UTC\n");
    }
}

#[test]
fn all_users_may_read_the_root_whatever_the_umask() {
    let scene = Scene::new(users()[0]);
    let with_umask = |options: &[&str]| {
        let mut command = scene.command("sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(scene.program());
        command.args(["--root-from-host", "--hostname=blog"]).args(options);
        command
    };
    let root = prepare(with_umask(&COMMON[1..3]));
    for more in ["--tmpfs=/mnt".to_owned(), option_for(&root)] {
        let look = "stat -c '%a %n' /etc /etc/hostname /dev /var /home /etc/ssl; umask";
        let outcome = run(with_umask(&[&more]).args(["--", "sh", "-c", look]));
        assert_eq!(
            outcome.out, "755 /etc\n644 /etc/hostname\n755 /dev\n755 /var\n755 /home\n755 /etc/ssl\n0022\n",
            "{more}: {outcome:#?}"
        );
    }
}

#[test]
fn a_jail_that_ends_leaves_no_old_file_to_the_others() {
    let scene = Scene::new(users()[0]);
    let mut machine = Machine::new(&scene);
    let enter = |machine: &Machine<'_>, options: &[&str], script: &str| {
        let mut command = machine.enter();
        command.arg(scene.program()).args(["--root-from-host", "--hostname=blog"]).args(options);
        command.args(["--", "sh", "-c", script]);
        command
    };
    machine.does("echo one > /etc/resolv.conf");
    let mut command = machine.enter();
    command.arg(scene.program()).args(["--root-from-host", "--hostname=blog"]);
    let root = prepare(command);
    let option = option_for(&root);
    let word = unique("ending");
    let mut ending = Running::start(enter(&machine, &[&option], "echo up; sleep 600; :").arg(&word));
    let wait = "echo up; for i in $(seq 3000); do grep two /etc/resolv.conf && break; sleep 0.01; done";
    let mut other = Running::start(enter(&machine, &[&option], wait));
    ending.until_line("up");
    other.until_line("up");
    for monitor in [&other, &ending] {
        monitor.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", monitor.pid());
        until("the stop of a monitor", || fs::read_to_string(&stat).unwrap().contains(") T "));
    }
    // Its end and the change are reported to the monitor at once.
    machine.does("echo two > /etc/resolv.conf");
    let is_shell =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sh\n");
    let inside = processes_with(&word).into_iter().find(is_shell).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(inside), Signal::SIGKILL).unwrap();
    until("its end", || processes_with(&word).iter().all(|pid| *pid != inside));
    ending.signal(Signal::SIGCONT);
    assert_eq!(ending.wait().code(), Some(137));
    other.until_line("two");
    other.signal(Signal::SIGKILL);
    other.wait();
}

#[test]
fn what_is_no_prepared_root_is_refused() {
    let scene = Scene::new(users()[0]);
    let mut said = strangers().map(|fd| refusal(sh(&scene, &fd, &[], "echo in"))).concat();
    said += &refusal(run(scene.jail(&["--root-from-host", "--prepared=999", "--", "true"])));
    said += &refusal(run(scene.jail(&["--root-from-host", "--prepare"])));
    assert_redacted(
        &said,
        &[],
        str![[r#"
piku-chroot: --prepared: not a prepared root that this process could use: Inappropriate ioctl for device (os error 25)
piku-chroot: --prepared: not a prepared root that this process could use: Invalid argument (os error 22)
piku-chroot: --prepared: Bad file descriptor (os error 9)
piku-chroot: --prepare: cannot send it on stdin: Socket operation on non-socket (os error 88)

"#]],
    );
}

#[test]
fn the_command_waits_for_a_monitor_that_is_stopped_at_any_instant() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        let enter = |machine: &Machine<'_>| {
            let mut command = machine.enter();
            command.arg(scene.program()).args(["--root-from-host", "--hostname=blog"]);
            command
        };
        let root = prepare(enter(&machine));
        let option = option_for(&root);
        for round in 0..rounds(20) {
            machine.does(&format!("echo {round} > /etc/resolv.conf"));
            let mut jail = enter(&machine);
            let mut jail =
                Running::start(jail.args([&option, "--", "sh", "-c", "cat /etc/resolv.conf; echo up"]));
            thread::sleep(Duration::from_micros(u64::from(round) * 600));
            jail.signal(Signal::SIGSTOP);
            thread::sleep(Duration::from_millis(20));
            jail.signal(Signal::SIGCONT);
            assert_eq!(jail.until_line("up"), format!("{round}\nup\n"));
            assert_eq!(jail.wait().code(), Some(0));
        }
    }
}

#[test]
fn later_mounts_of_the_host_stay_outside_and_those_of_the_jail_inside() {
    for user in users() {
        let scene = Scene::new(user);
        let (data, given) = (scene.folder("data"), scene.folder("given"));
        let places = [scene.folder("data/sub"), scene.folder("given/sub")];
        let mut machine = Machine::new(&scene);
        machine.does("mount --make-rshared /");
        let bind = format!("--ro={}:/srv/given", given.display());
        let enter = |machine: &Machine<'_>, options: &[&str]| {
            let mut command = machine.enter();
            command.arg(scene.program()).args(["--root-from-host", "--hostname=blog", &bind]).args(options);
            command
        };
        let root = prepare(enter(&machine, &["--tmpfs=/data"]));
        for option in [&[option_for(&root)][..], &[]] {
            machine.does("mounts=$(wc -l < /proc/self/mountinfo)");
            let mut jail = enter(&machine, &["--data", data.to_str().unwrap()]);
            let look = "echo up; read -r line; ls /data/sub /srv/given/sub; echo end";
            let jail = jail.args(option).args(["--", "sh", "-c", look]).stdin(Stdio::piped());
            let mut jail = Running::start(jail);
            jail.until_line("up");
            machine.does("test $(wc -l < /proc/self/mountinfo) = $mounts");
            for place in &places {
                let place = place.display();
                machine.does(&format!("mount -t tmpfs later {place} && echo > {place}/later"));
            }
            jail.child.stdin.take().unwrap().write_all(b"\n").unwrap();
            assert_eq!(jail.until_line("end"), "/data/sub:\n\n/srv/given/sub:\nend\n");
            for place in &places {
                machine.does(&format!("umount {}", place.display()));
            }
        }
    }
}
