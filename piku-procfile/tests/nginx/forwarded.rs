//! Proxies in front: whose headers are believed, and what becomes of HTTPS.

use crate::app::{ServedApp, header};
use crate::server::{Answer, World};

/// Headers that a proxy in front sends.
const FORWARDED: &str =
    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.test\r\n";

fn ask(world: &World, more: &str) -> Answer {
    world.send(&format!("GET /a?b HTTP/1.1\r\nHost: blog.test\r\n{more}Connection: close\r\n\r\n"))
}

fn seen(answer: &Answer) -> [Option<String>; 5] {
    ["x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]
        .map(|name| header(&answer.body, name))
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_TRUSTED_PROXIES=192.0.2.0/24 127.0.0.1\n")
        .site(&["--upstream", &upstream])
        .start();
    let own = |text: &str| Some(text.to_owned());
    let port = world.port.to_string();
    let told = seen(&ask(&world, FORWARDED));
    assert_eq!(told, [own("192.0.2.7"), own("192.0.2.7"), own("https"), own("outer.test"), own("443")]);
    let told = seen(&ask(&world, &format!("{FORWARDED}X-Forwarded-Port: 8443\r\n")));
    assert_eq!(told[4], own("8443"));
    // A proxy that sends none, and one that sends nonsense.
    let plain = [own("127.0.0.1"), own("127.0.0.1"), own("http"), own("blog.test"), own(&port)];
    assert_eq!(seen(&ask(&world, "")), plain);
    let told =
        seen(&ask(&world, "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a\"b\r\nX-Forwarded-Port: 1x\r\n"));
    assert_eq!(told, plain);

    let Some(world) = World::new() else { return };
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_TRUSTED_PROXIES=192.0.2.0/24\n");
    let world = world.site(&["--upstream", &upstream]).start();
    let told = seen(&ask(&world, FORWARDED));
    let wanted = [
        own("127.0.0.1"),
        own("192.0.2.7, 127.0.0.1"),
        own("http"),
        own("blog.test"),
        own(&world.port.to_string()),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn https_in_front_needs_no_redirect() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let (certificate, key) = world.make_certificate();
    let upstream = format!("127.0.0.1:{}", app.port);
    let env = "NGINX_SERVER_NAME=blog.test\nNGINX_HTTPS_ONLY=1\nNGINX_HSTS=1\nNGINX_HSTS_MAX_AGE=60\n";
    let world = world
        .file("app/ENV", env)
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&[
            "--upstream",
            &upstream,
            "--certificate",
            &certificate,
            "--key",
            &key,
            "--trusted-proxy",
            "private",
        ])
        .start();
    let through = ask(&world, FORWARDED);
    assert_eq!(through.status, 200, "{through:?}");
    assert_eq!(through.header("strict-transport-security").as_deref(), Some("max-age=60"));
    let moved = ask(&world, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n");
    assert_eq!((moved.status, moved.header("location").as_deref()), (301, Some("https://blog.test/a?b")));
    assert_eq!(moved.header("strict-transport-security"), None);
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
}
