//! Process types that end while a deploy waits for `web`.

use crate::support::{SERVE, Server, until};

#[test]
fn workers_that_end_beside_a_web_are_reported_and_started_again() {
    let server = Server::new();
    let said = server.deploy(
        "one",
        &[
            ("web", SERVE),
            ("worker", "echo no redis at 127.0.0.1:6379 >&2; exit 1"),
            ("console", "cat; exit 0"),
            ("custom", "echo -n"),
        ],
    );
    let line = |ps: &str| {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(&format!("{ps} exited"))).collect();
        assert_eq!(lines.len(), 1, "{said}");
        lines[0].to_owned()
    };
    assert!(line("worker.1").contains("worker.1 exited with code 1 after "), "{said}");
    assert!(
        line("worker.1").ends_with(
            ": no redis at 127.0.0.1:6379; it is started again with pauses: piku logs blog worker"
        ),
        "{said}"
    );
    for kind in ["console", "custom"] {
        let line = line(&format!("{kind}.1"));
        assert!(line.ends_with(&format!("piku ps:scale blog {kind}=0")), "{said}");
    }
    assert_eq!(server.page(), "one");
    until("the worker is started again", || server.row("worker.1")["restarts"].as_u64() > Some(1));
    server.good(&["scale", "blog", "custom=0", "console=0"]);
    let left = |server: &Server| server.ps().iter().map(|row| row["type"].to_string()).collect::<Vec<_>>();
    assert_eq!(left(&server), ["\"web\"", "\"worker\""]);
}

#[test]
fn the_formation_is_stored_before_the_first_release_and_the_failure_names_it() {
    let server = Server::new();
    let bad = ("broken", "echo nothing to do; exit 3");
    // Long enough for a process to end also on a busy machine.
    let patient = [("HEALTHCHECK_UPTIME", "30")];
    server.config(&patient);
    let said = server.deploy_fails("one", &[("bot", "exec sleep 1000"), bad]);
    assert!(said.contains("broken.1 exited with code 3 before it was ready"), "{said}");
    assert!(said.contains("piku ps:scale blog broken=0"), "{said}");
    server.config(&[]);
    // As the first push has made it.
    std::fs::create_dir_all(server.app("repo.git")).unwrap();
    let (_, said) = server.good(&["scale", "blog", "broken=0", "bot=2"]);
    assert!(said.contains("it holds from the first release on"), "{said}");
    let said = server.deploy("one", &[("bot", "exec sleep 1000"), bad]);
    assert!(said.contains("it gets no requests: its Procfile has no 'web'"), "{said}");
    assert_eq!(server.states(), ["bot.1 running", "bot.2 running"]);
    server.config(&patient);
    let said = server.deploy_fails("two", &[("bot", "exit 0")]);
    assert!(said.contains("nothing of the app keeps running: bot.1 exited with code 0"), "{said}");
    until("the old ones are back", || server.states() == ["bot.1 running", "bot.2 running"]);
}
