//! Ports of instances, and other processes that take them. The other process is always the test itself,
//! outside a jail.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use piku_tests::ports::free_port;
use support::{SERVE, Server, get, until};

/// Listens at `127.0.0.1:PORT` and never answers. `beside` sets `SO_REUSEPORT`, to share the port with its
/// owner.
fn listen_at(port: u16, beside: bool) -> Result<OwnedFd, Errno> {
    let thief = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&thief, sockopt::ReuseAddr, &true)?;
    setsockopt(&thief, sockopt::ReusePort, &beside)?;
    bind(thief.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    listen(&thief, Backlog::new(16)?)?;
    Ok(thief)
}

/// Returns the name of this process as messages show it.
fn own_name() -> String {
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    format!("pid {}, {}", std::process::id(), comm.trim_end())
}

fn is_healthy_elsewhere(server: &Server, port: u16) -> bool {
    let row = server.row("web.1");
    row["state"] == "healthy" && row["port"].as_u64().is_some_and(|now| now != u64::from(port))
}

#[test]
fn the_port_of_an_instance_that_is_down_is_held() {
    let server = Server::new();
    server.deploy("one", &[("web", &format!("test -e $DATA_DIR/bad && exit 3; exec {SERVE}"))]);
    let port = server.port();
    fs::write(server.app("data/bad"), "").unwrap();
    kill(server.pid("web.1"), Signal::SIGKILL).unwrap();
    until("it waits", || server.states() == ["web.1 crash-looping"]);
    assert_eq!(listen_at(port, false).unwrap_err(), Errno::EADDRINUSE);
    assert_eq!(listen_at(port, true).unwrap_err(), Errno::EADDRINUSE);
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    fs::remove_file(server.app("data/bad")).unwrap();
    until("it is back", || server.states() == ["web.1 healthy"]);
    assert_eq!((server.port(), server.page().as_str()), (port, "one"));
}

#[test]
fn a_process_that_takes_a_free_port_first_is_named_and_keeps_it() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let port = server.port();
    let supervisor = server.supervisor("blog");
    let old = server.pid("web.1");
    kill(supervisor, Signal::SIGSTOP).unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    let mut taken = None;
    until("the port is free", || {
        taken = listen_at(port, false).ok();
        taken.is_some()
    });
    kill(supervisor, Signal::SIGCONT).unwrap();
    until("it is back on another port", || is_healthy_elsewhere(&server, port));
    assert_eq!(server.page(), "one");
    let note = format!("port {port} was taken by {}", own_name());
    let row = server.row("web.1");
    assert!(row["note"].as_str().unwrap().contains(&note), "{row}");
    assert!(server.log("web.1").contains(&format!("port {port} of web.1 is taken by {}", own_name())));
    assert!(server.good(&["ps", "blog"]).0.contains(&format!("Note web.1: {note}")));
}

/// Listens with `SO_REUSEPORT`, as many servers do.
const SHARING: &str = "exec python3 -c \"import http.server as h, os, socket, socketserver\n\
    class S(h.ThreadingHTTPServer):\n \
    def server_bind(s): s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); super().server_bind()\n\
    S(('127.0.0.1', int(os.environ['PORT'])), h.SimpleHTTPRequestHandler).serve_forever()\"";

#[test]
fn an_instance_whose_port_another_process_shares_moves_to_another_port() {
    let server = Server::new();
    server.deploy("one", &[("web", SHARING)]);
    let port = server.port();
    let thief = listen_at(port, true).unwrap();
    until("it has moved", || is_healthy_elsewhere(&server, port));
    assert!(server.row("web.1")["note"].as_str().unwrap().contains(&own_name()));
    assert!(get(server.port()).is_ok());
    drop(thief);
}

#[test]
fn a_deploy_goes_on_when_every_port_of_the_range_is_taken() {
    let server = Server::new();
    let range = fs::read_to_string(server.root().join("host.yaml")).unwrap();
    let first = range.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty()).unwrap();
    let first: u16 = first.parse().unwrap();
    let range = first..=first + 49;
    let hog: Vec<TcpListener> =
        range.clone().filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect();
    server.deploy("one", &[("web", SERVE)]);
    assert!(!range.contains(&server.port()), "{}", server.port());
    assert_eq!(server.page(), "one");
    drop(hog);
}

