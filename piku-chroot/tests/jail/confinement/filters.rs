//! The filter of system calls and Landlock.

use crate::scene::{Scene, User, users};

/// Numbers of system calls that differ between architectures.
const NUMBERS: &str = if cfg!(target_arch = "x86_64") {
    "dict(mount=165, umount2=166, pivot_root=155, chroot=161, keyctl=250, add_key=248, request_key=249, bpf=321, \
     perf_event_open=298, userfaultfd=323, ptrace=101, process_vm_readv=310, process_vm_writev=311, kcmp=312, \
     kexec_load=246, init_module=175, finit_module=313, delete_module=176, reboot=169, swapon=167, swapoff=168, \
     setns=308, open_by_handle_at=304, quotactl=179, acct=163, syslog=103, settimeofday=164, clock_settime=227, \
     vhangup=153, fanotify_init=300, iopl=172, ioperm=173, modify_ldt=154, uselib=134, kexec_file_load=320)"
} else if cfg!(target_arch = "aarch64") {
    "dict(mount=40, umount2=39, pivot_root=41, chroot=51, keyctl=219, add_key=217, request_key=218, bpf=280, \
     perf_event_open=241, userfaultfd=282, ptrace=117, process_vm_readv=270, process_vm_writev=271, kcmp=272, \
     kexec_load=104, init_module=105, finit_module=273, delete_module=106, reboot=142, swapon=224, swapoff=225, \
     setns=268, open_by_handle_at=265, quotactl=60, acct=89, syslog=116, settimeofday=170, clock_settime=112, \
     vhangup=58, fanotify_init=262, kexec_file_load=294)"
} else {
    "{}"
};

/// A Python program in a jail; what it printed.
fn python(scene: &Scene, options: &[&str], program: &str) -> String {
    let script = format!("exec /usr/bin/python3 - <<'END'\n{program}\nEND\n");
    scene.ok(options, &script)
}

#[test]
fn refused_before_an_argument_is_looked_at() {
    let program = format!(
        "
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
numbers = {NUMBERS}
# The same everywhere.
numbers.update(io_uring_setup=425, io_uring_enter=426, io_uring_register=427, open_tree=428, move_mount=429, fsopen=430,
    fsconfig=431, fsmount=432, fspick=433, pidfd_getfd=438, mount_setattr=442, quotactl_fd=443)
gone = dict(clone3=435, statmount=457, lsm_get_self_attr=459, lsm_set_self_attr=460, mseal=462, setxattrat=463,
    open_tree_attr=467, file_setattr=469, newest=470, newer=999, far=0x7ffffff0)
if {x86}: gone.update(x32=0x40000027, x32_write=0x40000001)
for expected, group in ((errno.EPERM, numbers), (errno.ENOSYS, gone)):
    for name, number in group.items():
        for bad in (0, 1, -1, 0x7fffffffffff0000):
            ctypes.set_errno(0)
            args = [ctypes.c_long(bad) for _ in range(6)]
            result = libc.syscall(ctypes.c_long(number), *args)
            if (result, ctypes.get_errno()) != (-1, expected): print(name, bad, result, ctypes.get_errno())
",
        x86 = if cfg!(target_arch = "x86_64") { "True" } else { "False" }
    );
    for user in users() {
        assert_eq!(python(&Scene::new(user), &[], &program), "");
    }
}

#[test]
fn the_filter_is_on_and_stays_on() {
    for user in users() {
        let scene = Scene::new(user);
        let status = scene.ok(&[], "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status");
        assert_eq!(status, "NoNewPrivs:\t1\nSeccomp:\t2\n");
        for attempt in ["unshare -U true", "unshare -Ur true", "unshare -m true", "unshare -n true"] {
            let outcome = scene.sh(&[], attempt);
            assert!(
                outcome.code == Some(1) && outcome.err.contains("not permitted"),
                "{attempt}: {outcome:?}"
            );
        }
    }
}

