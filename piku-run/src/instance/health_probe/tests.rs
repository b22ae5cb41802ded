use super::*;
use std::net::TcpListener;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Returns a server for one connection: reads the request's head, answers in the given pieces, closes. Its
/// handle gives what it was asked.
fn server(pieces: &[&str]) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let handle = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            // The probe may have heard enough.
            let _ = stream.write_all(piece.as_bytes());
        }
        String::from_utf8(asked).unwrap()
    });
    (port, handle)
}

/// Waits as the loop does, for ten seconds at most.
fn run(probe: &mut HealthProbe) -> ProbeProgress {
    for _ in 0..10_000 {
        match probe.advance() {
            ProbeProgress::Waiting => wait(probe),
            done => {
                assert_eq!(probe.fd().map(|fd| fd.as_raw_fd()), None);
                assert_eq!(probe.advance(), done);
                return done;
            }
        }
    }
    panic!("the probe turns in a circle");
}

fn wait(probe: &HealthProbe) {
    let (read, write) = probe.interest();
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    let mut fds = [PollFd::new(probe.fd().unwrap(), flags)];
    assert_ne!(poll(&mut fds, PollTimeout::from(10_000u16)).unwrap(), 0, "nothing came");
}

fn ask(path: Option<&str>, pieces: &[&str]) -> (ProbeProgress, String) {
    let (port, handle) = server(pieces);
    let progress = run(&mut HealthProbe::start(port, "blog.example", path));
    (progress, handle.join().unwrap())
}

#[test]
fn any_complete_status_below_500_is_alive() {
    let accepted = |status| ProbeProgress::ClientError(ClientErrorReply { status, refuses_host: false });
    for (status, expected) in [
        ("200 OK", ProbeProgress::Alive),
        ("301 Moved", ProbeProgress::Alive),
        ("400 Bad Request", accepted(400)),
        ("404 Not Found", accepted(404)),
        ("499 x", accepted(499)),
    ] {
        let (progress, asked) = ask(None, &[&format!("HTTP/1.1 {status}\r\n\r\n")]);
        assert_eq!(progress, expected, "{status}");
        assert!(
            asked.starts_with("GET / HTTP/1.1\r\nHost: blog.example\r\nConnection: close\r\n"),
            "{asked}"
        );
    }
    let switched = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(ask(None, &[switched]).0, ProbeProgress::Http(101), "an unrequested switch of protocols");
    let (progress, _) = ask(None, &["HTTP/1.0 502 Bad Gateway\r\nA: b\r\n\r\nbody"]);
    assert_eq!(progress, ProbeProgress::Http(502));
}

#[test]
fn a_refused_host_name_is_recognised() {
    for (status, body, refuses_host) in [
        (400, "<title>Bad Request (400)</title><h1>Bad Request (400)</h1><p></p>", true),
        (400, "DisallowedHost at /", true),
        (400, "bad request", false),
        (404, "ALLOWED_HOSTS", false),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let expected = ProbeProgress::ClientError(ClientErrorReply { status, refuses_host });
        assert_eq!(ask(None, &[&answer]).0, expected, "{body}");
    }
}

#[test]
fn a_path_wants_2xx_or_3xx() {
    let (progress, asked) = ask(Some("/health?a=b"), &["HTTP/1.1 204 No Content\r\n\r\n"]);
    assert_eq!(progress, ProbeProgress::Alive);
    assert!(asked.starts_with("GET /health?a=b HTTP/1.1\r\n"));
    assert_eq!(ask(Some("/"), &["HTTP/1.1 302 Found\r\n\r\n"]).0, ProbeProgress::Alive);
    assert_eq!(ask(Some("/"), &["HTTP/1.1 404 Not Found\r\n\r\n"]).0, ProbeProgress::Http(404));
}

#[test]
fn an_answer_in_pieces_is_put_together() {
    let pieces: Vec<String> =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(ask(None, &pieces).0, ProbeProgress::Alive);
    let interim =
        ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n", "HTTP/1.1 500 x\r\n\r\n"];
    assert_eq!(ask(None, &interim).0, ProbeProgress::Http(500));
}

#[test]
fn half_an_answer_is_closed_and_other_protocols_are_no_http() {
    for said in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nA: b", "HTTP/1.1 100 Continue\r\n\r\n"] {
        assert_eq!(ask(None, &[said]).0, ProbeProgress::Closed, "{said:?}");
    }
    // A mail server, half a page, the settings of HTTP/2, an alert of TLS.
    for said in ["220 mail ready\r\n", "<html>", "\x00\x00\x12\x04", "\x15\x03\x01\x00\x02\x02\x16"] {
        assert_eq!(ask(None, &[said]).0, ProbeProgress::NotHttp, "{said:?}");
    }
    // A body that breaks off does not take the status back.
    assert_eq!(ask(None, &["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"]).0, ProbeProgress::Alive);
    let endless = "HTTP/1.1 200 OK\r\nA: ".to_owned() + &"x".repeat(MAX_HEAD);
    assert_eq!(ask(None, &[&endless]).0, ProbeProgress::NotHttp);
}

#[test]
fn a_stream_without_end_is_alive_with_its_head() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut probe = HealthProbe::start(listener.local_addr().unwrap().port(), "x", None);
    assert_eq!(probe.advance(), ProbeProgress::Waiting);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    assert_eq!(run(&mut probe), ProbeProgress::Alive);
}

#[test]
fn one_that_accepts_and_is_silent_keeps_it_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut probe = HealthProbe::start(listener.local_addr().unwrap().port(), "x", None);
    while probe.interest() != (true, false) {
        assert_eq!(probe.advance(), ProbeProgress::Waiting);
    }
    assert_eq!(probe.advance(), ProbeProgress::Waiting);
    // It dies with the connection in its queue, as gunicorn does when the app cannot be imported.
    drop(listener);
    assert_eq!(run(&mut probe), ProbeProgress::Closed);
}

#[test]
fn a_connection_is_all_that_a_check_without_a_request_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut probe = HealthProbe::connect(port);
    assert_eq!(run(&mut probe), ProbeProgress::Open);
    // Not a byte was said to it.
    assert_eq!(listener.accept().unwrap().0.read(&mut [0]).unwrap(), 0);
    drop(listener);
    assert_eq!(run(&mut HealthProbe::connect(port)), ProbeProgress::Refused);
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut probe = HealthProbe::start(port, "x", None);
    assert_eq!(run(&mut probe), ProbeProgress::Refused);
}

#[test]
fn nothing_breaks_out_of_the_request() {
    let text = String::from_utf8(format_request("a\r\nX: y", "up \r\nHost: z\u{e4}")).unwrap();
    assert!(text.starts_with("GET /up%20%0D%0AHost:%20z%C3%A4 HTTP/1.1\r\nHost: aX:y\r\n"), "{text}");
    assert!(String::from_utf8(format_request("", "/")).unwrap().contains("\r\nHost: localhost\r\n"));
}