#[test]
fn an_answer_of_another_process_on_its_port_makes_no_instance_ready() {
    let server = Server::new();
    // It listens long after it was given the port, so another process can take the port first.
    let late = "touch $DATA_DIR/started.$PORT; while ! test -e $DATA_DIR/go; do sleep 0.05; done; exec python3 serve.py";
    let dir = server.release("one", &[("web", late)]);
    let deploy =
        server.tool(&["deploy", "blog", dir.to_str().unwrap()]).stderr(std::process::Stdio::piped()).spawn();
    let deploy = deploy.unwrap();
    let mut port = 0;
    until("it has started", || {
        let Ok(names) = fs::read_dir(server.app("data")) else { return false };
        let mut names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let found = names.find_map(|name| name.strip_prefix("started.")?.parse().ok());
        port = found.unwrap_or(0);
        port != 0
    });
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let answer = std::thread::spawn(move || {
        for _ in 0..200 {
            if let Ok((mut stream, _)) = stranger.accept() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        stranger
    });
    fs::write(server.app("data/go"), "").unwrap();
    let out = deploy.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(said.contains(&format!("port {port} of web.1 is taken by {}", own_name())), "{said}");
    assert_ne!(server.port(), port);
    assert_eq!(server.page(), "one");
    drop(answer.join().unwrap());
}

#[test]
fn an_app_that_listens_on_all_addresses_is_warned() {
    let server = Server::new();
    let said = server.deploy("one", &[("web", "exec python3 -m http.server --bind 0.0.0.0 $PORT")]);
    let warning = format!("listens on all addresses (port {})", server.port());
    assert!(said.contains(&format!("web.1 {warning}")), "{said}");
    let row = server.row("web.1");
    assert!(row["listens_on_all"] == true && row["note"].as_str().unwrap().contains(&warning), "{row}");
    let said = server.deploy("two", &[("web", SERVE)]);
    assert!(!said.contains("listens on all"), "{said}");
    assert_eq!(server.row("web.1")["listens_on_all"], false);
}

/// Tries to bind these ports and prints the results.
const BINDS: &str = "exec python3 -c \"import os, socket, time\n\
    for port in [0, 9, 4369, 9100, int(os.environ.get('PORT', 0)) + 1]:\n \
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n \
    try: s.bind(('127.0.0.1', port)); print('bound', port, flush=True)\n \
    except OSError as err: print('refused', port, err.errno, flush=True)\n\
    time.sleep(1000)\"";

#[test]
fn an_instance_can_bind_only_its_own_port_and_listen_ports() {
    let Some(server) = Server::in_jail() else { return };
    if !piku_chroot::can_restrict_ports() {
        let _ =
            writeln!(std::io::stderr(), "skipped: this kernel cannot restrict ports (Landlock, Linux 6.7)");
        return;
    }
    let free = free_port();
    server.config(&[("LISTEN_PORTS", &free.to_string())]);
    let worker = BINDS.replace("9100", &free.to_string());
    server.deploy("one", &[("web", SERVE), ("worker", &worker)]);
    until("it has tried", || {
        server.log("worker.1").matches("bound").count() + server.log("worker.1").matches("refused").count()
            == 5
    });
    let log = server.log("worker.1");
    // EACCES
    for said in ["bound 0", "refused 9 13", "refused 4369 13", &format!("bound {free}"), "refused 1 13"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    let port = server.port();
    let run = format!("import socket; socket.socket().bind(('127.0.0.1', {}))", port + 1);
    let out = server.run(&["exec", "blog", "--", "python3", "-c", &run]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("Permission denied"), "{out:?}");
    server.config(&[("LISTEN_PORTS", &port.to_string())]);
    let said = server.deploy_fails("two", &[("web", SERVE)]);
    assert!(said.contains(&format!("LISTEN_PORTS: {port} is one of the ports that piku gives")), "{said}");
    // It keeps its port after a crash, because no other app can bind it.
    kill(server.pid("web.1"), Signal::SIGKILL).unwrap();
    until("it is back", || server.row("web.1")["restarts"] == 1 && server.states()[0] == "web.1 healthy");
    assert_eq!(server.port(), port, "{}", server.row("web.1"));
}
