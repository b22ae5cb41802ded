//! Whole outputs: the tables of an app, and the error of each command.

use piku_tests::snapshot::{assert_redacted, file, squeeze_columns, str, transcript};

use crate::support::{SERVE, Server, until};

/// Runs these command lines one after the other and returns what was typed and printed.
fn session(server: &Server, lines: &[&[&str]]) -> String {
    let run = |args: &&[&str]| format!("$ piku-run {}\n{}", args.join(" "), transcript(&server.run(args)));
    squeeze_columns(&lines.iter().map(run).collect::<Vec<_>>().join("\n"))
}

/// Returns the name of the user who runs the tests, whom a release names.
fn user_name() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map(|user| user.name)
        .unwrap_or_default()
}

#[track_caller]
fn assert_session(server: &Server, lines: &[&[&str]], snapshot: impl piku_tests::snapshot::IntoData) {
    let root = server.root();
    let root = root.to_str().expect("a path in UTF-8");
    let user = format!("  {}  ", user_name());
    let values = [("[ROOT]", root), ("[ARCHITECTURE]", std::env::consts::ARCH), ("[BY]", &user)];
    assert_redacted(&session(server, lines), &values, snapshot);
}

#[test]
fn tables_of_an_app() {
    let server = Server::new();
    let types = [("web", SERVE), ("worker", "exec sleep 1000")];
    server.deploy("one", &types);
    server.good(&["config", "blog", "set", "NAME=two words", "TOKEN=x"]);
    server.deploy("two", &types);
    server.good(&["scale", "blog", "worker=0"]);
    server.good(&["rollback", "blog", "1"]);
    until("only web runs", || server.states() == ["web.1 healthy"]);
    assert_session(
        &server,
        &[&["releases", "blog"], &["config", "blog"]],
        str![[r#"
$ piku-run releases blog
exit status: 0
--- stdout
RELEASE  STATE  AT  COMMIT  FOR  BY  SUBJECT
4  live  [TIME]  0123456  [ARCHITECTURE][BY]rollback to 1
3  previous  [TIME]  0123456  [ARCHITECTURE]
2  previous  [TIME]  0123456  [ARCHITECTURE][BY]config: set NAME, TOKEN
1  previous  [TIME]  0123456  [ARCHITECTURE]

$ piku-run config blog
exit status: 0

"#]],
    );
    server.good(&["stop", "blog"]);
    assert_session(
        &server,
        &[&["ps", "blog"], &["stop", "blog"], &["maintenance", "blog", "on"]],
        str![[r#"
$ piku-run ps blog
exit status: 0
--- stdout
PS  STATE  PID  PORT  RELEASE  UPTIME  RESTARTS  CPU  MEMORY
web.1  stopped  -  -  4  -  0  -  -

$ piku-run stop blog
exit status: 0
--- stderr
-----> blog is stopped already

$ piku-run maintenance blog on
exit status: 0
--- stderr
-----> blog is down for maintenance

"#]],
    );
}

#[test]
fn errors_of_each_command() {
    let server = Server::new();
    let unknown_app: &[&[&str]] = &[
        &["ps", "blog"],
        &["restart", "blog"],
        &["stop", "blog"],
        &["logs", "blog"],
        &["releases", "blog"],
        &["rollback", "blog"],
        &["gc", "blog"],
        &["config", "blog", "get", "NAME"],
        &["exec", "blog", "--", "true"],
        &["destroy", "blog", "--confirm", "blog"],
        &["maintenance", "blog", "on"],
        &["data", "blog", "export"],
        &["data", "blog", "import"],
        &["data", "blog", "remove", "--confirm", "blog"],
        &["certs", "renew", "blog"],
        &["deploy", "blog", "/nonexistent"],
        &["ps", "Blog"],
    ];
    assert_session(&server, unknown_app, file!["errors/unknown_app.txt"]);
    server.deploy("one", &[("web", SERVE)]);
    let wrong_arguments: &[&[&str]] = &[
        &["scale", "blog", "wep=1"],
        &["scale", "blog", "web"],
        &["scale", "blog", "web=-1"],
        &["scale", "blog", "web=100000"],
        &["restart", "blog", "wep"],
        &["logs", "blog", "--ps", "wep"],
        &["logs", "blog", "--since", "yesterweek"],
        &["rollback", "blog"],
        &["rollback", "blog", "9"],
        &["rollback", "blog", "last"],
        &["config", "blog", "get", "NAME"],
        &["config", "blog", "unset", "NAME"],
        &["config", "blog", "set", "NAME"],
        &["config", "blog", "set", "9LIVES=1"],
        &["config", "blog", "set", "9LIVES", "--stdin"],
        &["config", "blog", "set", "A=1", "--stdin"],
        &["domains", "blog", "add", "http://x/"],
        &["exec", "blog", "--", "nosuchprogram"],
        &["destroy", "blog"],
        &["destroy", "blog", "--confirm", "shop"],
        &["deploy", "blog", "/nonexistent"],
    ];
    assert_session(&server, wrong_arguments, file!["errors/wrong_arguments.txt"]);
}
