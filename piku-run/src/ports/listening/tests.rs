use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn holder(pid: i32, port: u16) -> PortHolder {
    OwnedSockets::of(&[pid]).holder(port)
}

fn is_strange(holder: PortHolder) -> bool {
    matches!(holder, PortHolder::Stranger(_))
}

fn ports_of(pid: i32) -> Vec<u16> {
    OwnedSockets::of(&[pid]).listeners().iter().map(SocketAddr::port).collect()
}

fn listener(address: &str, port: u16, inode: u64) -> ListeningSocket {
    ListeningSocket { address: address.parse().unwrap(), port, uid: 0, inode }
}

#[test]
#[cfg(target_endian = "little")]
fn lines_of_the_kernels_tables() {
    let v4 = "   0: 0100007F:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
    assert_eq!(parse_socket(v4), Some(listener("127.0.0.1", 20000, 4711)));
    let v6 = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0";
    assert_eq!(parse_socket(v6), Some(listener("::1", 80, 12)));
    assert_eq!(parse_socket(&v4.replace(" 0A ", " 01 ")), None);
    assert_eq!(parse_socket(""), None);
    assert_eq!(parse_socket("0: zz:1 2 0A 3 4 5 6 7 8"), None);
}

#[test]
fn the_one_that_answers_on_loopback() {
    let all = [
        listener("192.0.2.1", 80, 1),
        listener("::", 80, 2),
        listener("0.0.0.0", 80, 3),
        listener("::1", 81, 4),
        listener("::", 82, 5),
    ];
    let inodes = |port| sockets_answering(&all, port).iter().map(|one| one.inode).collect::<Vec<_>>();
    assert_eq!(inodes(80), [3]);
    assert!(inodes(81).is_empty());
    assert_eq!(inodes(82), [5]);
}

#[test]
fn our_own_port_is_ours_and_not_a_childs() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let me = own_pid();
    assert!(ports_of(me).contains(&port));
    assert_eq!(holder(me, port), PortHolder::Own);
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let (ports, belonging) = (ports_of(pid_of(&child)), holder(pid_of(&child), port));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ports.is_empty(), "{ports:?}");
    let PortHolder::Stranger(stranger) = belonging else { panic!("{belonging:?}") };
    assert_eq!(holder_of(stranger.inode), Some(me));
    drop(socket);
    // A process that another test is just starting has the socket until its exec.
    let is_closed = || holder(me, port) == PortHolder::Nobody;
    assert!((0..100).any(|_| is_closed() || {
        std::thread::sleep(Duration::from_millis(20));
        false
    }));
}

#[test]
fn a_socket_on_all_addresses_of_ipv6_counts() {
    let Ok(socket) = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))) else { return };
    let port = socket.local_addr().unwrap().port();
    assert_eq!(holder(own_pid(), port), PortHolder::Own);
    assert!(OwnedSockets::of(&[own_pid()]).exposed_ports().contains(&port));
}

#[test]
fn what_others_of_the_same_user_expose_is_not_taken_for_an_apps() {
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    // As of an app with a process that hides itself: pasta, beside a network of the app's own.
    let of = |user: u32| OwnedSockets { hidden: HashSet::from([user]), ..OwnedSockets::default() };
    let me = geteuid().as_raw();
    assert_eq!(of(me).holder(port), PortHolder::Own);
    assert!(!of(me).exposed_ports().contains(&port));
}

#[test]
fn sockets_of_root_are_never_an_apps() {
    let sshd = listener("0.0.0.0", 22, 7);
    let mut sockets = OwnedSockets::default();
    sockets.add_hidden(Some(0));
    assert!(!sockets.may_hold(&sshd));
    sockets.add_hidden(Some(231_071));
    assert!(sockets.may_hold(&ListeningSocket { uid: 231_071, ..listener("0.0.0.0", 8000, 8) }));
}

/// A process with all its children, ended also when a test fails.
struct Tree(Child);

impl Tree {
    fn of(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Its first line.
    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for pid in piku_procfs::process_tree(pid_of(&self.0)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// Listens on a free port of its own and says which.
const SERVER: &str = "import socket, sys
s = socket.create_server(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()";

#[test]
fn a_server_inside_namespaces_is_found_from_outside() {
    let unshare = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "user namespaces are not available");
        let _ = writeln!(std::io::stderr(), "skipped: user namespaces are not available");
        return;
    }
    // A shell between, as a monitor and a stub are: the server is a grandchild in another pid namespace.
    let mut server = Tree::of(Command::new("unshare").args(unshare).args([
        "sh",
        "-c",
        "python3 -c \"$1\"; true",
        "sh",
        SERVER,
    ]));
    let port: u16 = server.line().parse().unwrap();
    assert_eq!(ports_of(pid_of(&server.0)), [port]);
    assert_eq!(holder(pid_of(&server.0), port), PortHolder::Own);
    assert!(OwnedSockets::of(&[pid_of(&server.0)]).exposed_ports().is_empty());
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(is_strange(holder(pid_of(&server.0), stranger.local_addr().unwrap().port())));
}

#[test]
fn what_shares_its_port_with_a_stranger_does_not_belong() {
    // Two sockets on one port: either of them may answer.
    let server = "import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(('127.0.0.1', int(sys.argv[1])))
s.listen()
print(s.getsockname()[1], flush=True)
sys.stdin.read()";
    let mut one = Tree::of(Command::new("python3").args(["-c", server, "0"]));
    let port = one.line();
    let number: u16 = port.parse().unwrap();
    assert_eq!(holder(pid_of(&one.0), number), PortHolder::Own);
    let mut two = Tree::of(Command::new("python3").args(["-c", server, &port]));
    assert_eq!(two.line(), port);
    assert!(is_strange(holder(pid_of(&one.0), number)));
    assert_eq!(holder(own_pid(), number), PortHolder::Own);
}

#[test]
fn what_cannot_be_read_is_no_false_no() {
    let dir = tempfile::tempdir().unwrap();
    let sleep = dir.path().join("sleep");
    fs::copy("/bin/sleep", &sleep).unwrap();
    // A program that may not be read may not be looked into either, but by root.
    fs::set_permissions(&sleep, fs::Permissions::from_mode(0o111)).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let hidden = Tree::of(Command::new(&sleep).arg("60"));
    assert_eq!(is_strange(holder(pid_of(&hidden.0), port)), nix::unistd::geteuid().is_root());
    assert!(ports_of(pid_of(&hidden.0)).is_empty());
}
