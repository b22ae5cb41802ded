//! Log forwarding to a receiver that works, stalls, dies and comes back. No instance is affected.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use support::{SERVE, Server, get, until};

/// The receiving end of a TCP connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Returns the next message without its length.
    #[track_caller]
    fn next(&mut self) -> String {
        let mut length = Vec::new();
        self.0.read_until(b' ', &mut length).unwrap();
        let length: usize = String::from_utf8(length).unwrap().trim_end().parse().unwrap();
        let mut message = vec![0; length];
        self.0.read_exact(&mut message).unwrap();
        String::from_utf8(message).unwrap()
    }

    /// Returns the text of an instance's next message.
    #[track_caller]
    fn next_of(&mut self, instance: &str) -> String {
        let mark = format!(" blog {instance} - - ");
        loop {
            if let Some((head, text)) = self.next().split_once(&mark) {
                assert!(head.starts_with("<14>1 20"), "{head}");
                return text.to_owned();
            }
        }
    }
}

/// Counts up to the number in `$DATA_DIR/to`, whenever that grows. The file is empty while it is written.
const COUNT: &str = "i=1; while :; do to=$(cat $DATA_DIR/to 2>/dev/null || echo 0); \
                     if [ $i -le ${to:-0} ]; then seq $i $to; i=$((to+1)); else sleep 0.02; fi; done";

#[test]
fn a_receiver_that_stalls_or_dies_delays_no_instance_and_loses_no_line() {
    let server = Server::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    server.config(&[("LOG_DRAIN", &format!("syslog+tcp://localhost:{}", address.port()))]);
    server.deploy("one", &[("web", SERVE), ("worker", COUNT)]);
    let mut connection = Connection::accept(&listener);
    let to = |number: u32| fs::write(server.app("data/to"), number.to_string()).unwrap();
    let counted = |number: u32| {
        until("the log has it all", || server.log("worker.1").ends_with(&format!(" worker.1: {number}\n")));
    };
    to(100);
    for number in 1..=100 {
        assert_eq!(connection.next_of("worker.1"), number.to_string());
    }
    // More than the socket buffers hold, while the receiver does not read.
    to(150_000);
    counted(150_000);
    assert_eq!(get(server.port()).unwrap(), "one");
    for number in 101..=150_000 {
        assert_eq!(connection.next_of("worker.1"), number.to_string());
    }
    // The next process resumes where this one stopped; it may repeat the last lines.
    kill(server.supervisor("blog"), Signal::SIGKILL).unwrap();
    let mut connection = Connection::accept(&listener);
    to(150_100);
    while connection.next_of("worker.1") != "150100" {}
    // The receiver is gone, and new lines wait.
    drop((connection, listener));
    to(150_200);
    until("the failure is logged", || {
        server.log("log-drain.1").contains(" log-drain.1 piku: cannot send to syslog+tcp://")
    });
    assert_eq!(server.states(), ["web.1 healthy", "worker.1 running", "log-drain.1 backoff"]);
    let row = server.row("log-drain.1");
    let why = row["last_exit"].as_str().unwrap_or_default();
    assert!(row["pid"].is_u64() && why.starts_with("cannot send to syslog+tcp://localhost:"), "{row}");
    to(150_300);
    counted(150_300);
    let listener = TcpListener::bind(address).unwrap();
    let mut connection = Connection::accept(&listener);
    let first: u32 = connection.next_of("worker.1").parse().unwrap();
    assert!((150_001..=150_201).contains(&first), "{first}");
    for number in first + 1..=150_300 {
        assert_eq!(connection.next_of("worker.1"), number.to_string());
    }
    let mut said = connection.next();
    while !said.contains(" log-drain.1 piku - sends to syslog+tcp://") {
        said = connection.next();
    }
    until("ps knows", || server.states() == ["web.1 healthy", "worker.1 running", "log-drain.1 running"]);
    assert!(server.row("log-drain.1")["last_exit"].is_null());
    // Without the setting forwarding ends.
    server.good(&["config", "blog", "unset", "LOG_DRAIN"]);
    while connection.0.read_until(b'\n', &mut Vec::new()).unwrap() > 0 {}
    assert_eq!(server.states(), ["web.1 healthy", "worker.1 running"]);
}

#[test]
fn lines_are_sent_by_udp_and_a_bad_address_is_reported() {
    let server = Server::new();
    server.config(&[("LOG_DRAIN", "http://127.0.0.1/")]);
    let said = server.deploy("one", &[("worker", COUNT)]);
    assert!(said.contains("LOG_DRAIN is ignored: expected syslog+tcp://HOST:PORT"), "{said}");
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let port = receiver.local_addr().unwrap().port();
    server.good(&["config", "blog", "set", &format!("LOG_DRAIN=syslog+udp://127.0.0.1:{port}")]);
    until("it knows where it is", || server.root().join("run/blog/drain.json").exists());
    fs::write(server.app("data/to"), "3").unwrap();
    let mut buffer = [0; 4096];
    let mut found = Vec::new();
    while found.len() < 3 {
        let length = receiver.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        found.extend(message.split_once(" blog worker.1 - - ").map(|(_, text)| text.to_owned()));
    }
    assert_eq!(found, ["1", "2", "3"]);
}
