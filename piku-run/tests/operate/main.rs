//! The operator's commands on a running app.

mod html_page;
mod outputs;
mod status;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{SERVE, Server, get, is_alive, names, until};

#[test]
fn scaling_up_and_down() {
    let server = Server::new();
    let sleep = "exec sleep 1000";
    server.deploy("one", &[("web", SERVE), ("worker", sleep)]);
    let first = server.pid("web.1");
    server.good(&["scale", "blog", "web=3", "worker=0"]);
    until("the worker is gone", || server.states() == ["web.1 healthy", "web.2 healthy", "web.3 healthy"]);
    assert_eq!(server.pid("web.1"), first, "what runs is left alone");
    let mut ports: Vec<u64> = server.ps().iter().map(|row| row["port"].as_u64().unwrap()).collect();
    for port in &ports {
        assert_eq!(get((*port).try_into().unwrap()).unwrap(), "one");
    }
    ports.dedup();
    assert_eq!(ports.len(), 3, "each has its own port");
    server.deploy("two", &[("web", SERVE), ("worker", sleep)]);
    until("a deploy keeps the formation", || {
        server.states() == ["web.1 healthy", "web.2 healthy", "web.3 healthy"]
    });
    server.good(&["scale", "blog", "web=1"]);
    until("one is left", || server.states() == ["web.1 healthy"]);
    let formation: serde_json::Value =
        serde_json::from_slice(&fs::read(server.app("formation.json")).unwrap()).unwrap();
    assert_eq!(formation, serde_json::json!({"web": 1, "worker": 0}));
    let said = server.bad(1, &["scale", "blog", "wep=1"]);
    assert!(
        said.contains("blog has no process type 'wep'")
            && said.contains("hint: did you mean 'web'? it has: web, worker"),
        "{said}"
    );
}

#[test]
fn a_scaling_that_fails_changes_nothing() {
    let server = Server::new();
    let second_fails = "[ $PS = worker.1 ] || exit 5; exec sleep 1000";
    server.deploy("one", &[("worker", second_fails)]);
    let said = server.bad(1, &["scale", "blog", "worker=2"]);
    assert!(said.contains("worker.2 exited with code 5 before it was ready"), "{said}");
    assert_eq!(server.states(), ["worker.1 running"]);
    assert!(!server.app("formation.json").exists());
}

