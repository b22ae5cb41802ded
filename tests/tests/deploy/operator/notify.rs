//! `notify` of host.yaml: what the operator is told, by a command, a webhook and a mail.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::thread;

use piku_tests::snapshot::text;
use piku_tests::world::World;

fn notify(world: &World) -> Output {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", world.path("mta").display());
    world.tool("piku-run").arg("notify").env("PATH", path).output().expect("piku-run runs")
}

/// Answers one request with 200 and returns it.
fn serve_once(listener: TcpListener) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a request");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"}") {
            let count = client.read(&mut buffer).expect("the request");
            assert!(count > 0, "the request ends early");
            request.extend_from_slice(&buffer[..count]);
        }
        client
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .expect("an answer");
        String::from_utf8(request).expect("text")
    })
}

#[test]
fn operator_is_told_of_failed_deploys_once() {
    let world = World::new();
    fs::create_dir(world.path("mta")).expect("a folder");
    let sendmail = world.path("mta/sendmail");
    let told = world.path("home/told");
    let mail = world.path("home/mail");
    fs::write(&sendmail, format!("#!/bin/sh\necho \"$@\" >>'{0}'; cat >>'{0}'\n", mail.display()))
        .expect("sendmail");
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).expect("mode");
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    assert!(notify(&world).status.success(), "without a receiver nothing happens");
    assert!(!world.root().join("notify.json").exists());

    // No server listens at the webhook at first.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    world.set_settings(&format!(
        "notify: {{command: \"cat >>'{}'\", webhook: 'http://127.0.0.1:{port}/hook', format: slack, mail: ops@example.org}}",
        told.display()
    ));
    let out = notify(&world);
    assert!(out.status.success() && !told.exists(), "all is well: {}", text(&out));
    let secret = "s3cret <!channel>";
    repo.file("Procfile", format!("web: echo '{secret}'; exit 3\n"))
        .commit(secret)
        .push()
        .fails_with(&["blog"]);
    let out = notify(&world);
    assert!(text(&out).contains("notify: webhook: the webhook of 'notify' failed"), "{}", text(&out));
    let line = fs::read_to_string(&told).expect("JSON");
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&value["event"], &value["state"], &value["app"]),
        (&"deploy-failed".into(), &"begun".into(), &"blog".into())
    );
    assert!(line.contains("deploy 2 by laptop failed; piku logs blog --deploy 2"), "{line}");
    let mail_text = fs::read_to_string(&mail).expect("a mail");
    assert!(
        mail_text.starts_with("-i -- ops@example.org\nTo: ops@example.org\nSubject: [piku "),
        "{mail_text}"
    );
    assert!(!line.contains("s3cret") && !mail_text.contains("s3cret"));

    // Only the webhook is tried again, when its time has come.
    notify(&world);
    let journal = world.root().join("notify.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&fs::read(&journal).expect("the journal")).expect("JSON");
    assert_eq!(state["queue"][0]["receivers"], serde_json::json!(["webhook"]));
    state["queue"][0]["next"] = state["queue"][0]["notification"]["at"].clone();
    fs::write(&journal, state.to_string()).expect("the journal");
    let server = serve_once(TcpListener::bind(("127.0.0.1", port)).expect("the port"));
    let out = notify(&world);
    assert!(out.status.success(), "{}", text(&out));
    let request = server.join().expect("a request");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("{\"text\":\"[") && request.contains("blog: deploy 2 by laptop failed"),
        "{request}"
    );
    assert_eq!(fs::read_to_string(&told).expect("JSON"), line, "told once");
    assert_eq!(fs::read_to_string(&mail).expect("a mail"), mail_text, "told once");
}

#[test]
fn test_notification_names_the_receiver_that_fails() {
    let world = World::new();
    let test =
        |world: &World| world.tool("piku-run").args(["notify", "--test"]).output().expect("piku-run runs");
    let out = test(&world);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("host.yaml has no 'notify'\nhint: such as"), "{}", text(&out));
    world.set_settings("notify: {command: 'cat >told', webhook: 'http://127.0.0.1:9/s3cret'}");
    let out = test(&world);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("command: sent") && said.contains("webhook: the webhook of 'notify' failed"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    let told = fs::read_to_string(world.path("home/told")).expect("JSON");
    assert!(told.contains("\"event\":\"test\""), "{told}");
    world.set_settings("notify: {mail: '-t ops@example.org'}");
    assert_eq!(test(&world).status.code(), Some(1));
}
