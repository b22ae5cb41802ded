//! Machines in `deploy_to` that an attacker controls: what they say neither reaches the terminal of the one who pushes
//! as anything but text, nor fills a disk, and what they do not say holds up a push for a bounded time only.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use piku_tests::lan::Lan;
use piku_tests::repo::Repo;
use piku_tests::scene::Scene;
use piku_tests::world::World;

/// Does to each request what the file `how` beside it says.
const MACHINE: &str = r#"#!/bin/sh
how=$(cat "${0%/*}/how")
case $SSH_ORIGINAL_COMMAND in
    "release:machine "*) printf '{"architecture":"%s"}' "$(uname -m)"; exit ;;
esac
case $how in
    talk)
        printf 'good\033]0;title\007\033]52;c;eA==\007\033[2J\rbad\033[31mred\302\2332J\n' >&2
        head -c 100000000 /dev/zero | tr '\0' x >&2
        i=0
        while [ "$i" -lt 2000 ]; do i=$((i + 1)); printf '\033[6n%01000d\n' "$i" >&2; done
        printf '\n !     its own \033[5nreason\n' >&2
        exit 1
        ;;
    answer) exec yes '{"lacks":' ;;
    trickle) i=0; while [ "$i" -lt 3000 ]; do i=$((i + 1)); echo working >&2; sleep 0.2; done ;;
esac
"#;

/// More than `deploy_log` allows of a deploy's output by default, with some room for the notices in it.
const LARGEST_LOG: u64 = 11 << 20;

fn behave(world: &World, how: &str) {
    fs::write(world.path("how"), how).expect("a file");
}

fn address(scene: &Scene, at: usize) -> String {
    let world = &scene.runners[at];
    format!("{}@{}:{}", world.user(), Lan::address(at + 1), world.ssh_port())
}

/// Returns the text without colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        plain.push_str(part[end..].strip_prefix('m').unwrap_or_else(|| panic!("not a colour: {part:?}")));
    }
    plain
}

fn largest_file(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    entries.map(|entry| entry.metadata().map_or(0, |meta| meta.len())).max().unwrap_or_default()
}

fn push(scene: &Scene, repo: &Repo, wanted: &[&str]) -> String {
    scene.push(repo.commit("Again")).fails_with(wanted)
}

#[test]
fn a_hostile_machine_is_bounded() {
    let Some(scene) = Scene::new() else { return };
    let hostile = &scene.runners[1];
    scene.replace_machine(hostile, MACHINE);
    let repo = scene.builder.repo("blog");
    repo.serves("one");
    let name = scene.name(1);
    let honest = format!("{}: release 1 is live", scene.name(0));

    // Endless talk with sequences for the terminal, and a line of 100 MB.
    scene.deploy_to("here: false, patience: 0");
    behave(hostile, "talk");
    let said = push(&scene, &repo, &["1 of 2 machines failed", "its own reason", &honest]);
    let plain = without_colours(&said);
    assert!(plain.chars().all(|c| !c.is_control() || c == '\n'), "control characters");
    assert!(plain.contains(&format!("{name} | good bad")) && plain.contains("red"), "its text stays");
    assert!(said.len() as u64 <= 2 * LARGEST_LOG, "{}", said.len());
    let log = scene.builder.app("blog").join("log");
    assert!(largest_file(&log) <= LARGEST_LOG, "{}", largest_file(&log));

    // An answer without end.
    behave(hostile, "answer");
    push(&scene, &repo, &[&format!("{name}: its response is longer than"), "1 of 2 machines failed"]);

    // Something now and then, and never an end.
    behave(hostile, "trickle");
    scene.deploy_to_machines(&[address(&scene, 1)], "here: false, patience: 0, time_limit: 5");
    let limit = "it has not finished within 5 s (time_limit of deploy_to in host.yaml)";
    push(&scene, &repo, &[&format!("{name}: {limit}")]);
    // It is not taken for one that is down, which would be tried again and again.
    let skipped = "here: false, patience: 0, skip_down: true, time_limit: 5";
    scene.deploy_to_machines(&[address(&scene, 1)], skipped);
    push(&scene, &repo, &[limit, "1 of 1 machines failed"]);
    assert!(!scene.builder.app("blog").join("missed").exists());

    // It begins as an sshd does, and says no more.
    let listener = scene.lan.on(0, || TcpListener::bind("127.0.0.1:0").expect("a port"));
    let silent = format!("piku@127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let holder = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").expect("a banner");
        // Until ssh is ended.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    scene.deploy_to_machines(&[silent], "here: false, patience: 0, time_limit: 2");
    push(&scene, &repo, &["it has not finished within 2 s", "nothing was built"]);
    holder.join().expect("the machine");

    // Another machine in its place.
    let known = scene.builder.path("home/known");
    let keys = fs::read_to_string(&known).expect("host keys");
    let (first, second) = keys.split_once('\n').expect("two keys");
    let (host, _) = first.split_once(' ').expect("a host");
    let (_, key) = second.trim_end().split_once(' ').expect("a key");
    fs::write(&known, format!("{host} {key}\n")).expect("host keys");
    scene.deploy_to_machines(&[address(&scene, 0)], "here: false, patience: 60");
    push(
        &scene,
        &repo,
        &["has changed", "if it was installed anew, forget its old key", "nothing was built"],
    );
    // It is not away either, for verbs.
    scene.deploy_to_machines(&[address(&scene, 0)], "here: false, patience: 0, skip_down: true");
    let later = "it gets the change when it lets this machine in";
    for (words, then) in [("ps blog", ""), ("logs blog", ""), ("config:set blog A=1", later)] {
        let out = scene.lan.on(0, || scene.builder.ssh("laptop", words));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{words}: {said}");
        assert!(said.contains("no connection: ") && said.contains("forget its old key"), "{words}: {said}");
        assert!(said.contains(then), "{words}: {said}");
    }
    scene.end();
}
