//! Facts that a deploy prints about a `web` that is not ready, before its time is up.

use piku_tests::ports::free_port;

use crate::support::{SERVE, Server};

#[test]
fn the_status_the_path_and_the_host_are_said_at_once_and_in_the_error() {
    let server = Server::new();
    server.config(&[
        ("HEALTHCHECK_START_PERIOD", "6"),
        ("HEALTHCHECK_PATH", "/health"),
        ("HEALTHCHECK_HOST", "shop.example.org"),
    ]);
    let said = server.deploy_fails("x", &[("web", "STATUS=404 exec python3 serve.py")]);
    let asked = "GET /health (Host: shop.example.org)";
    assert!(said.contains(&format!("web.1 answers 404 to {asked} on PORT ")), "{said}");
    assert!(
        said.contains("it is asked until it answers 2xx or 3xx, for 6 s (HEALTHCHECK_START_PERIOD)"),
        "{said}"
    );
    assert!(said.contains(&format!("it answered 404 to {asked} on port ")), "{said}");
    assert!(said.contains("HEALTHCHECK_PATH and HEALTHCHECK_HOST in ENV set what is asked for"), "{said}");

    server.config(&[("HEALTHCHECK_HOST", "*.example.org")]);
    let said = server.deploy_fails("x", &[("web", SERVE)]);
    assert!(said.contains("HEALTHCHECK_HOST: '*.example.org' is not a host name"), "{said}");
}

#[test]
fn another_port_and_processes_that_die_are_said_at_once_and_in_the_error() {
    let server = Server::new();
    server.config(&[("HEALTHCHECK_START_PERIOD", "6")]);
    let port = free_port();
    let said = server.deploy_fails("x", &[("web", &format!("python3 serve.py {port}"))]);
    assert!(said.contains(&format!("web.1 listens on :{port}, nothing listens on PORT ")), "{said}");
    assert!(said.contains(&format!("the process listens on :{port} (web.1, after 6 s")), "{said}");
    assert!(said.contains(&format!("hint: let it listen on the port in $PORT, or have it given that port: PORT={port} in ENV, or piku config:set blog PORT={port}")), "{said}");

    // Long enough to see several of them end, also on a busy machine.
    server.config(&[("HEALTHCHECK_START_PERIOD", "15")]);
    let restarts =
        "while :; do python3 -c 'import time; print(\"cannot import app\"); time.sleep(0.3)'; done";
    let said = server.deploy_fails("x", &[("web", restarts)]);
    assert!(said.contains("processes of web.1 end and are started again ("), "{said}");
    assert!(said.contains(": cannot import app\n"), "{said}");
    assert!(said.contains("nothing listens on PORT "), "{said}");
    assert!(said.contains("; its processes end and are started again ("), "{said}");
}