#[test]
fn sockets_terminals_and_personalities() {
    let program = "
import ctypes, errno, fcntl, os, pty, socket
libc = ctypes.CDLL(None, use_errno=True)
def error(call, *args):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno()) if call(*args) == -1 else 'no'
print(*(error(libc.socket, family, 2, 0) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK, 38, 40, 17, 31, 9)))
master, slave = pty.openpty()
for request in (0x5412, 0x541c, 0x5423):
    for high in (0, 1 << 32, 1 << 63):
        print(error(libc.ioctl, slave, ctypes.c_ulong(request | high), ctypes.c_char_p(b'x')), end=' ')
print(error(libc.ioctl, slave, ctypes.c_ulong(0x5413), ctypes.create_string_buffer(8)))
print(*(error(libc.personality, ctypes.c_ulong(persona)) for persona in (0xffffffff, 0x40000, 0x400000, 0)))
";
    for user in users() {
        let said = python(&Scene::new(user), &[], program);
        let terminals = "EPERM ".repeat(9);
        let families = "no no no EPERM EPERM EPERM EAFNOSUPPORT EAFNOSUPPORT";
        assert_eq!(said, format!("{families}\n{terminals}no\nno EPERM EPERM no\n"));
    }
}

#[test]
fn threads_processes_and_files_work() {
    let program = "
import multiprocessing, os, pathlib, subprocess, tempfile, threading
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done), subprocess.check_output(['sh', '-c', 'echo shell | cat'], text=True), end='')
pid = os.fork()
if pid == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
for place in ('/tmp', '/data', '/dev/shm'):
    place = pathlib.Path(place)
    for name in ('a', 'b'): (place / name).mkdir()
    (place / 'a/file').write_text('x' * 100)
    os.truncate(place / 'a/file', 10)
    os.rename(place / 'a/file', place / 'b/other')
    os.link(place / 'b/other', place / 'a/linked')
    os.rename(place / 'a', place / 'b/a')
    os.symlink('other', place / 'b/link')
    os.mkfifo(place / 'fifo')
    print(sorted(path.name for path in place.rglob('*')), len((place / 'b/link').read_text()))
";
    for user in users() {
        let scene = Scene::new(user);
        let data = scene.folder("data");
        let said = python(&scene, &["--data", data.to_str().unwrap()], program);
        let files = "['a', 'b', 'fifo', 'link', 'linked', 'other'] 10\n";
        assert_eq!(said, format!("8 shell\n7\n[1, 2]\n{}", files.repeat(3)));
    }
}

#[test]
fn what_was_inherited_can_be_opened_again() {
    for user in users() {
        let scene = Scene::new(user);
        let log = scene.file("log", "");
        let file = std::fs::File::options().append(true).open(&log).unwrap();
        let mut command = scene.jail(&["--root-from-host", "--", "sh", "-c", "echo one >> /dev/stdout"]);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        assert!(command.status().unwrap().success(), "{}", std::fs::read_to_string(&log).unwrap());
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\n");
    }
}

#[test]
fn abstract_sockets_of_the_host() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let name = format!("piku-chroot-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "
import socket
try: socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('reached')
except OSError as err: print(err.strerror)
"
    );
    for user in users() {
        let scene = Scene::new(user);
        assert_eq!(python(&scene, &["--net", "none"], &connect), "Connection refused\n");
        let table = crate::scene::run(scene.jail(&["--check"])).out;
        if table.contains("guard on abstract sockets             yes") {
            assert_eq!(python(&scene, &[], &connect), "Operation not permitted\n");
        } else {
            eprintln!("skipped: this kernel has no Landlock of 6.12; --check says so");
            assert!(table.contains("fix:  use --net loopback"), "{table}");
        }
        // Its own are its own.
        let own = "
import socket
server = socket.socket(socket.AF_UNIX); server.bind('\\0own'); server.listen()
socket.socket(socket.AF_UNIX).connect('\\0own'); print('own')
";
        assert_eq!(python(&scene, &[], own), "own\n");
    }
}

