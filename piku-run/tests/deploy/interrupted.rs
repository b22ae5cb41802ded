//! Deploys whose client or supervisor is killed.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Processes;
use crate::support::{SERVE, Server, get, mentioning, texts, until};

#[test]
fn a_deploy_continues_when_its_client_is_killed() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let dir = server.release("two", &[("web", SERVE), ("release", "echo started; sleep 1")]);
    let mut deploy =
        server.tool(&["deploy", "blog", dir.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    until("the task runs", || server.log("release.1").contains("started"));
    deploy.kill().unwrap();
    deploy.wait().unwrap();
    until("the new release serves", || get(server.port()).is_ok_and(|page| page == "two"));
}

#[test]
fn a_deploy_that_loses_its_supervisor_is_undone() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let old = server.pid("web.1");
    for stage in ["task", "web"] {
        let processes: Processes<'_> = match stage {
            "task" => &[("web", SERVE), ("release", "echo started; exec sleep 1000")],
            _ => &[("web", "echo started; exec sleep 1000")],
        };
        let dir = server.release("two", processes);
        let instance = if stage == "task" { "release.1" } else { "web.1" };
        let lines = server.log(instance).matches("started").count();
        let deploy =
            server.tool(&["deploy", "blog", dir.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
        until("it is under way", || server.log(instance).matches("started").count() > lines);
        server.replace_supervisor("blog");
        let said = texts(&deploy.wait_with_output().unwrap()).1;
        assert!(said.contains("has ended before it was done"), "{said}");
        until("the new one is gone", || server.states() == ["web.1 healthy"]);
        assert_eq!(server.releases(), ["1"]);
        assert_eq!(
            (server.page().as_str(), server.pid("web.1")),
            ("one", old),
            "the old one was never touched"
        );
        until("nothing is left", || mentioning(b"sleep\x001000").iter().all(|pid| !in_root(*pid, &server)));
    }
    server.deploy("three", &[("web", SERVE)]);
    assert_eq!(server.page(), "three");
}

/// Returns true if a process belongs to this test.
fn in_root(pid: Pid, server: &Server) -> bool {
    mentioning(server.root().as_os_str().as_encoded_bytes()).contains(&pid)
}

#[test]
fn a_supervisor_killed_at_any_moment_of_a_deploy_leaves_one_release() {
    let server = Server::new();
    server.deploy("start", &[("web", SERVE), ("worker", "exec sleep 1000")]);
    for round in 0..12u64 {
        let page = format!("round {round}");
        let dir = server.release(&page, &[("web", SERVE), ("worker", "exec sleep 1000")]);
        let mut deploy =
            server.tool(&["deploy", "blog", dir.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 23 % 280));
        let _ = kill(server.supervisor("blog"), Signal::SIGKILL);
        deploy.wait().unwrap();
        until("one web and one worker", || server.states() == ["web.1 healthy", "worker.1 running"]);
        let live: u64 = fs::read_link(server.app("current"))
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(server.row("web.1")["release"], live);
        let page = fs::read_to_string(server.app("current/app/page")).unwrap();
        assert_eq!(server.page(), page);
        until("nothing newer than the live one", || {
            server.releases().iter().all(|name| name.parse::<u64>().unwrap() <= live)
        });
        let count = mentioning(b"exec sleep 1000").into_iter().filter(|pid| in_root(*pid, &server)).count();
        assert!(count <= 1, "{count} workers");
        let _ = fs::remove_dir_all(dir);
    }
    server.deploy("end", &[("web", SERVE)]);
    assert_eq!(server.page(), "end");
}
