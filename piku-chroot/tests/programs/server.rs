//! A server in a jail: it says its port, answers, and ends when it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::Running;

/// It has said its port.
pub(crate) struct Server {
    running: Running,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// Starts it and waits until it says where it listens, `http://127.0.0.1:PORT`.
    pub(crate) fn start(command: Command) -> Self {
        let mut running = Running::start(command);
        let mut out = BufReader::new(running.child.stdout.take().unwrap());
        let line = until_line(&mut out, "http://127.0.0.1:");
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        Self { running, out, port }
    }

    /// Returns its response.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Reads on to a line that holds this.
    pub(crate) fn until_line(&mut self, wanted: &str) -> String {
        until_line(&mut self.out, wanted)
    }

    /// Ends it as a supervisor does; its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.running.wait().code()
    }
}

fn until_line(out: &mut impl BufRead, wanted: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended before '{wanted}': {seen}");
        if line.contains(wanted) {
            return line;
        }
        seen += &line;
    }
}