#[test]
fn strict_starts_where_nothing_is_missing() {
    let scene = Scene::new(User::Own);
    let table = crate::scene::run(scene.jail(&["--check", "--strict", "--net", "none"]));
    let outcome = scene.sh(&["--strict", "--net", "none"], "echo in");
    if table.code == Some(0) {
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "in\n"), "{outcome:?}");
    } else {
        assert!(outcome.code == Some(125) && outcome.err.contains("--strict"), "{outcome:?} {}", table.out);
    }
}

#[test]
fn only_the_ports_that_were_named_can_be_bound() {
    let program = "
import socket
def tries(family, port, protocol=0):
    try: socket.socket(family, socket.SOCK_STREAM, protocol).bind(('', port)); return 'bound'
    except OSError as err: return err.strerror
for family in (socket.AF_INET, socket.AF_INET6):
    # A port in use would be another test's; the kernel asks Landlock first.
    print(*(tries(family, port) for port in (18081, 18082, 18083, 80, 0)))
    print(tries(family, 18083, 262), tries(family, 18083, 256))
";
    for user in users() {
        let scene = Scene::new(user);
        let table = crate::scene::run(scene.jail(&["--check"])).out;
        if !table.contains("guard on TCP ports                    yes") {
            eprintln!("skipped: this kernel has no Landlock of 6.7; --check says so");
            assert!(table.contains("the command can bind every port"), "{table}");
            continue;
        }
        let said = python(&scene, &["--listen", "18081", "--listen=18082"], program);
        let line = "bound bound Permission denied Permission denied bound\nProtocol not supported Protocol not supported\n";
        assert_eq!(said, line.repeat(2), "{user:?}");
        // A child has no more rights, nor has who forbids itself more.
        let said = scene.ok(
            &["--net=loopback", "--listen=18081"],
            "python3 -c 'import socket; socket.create_server((\"\", 18083))' 2>&1 | tail -n 1",
        );
        assert!(said.contains("Permission denied"), "{said}");
        let said = python(&scene, &["--net=loopback"], program);
        assert!(said.starts_with("bound bound bound "), "{said}");
    }
}

#[test]
fn a_network_that_leads_nowhere() {
    let program = "
import socket
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    try:
        server = socket.create_server((address, 0), family=family)
        client = socket.create_connection(server.getsockname()[:2])
        print(address, server.accept()[0].send(b'x'), client.recv(1) == b'x')
    except OSError as err: print(address, err.strerror)
print(*(name for _, name in socket.if_nameindex()))
try: socket.create_connection(('192.0.2.1', 9))
except OSError as err: print(err.strerror)
";
    for user in users() {
        let scene = Scene::new(user);
        let said = python(&scene, &["--net", "loopback"], program);
        assert!(said.starts_with("127.0.0.1 1 True\n::1 "), "{said}");
        assert!(said.ends_with("\nlo\nNetwork is unreachable\n"), "{said}");
        assert!(!python(&scene, &["--net", "none"], program).contains("True"));
    }
}

#[test]
fn a_source_that_a_group_of_the_caller_lets_in() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a process more groups");
        return;
    }
    let scene = Scene::new(users()[1]);
    for (name, group, mode) in [("secret", 4, 0o640), ("open", 4, 0o644), ("other", 7, 0o640)] {
        let path = scene.path(name);
        std::fs::write(&path, name).unwrap();
        std::os::unix::fs::chown(&path, Some(0), Some(group)).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let with = |name: &str| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--groups", "4,5"]).arg(scene.program());
        let pair = format!("{}:/x", scene.path(name).display());
        crate::scene::run(command.args(["--root-from-host", "--ro", &pair, "--", "cat", "/x"]))
    };
    let outcome = with("secret");
    let warning = format!(
        "piku-chroot: warning: --ro: the command has the rights of group 4 on '{}'; its own user (--uid-range) would not\n",
        scene.path("secret").display()
    );
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err), (Some(0), "secret", warning));
    let outcome = with("open");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), "open", ""));
    let outcome = with("other");
    assert!(outcome.code == Some(1) && !outcome.err.contains("warning"), "{outcome:?}");
}
