//! Certificates that nginx reads at a handshake: the apps share the TLS context of a server that is not theirs.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::nginx::{Ports, start_server};
use piku_tests::repo::Repo;
use piku_tests::world::{World, wait_for};

use crate::run_verb;

fn push_site(world: &World, app: &str, names: &str) -> Repo {
    let repo = world.repo(app);
    repo.file("Procfile", "static: public\n").file("public/index.html", format!("{app}\n"));
    repo.file("ENV", format!("NGINX_SERVER_NAME={names}\n")).commit("Site").push().succeeds();
    repo
}

fn certificate(world: &World, app: &str) -> PathBuf {
    world.root().join("acme/certificates").join(app).join("current/certificate.pem")
}

fn installed_file(world: &World, app: &str) -> String {
    fs::read_to_string(world.root().join("nginx/apps").join(format!("{app}.conf"))).unwrap_or_default()
}

#[test]
fn each_name_gets_the_certificate_of_its_app() {
    let (world, ports) = start_server(", acme: off");
    let blog = push_site(&world, "blog", "blog.test www.blog.test");
    push_site(&world, "wild", "*.wild.test");
    let are_served = |ports: Ports| {
        for (name, app) in [("blog.test", "blog"), ("www.blog.test", "blog"), ("a.wild.test", "wild")] {
            let page = ports.get_securely(name, "/", Some(&certificate(&world, app)));
            assert_eq!(page.body, format!("{app}\n"), "{name}");
        }
    };
    are_served(ports);
    for app in ["blog", "wild"] {
        assert!(!installed_file(&world, app).contains("ssl_certificate"), "it makes no context of its own");
    }

    // The default server of the socket is that of this app from here on.
    push_site(&world, "rest", "_");
    are_served(ports);
    assert_eq!(ports.get_securely("any.test", "/", None).body, "rest\n");

    // The files of the apps have the previous port until each is refreshed.
    let new = Ports { https: Ports::free().https, ..ports };
    world.set_settings(&new.settings(", acme: off"));
    kill(Pid::from_raw(world.nginx_pid()), Signal::SIGHUP).expect("the service runs");
    let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    wait_for("the new port alone", || listens(new.https) && !listens(ports.https));
    wait_for("the new files", || {
        ["blog", "wild", "rest"]
            .iter()
            .all(|app| installed_file(&world, app).contains(&new.https.to_string()))
    });
    are_served(new);
    assert!(!world.nginx_log().contains("rejects"), "{}", world.nginx_log());

    // A name that is given up is free for another app.
    blog.file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One name").push().succeeds();
    push_site(&world, "other", "www.blog.test");
    let page = new.get_securely("www.blog.test", "/", Some(&certificate(&world, "other")));
    assert_eq!(page.body, "other\n");
    run_verb(&world, "destroy other --confirm other --now");
    let link = world.root().join("acme/names/www.blog.test");
    assert!(fs::symlink_metadata(&link).is_err(), "it leads to nothing");
}