#[test]
fn running_instances_are_reconciled_with_the_formation() {
    let mut server = Server::new();
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    server.good(&["scale", "blog", "worker=4"]);
    let pids = |server: &Server| -> Vec<Pid> {
        let instances = server.states().into_iter().map(|state| state.split(' ').next().unwrap().to_owned());
        instances.map(|instance| server.pid(&instance)).collect()
    };
    let before = pids(&server);
    // Without a supervisor one instance ends, and a formation is stored but not applied.
    server.end_daemon(Signal::SIGKILL);
    let supervisor = server.supervisor("blog");
    kill(supervisor, Signal::SIGKILL).unwrap();
    until("no supervisor", || !is_alive(supervisor));
    kill(before[1], Signal::SIGKILL).unwrap();
    fs::write(server.app("formation.json"), r#"{"worker": 3}"#).unwrap();
    assert!(is_alive(before[3]));
    server.start_daemon();
    let three = ["worker.1 running", "worker.2 running", "worker.3 running"];
    until("three of them", || server.states() == three);
    let after = pids(&server);
    assert_eq!((after[0], after[2]), (before[0], before[2]), "what fits is left alone");
    assert_ne!(after[1], before[1]);
    until("the fourth has ended", || !is_alive(before[3]));

    // An instance that crashed meanwhile does not run, but counts towards the formation.
    kill(after[2], Signal::SIGKILL).unwrap();
    server.good(&["scale", "blog", "worker=4"]);
    until("four of them", || server.states() == [&three[..], &["worker.4 running"]].concat());
    let grown = pids(&server);
    assert_eq!(grown[..2], after[..2]);
    server.good(&["scale", "blog", "worker=1"]);
    until("one is left", || server.states() == ["worker.1 running"]);
    assert_eq!(pids(&server), after[..1]);
    assert!(grown[1..].iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_rollback_is_a_new_release_with_the_old_tree() {
    let server = Server::new();
    server.bad(1, &["rollback", "blog"]);
    server.deploy("one", &[("web", SERVE), ("release", "echo $PIKU_RELEASE >>$DATA_DIR/tasks")]);
    server.bad(1, &["rollback", "blog"]);
    server.deploy("two", &[("web", SERVE)]);
    server.deploy("three", &[("web", SERVE)]);
    server.good(&["rollback", "blog"]);
    assert_eq!(server.page(), "two");
    let said = server.good(&["rollback", "blog", "1"]).1;
    assert!(said.contains("Rolling blog back to release 1\n       release 5, with the tree of"), "{said}");
    assert_eq!(server.page(), "one");
    assert_eq!(
        fs::read_to_string(server.app("data/tasks")).unwrap(),
        "1\n",
        "the task of a release runs once"
    );
    let said = server.bad(1, &["rollback", "blog", "9"]);
    assert!(said.contains("blog has no release 9"), "{said}");
    let list: serde_json::Value =
        serde_json::from_str(&server.good(&["releases", "blog", "--format", "json"]).0).unwrap();
    assert_eq!((&list[0]["release"], &list[0]["state"]), (&5.into(), &"live".into()));
    let left: Vec<String> = names(&server.app("")).into_iter().filter(|name| name.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_restart_replaces_without_a_gap() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE), ("worker", "exec sleep 1000")]);
    let (web, worker) = (server.pid("web.1"), server.pid("worker.1"));
    server.good(&["restart", "blog", "worker"]);
    assert_eq!(server.pid("web.1"), web);
    assert_ne!(server.pid("worker.1"), worker);
    server.good(&["restart", "blog"]);
    assert_ne!(server.pid("web.1"), web);
    assert_eq!(server.page(), "one");
    let said = server.bad(1, &["restart", "blog", "nosuch"]);
    assert!(said.contains("blog has no process type 'nosuch'\nhint: it has: web, worker"), "{said}");
    let said = server.bad(1, &["restart", "blog", "wep.1"]);
    assert!(said.contains("process type 'wep'\nhint: did you mean 'web'? it has: web, worker"), "{said}");
    let said = server.bad(1, &["restart", "blog", "web.2"]);
    assert!(said.contains("blog has no instance 'web.2'\nhint: it has: web.1"), "{said}");
    let said = server.bad(1, &["restart", "nosuch"]);
    assert!(said.contains("there is no app 'nosuch'"), "{said}");
}

#[test]
fn a_changed_configuration_is_live_when_the_command_ends() {
    let server = Server::new();
    server.deploy("one", &[("web", "echo $NAME >page; exec python3 serve.py")]);
    let said = server.good(&["config", "blog", "set", "NAME=a  b", "OTHER=1"]).1;
    assert!(said.starts_with("-----> Configuration: set NAME, OTHER\n       release 2, "), "{said}");
    assert_eq!(server.page(), "a b\n");
    assert_eq!(server.good(&["config", "blog", "get", "NAME"]).0, "a  b\n");
    assert_eq!(server.good(&["config", "blog"]).0, "NAME='a  b'\nOTHER=1\n");
    let pid = server.pid("web.1");
    server.good(&["config", "blog", "set", "OTHER=1"]);
    assert_eq!(server.pid("web.1"), pid, "nothing has changed");
    server.good(&["config", "blog", "unset", "NAME"]);
    assert_eq!(server.page(), "\n");
    let mut import = server.tool(&["config", "blog", "import"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(b"NAME=\"from a file\" # yes\n").unwrap();
    assert!(import.wait().unwrap().success());
    assert_eq!(server.page(), "from a file\n");
    // Input without an end is not kept in memory.
    let mut import = server.tool(&["config", "blog", "import"]);
    let mut import = import.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = import.stdin.take().unwrap();
    let piece = vec![b'#'; 1 << 16];
    let pieces = (0..1000).take_while(|_| stdin.write_all(&piece).is_ok()).count();
    drop(stdin);
    let out = import.wait_with_output().unwrap();
    assert!(!out.status.success() && pieces < 1000, "{pieces}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("stdin has more than 8 MiB"), "{out:?}");
}

/// Serves the value of NAME; exits if it is `bad`.
const NAMED: &str = "[ \"$NAME\" != bad ] || exit 3; echo $NAME >page; exec python3 serve.py";

#[test]
fn a_release_runs_with_the_configuration_it_was_made_with() {
    let server = Server::new();
    let get = |name: &str| server.good(&["config", "blog", "get", name]).0;
    server.config(&[("NAME", "one")]);
    server.deploy("", &[("web", NAMED)]);
    let said = server.good(&["config", "blog", "set", "--no-restart", "NAME=two"]).1;
    assert!(said.contains("release 1 runs on without it"), "{said}");
    assert_eq!(get("NAME"), "two\n");

    // A crash, a new supervisor and the restart of one process type do not apply it.
    kill(server.pid("web.1"), Signal::SIGKILL).unwrap();
    until("the worker is back", || {
        server.row("web.1")["restarts"] == 1 && server.states() == ["web.1 healthy"]
    });
    assert_eq!(server.page(), "one\n");
    server.replace_supervisor("blog");
    let said = server.good(&["restart", "blog", "web"]).1;
    assert!(said.contains("for what was stored since (set NAME) restart all"), "{said}");
    assert_eq!(server.page(), "one\n");
    assert_eq!(server.good(&["exec", "blog", "--", "sh", "-c", "echo $NAME"]).0, "one\n");
    server.good(&["restart", "blog"]);
    assert_eq!((server.page().as_str(), server.releases().len()), ("two\n", 2));

    // A config that does not start is neither live nor stored.
    let said = server.bad(1, &["config", "blog", "set", "NAME=bad", "MORE=1"]);
    assert!(said.contains("neither live nor stored") && said.contains("exited with code 3"), "{said}");
    assert_eq!(
        (server.page().as_str(), get("NAME").as_str(), server.releases().len()),
        ("two\n", "two\n", 2)
    );
    assert_eq!(names(&server.app("releases/2")), ["app", "config.json", "release.yaml"]);

    // In a stopped app it is stored for the next start.
    server.good(&["stop", "blog"]);
    let said = server.good(&["config", "blog", "set", "NAME=three"]).1;
    assert!(said.contains("it holds when blog is started"), "{said}");
    assert_eq!(server.states(), ["web.1 stopped"]);
    server.good(&["restart", "blog"]);
    assert_eq!(server.page(), "three\n");

    // A rollback restores the tree and the config, and drops a postponed change.
    server.good(&["config", "blog", "set", "--no-restart", "NAME=bad", "MORE=1"]);
    let said = server.good(&["rollback", "blog", "1"]).1;
    assert!(said.contains("with its configuration: set NAME; unset MORE"), "{said}");
    assert_eq!(
        (server.page().as_str(), server.good(&["config", "blog"]).0.as_str()),
        ("one\n", "NAME=one\n")
    );
    let text = server.good(&["releases", "blog"]).0;
    for subject in ["rollback to 1\n", "config: set NAME\n"] {
        assert!(text.contains(subject), "{text}");
    }
    assert!(!text.contains("three"), "no value is ever shown:\n{text}");
}

#[test]
fn exec_passes_input_output_and_exit_code() {
    let server = Server::new();
    let said = server.bad(1, &["exec", "blog", "--", "true"]);
    assert!(said.contains("there is no app 'blog'"), "{said}");
    server.config(&[("NAME", "value")]);
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    let mut exec = server.tool(&["exec", "blog", "--", "sh", "-c", "cat; echo $NAME $PS; cat page; exit 7"]);
    let mut child = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), support::texts(&out).0.as_str()), (Some(7), "in\nvalue run.1\none"));
    server.good(&["stop", "blog"]);
    let out = server.run(&["exec", "blog", "--", "sh", "-c", "cat page; kill -TERM $$"]);
    assert_eq!(
        (out.status.signal(), support::texts(&out).0.as_str()),
        (Some(15), "one"),
        "also when it is stopped"
    );
    let said = server.bad(127, &["exec", "blog", "--", "nosuchprogram"]);
    assert!(said.contains("cannot run 'nosuchprogram'"), "{said}");
}

#[test]
fn exec_goes_into_the_jail() {
    let Some(server) = Server::in_jail() else { return };
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    let out = server.run(&["exec", "blog", "--", "sh", "-c", "pwd; echo kept >/data/x; exit 9"]);
    assert_eq!((out.status.code(), support::texts(&out).0.as_str()), (Some(9), "/app\n"));
    assert_eq!(fs::read_to_string(server.app("data/x")).unwrap(), "kept\n");
    // A signal to it is passed to the command.
    let command = "trap 'exit 5' TERM; echo up >/data/up; while :; do sleep 0.02; done";
    let mut exec = server.tool(&["exec", "blog", "--", "sh", "-c", command]).spawn().unwrap();
    until("it runs", || server.app("data/up").exists());
    kill(Pid::from_raw(exec.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(exec.wait().unwrap().code(), Some(5));
}

#[test]
fn destroy_keeps_the_data_and_can_be_repeated() {
    let server = Server::new();
    let worker = "echo precious >$DATA_DIR/file; exec sleep 1000";
    server.deploy("one", &[("worker", worker)]);
    let pid = server.pid("worker.1");
    server.bad(2, &["destroy", "blog"]);
    server.bad(2, &["destroy", "blog", "--confirm", "blog2"]);
    assert_eq!(server.states(), ["worker.1 running"]);
    let said = server.good(&["destroy", "blog", "--confirm", "blog"]).1;
    assert!(said.contains("kept until 2"), "{said}");
    assert!(!support::is_alive(pid));
    assert_eq!(names(&server.app("")), ["data", "destroyed"]);
    server.good(&["destroy", "blog", "--confirm", "blog"]);
    assert_eq!(fs::read_to_string(server.app("data/file")).unwrap(), "precious\n");
    let release = server.release("two", &[("worker", "cat $DATA_DIR/file; exec sleep 1000")]);
    let said = server.bad(1, &["deploy", "blog", release.to_str().unwrap()]);
    assert!(said.contains("blog was destroyed, and what it had is kept\nhint: to bring it back"), "{said}");
    let said = server.good(&["restore", "blog"]).1;
    assert!(said.contains("it has no commit here"), "{said}");
    server.good(&["deploy", "blog", release.to_str().unwrap()]);
    assert!(server.log("worker.1").contains("precious"));
    server.good(&["destroy", "blog", "--confirm", "blog", "--now"]);
    assert!(!server.app("").exists());
    server.bad(1, &["destroy", "blog", "--confirm", "blog"]);
}

#[test]
fn ps_and_logs() {
    let server = Server::new();
    assert_eq!(server.good(&["ps"]).0, "");
    let said = server.bad(1, &["ps", "blog"]);
    assert!(said.contains("there is no app 'blog'"), "{said}");
    server.deploy("one", &[("web", SERVE), ("worker", "echo hello; exec sleep 1000")]);
    let row = server.row("worker.1");
    for (name, value) in [("app", "blog"), ("type", "worker"), ("state", "running")] {
        assert_eq!(row[name], value, "{row}");
    }
    assert!(row["memory_bytes"].as_u64().unwrap() > 0 && row["port"].is_null(), "{row}");
    let text = server.good(&["ps"]).0;
    assert!(text.starts_with("PS ") && text.contains("web.1"), "{text}");
    let text = server.good(&["logs", "blog", "--ps", "worker.1"]).0;
    assert!(text.ends_with(" worker.1: hello\n"), "{text}");
    let followed = server.path("followed");
    let mut follow = server.tool(&["logs", "blog", "-f", "--since", "1h", "--ps", "worker"]);
    let mut follow = follow.stdout(fs::File::create(&followed).unwrap()).spawn().unwrap();
    let count = |text: &str| fs::read_to_string(&followed).unwrap().matches(text).count();
    until("the earlier output", || count(" worker.1: hello\n") == 1);
    server.good(&["restart", "blog"]);
    until("the output after a restart", || count(" worker.1: hello\n") == 2);
    server.deploy("two", &[("web", SERVE), ("worker", "echo new; exec sleep 1000")]);
    server.replace_supervisor("blog");
    until("the output after a deploy", || count(" worker.1: new\n") == 1);
    kill(Pid::from_raw(follow.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    follow.wait().unwrap();
    assert_eq!(count(" worker.1: hello\n"), 2);
}

#[test]
fn a_killed_destroy_can_be_repeated() {
    let server = Server::new();
    for page in ["one", "two"] {
        server.deploy(page, &[("web", SERVE)]);
    }
    server.good(&["stop", "blog"]);
    let apps = server.root().join("apps");
    // The state after each step at which it may be killed.
    let steps = ["destroying", "current", "releases", "config.json", "log", "stopped"];
    for (at, last) in steps.iter().enumerate() {
        let name = format!("gone{at}");
        let app = apps.join(&name);
        let copied = std::process::Command::new("cp").arg("-a").arg(apps.join("blog")).arg(&app).status();
        assert!(copied.unwrap().success());
        fs::write(app.join("destroying"), "").unwrap();
        for step in &steps[1..=at] {
            let path = app.join(step);
            let _ = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
        }
        let said = server.bad(1, &["ps", &name]);
        let hint = format!("hint: destroy it again: piku destroy {name} --confirm {name}");
        assert!(said.contains(&hint) && !said.contains("ln -s"), "after {last}: {said}");
        let dir = server.release_of(&name, "new", &[("web", SERVE)]);
        let said = server.bad(1, &["deploy", &name, dir.to_str().unwrap()]);
        assert!(said.contains(&hint), "after {last}: {said}");
        server.good(&["destroy", &name, "--confirm", &name]);
        assert!(!app.join("destroying").exists() && !app.join("releases").exists(), "after {last}");
    }
    // A real kill, right after the point of no return.
    let mut destroy = server.tool(&["destroy", "blog", "--confirm", "blog"]).spawn().unwrap();
    until("the link is gone", || !server.app("current").is_symlink());
    let _ = destroy.kill();
    destroy.wait().unwrap();
    // It may have finished before the kill.
    if server.app("destroying").exists() {
        let said = server.bad(1, &["ps"]);
        assert!(said.contains("hint: destroy it again: piku destroy blog --confirm blog"), "{said}");
        server.good(&["destroy", "blog", "--confirm", "blog"]);
    }
    assert!(!server.app("destroying").exists() && !server.app("releases").exists());
}
