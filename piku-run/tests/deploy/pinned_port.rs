//! `PORT` in `ENV` or the config.

use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use piku_tests::ports::free_port;

use crate::support::{SERVE, Server, get, until};

#[test]
fn the_only_instance_gets_the_port_in_every_release_and_after_a_crash() {
    let server = Server::new();
    let port = free_port();
    server.config(&[("PORT", &port.to_string()), ("STOP_TIMEOUT", "1")]);
    let said = server.deploy("one", &[("web", SERVE), ("worker", "echo [$PORT] >seen; exec sleep 1000")]);
    assert!(said.contains(&format!("-----> Starting web.1 on port {port}\n")), "{said}");
    assert_eq!(get(port).unwrap(), "one");
    assert_eq!(server.port(), port);

    let said = server.deploy("two", &[("web", SERVE)]);
    assert!(
        said.contains(&format!("Stopping the old web.1: only one can have PORT={port}, requests fail until")),
        "{said}"
    );
    assert_eq!(get(port).unwrap(), "two");
    server.good(&["restart", "blog"]);
    assert_eq!(get(port).unwrap(), "two");

    let said = server.deploy_fails("three", &[("web", "exit 3")]);
    assert!(said.contains("web.1 exited with code 3"), "{said}");
    until("the old release is back", || get(port).is_ok_and(|page| page == "two"));

    let killed = server.pid("web.1");
    kill(killed, Signal::SIGKILL).unwrap();
    until("it is started again", || server.states() == ["web.1 healthy"] && server.pid("web.1") != killed);
    assert_eq!(server.port(), port);
    assert_eq!(get(port).unwrap(), "two");
}

#[test]
fn a_port_that_one_instance_cannot_have_is_refused_with_the_reason() {
    let server = Server::new();
    server.deploy("old", &[("web", SERVE)]);
    let refused = |port: &str| {
        server.config(&[("PORT", port)]);
        server.deploy_fails("new", &[("web", SERVE)])
    };
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    for (port, reason) in [
        ("80", "PORT=80: an app may not listen on a port below 1024".to_owned()),
        ("http", "PORT: 'http' is not a port".to_owned()),
        (&server.port().to_string(), "is one of the ports that piku gives to instances".to_owned()),
        (&taken.to_string(), format!("PORT={taken} is taken by pid {}, ", std::process::id())),
    ] {
        let said = refused(port);
        assert!(said.contains(&reason), "{port}: {said}");
    }
    assert_eq!(server.page(), "old");
    drop(holder);

    let port = free_port();
    server.config(&[("PORT", &port.to_string())]);
    server.deploy("pinned", &[("web", SERVE)]);
    let said = server.bad(1, &["scale", "blog", "web=2"]);
    assert!(
        said.contains(&format!("PORT={port} is one port, and web=2 is more than one instance")),
        "{said}"
    );
    assert_eq!(get(port).unwrap(), "pinned");
    // Another app cannot have it either.
    let dir = server.release_of("shop", "x", &[("web", SERVE)]);
    std::fs::write(server.root().join("apps/shop/config.json"), format!("{{\"PORT\": \"{port}\"}}")).unwrap();
    let said = server.bad(1, &["deploy", "shop", dir.to_str().unwrap()]);
    assert!(said.contains(&format!("PORT={port} is taken by web.1 of blog (pid ")), "{said}");
}
