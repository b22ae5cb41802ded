//! Names `APP.HOSTNAME.local`: avahi's program is replaced by one that only stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use piku_tests::nginx::Ports;
use piku_tests::processes;
use piku_tests::skip;
use piku_tests::world::{World, wait_for};

use crate::run_verb;

/// Returns the names that are announced.
fn announced(world: &World) -> Vec<String> {
    let place = world.path("fakes/avahi-publish");
    let pids = processes::find(Path::new(&place), "--no-reverse").into_iter();
    let names = pids.filter_map(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = line.split('\0').skip_while(|word| *word != "--no-reverse").skip(1);
        Some(words.next()?.split('.').next()?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn names_of_apps_are_announced_while_they_are_served() {
    // As piku-run finds its address; nothing is sent.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    if socket.connect("192.0.2.1:9").is_err() {
        return skip("names in the local network: this machine has no route to others");
    }
    let ports = Ports::free();
    let mut world = World::with_settings(&format!("domain: local\n{}", ports.settings("")));
    let fakes = world.path("fakes");
    fs::create_dir(&fakes).expect("a folder");
    let program = |name: &str, text: &str| {
        let path = fakes.join(name);
        fs::write(&path, text).expect(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    };
    program("avahi-publish", "#!/usr/bin/python3\nimport signal\nsignal.pause()\n");
    let real = piku_tests::tools::built().join("piku-run");
    let text = format!("#!/bin/sh\nPATH={}:$PATH exec {} \"$@\"\n", fakes.display(), real.display());
    let wrapper = program("piku-run", &text);
    world.start_nginx_by(&wrapper);
    for app in ["blog", "shop"] {
        world.repo(app).serves(app).commit("One").push().succeeds();
    }
    wait_for("both names", || announced(&world) == ["blog", "shop"]);
    // An app with a name of its own has no other.
    run_verb(&world, "config:set shop NGINX_SERVER_NAME=router.local");
    wait_for("one name", || announced(&world) == ["blog"]);
    run_verb(&world, "rename blog news");
    wait_for("the new name", || announced(&world) == ["news"]);
    world.end_nginx(Signal::SIGKILL);
    wait_for("no name", || announced(&world).is_empty());
    world.start_nginx_by(&wrapper);
    wait_for("the name again", || announced(&world) == ["news"]);
    run_verb(&world, "destroy news --confirm news --now");
    wait_for("no name any more", || announced(&world).is_empty());
}
