//! Requests over a real sshd: which are executed, and which are refused.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use piku_tests::snapshot::{assert_redacted, file, transcript};
use support::{Server, stderr, stdout};

const VERSION: (&str, &str) = ("[VERSION]", concat!("piku ", env!("CARGO_PKG_VERSION")));

/// Sends each line as a request, which must be refused in one line, and returns the answers.
fn refusals(server: &Server, key: &str, lines: &[&str]) -> String {
    let refusal = |line: &&str| {
        let out = server.ssh(key, line);
        let said = stderr(&out);
        // 2 for a request that does not exist.
        assert!(matches!(out.status.code(), Some(1 | 2)), "{line:?}: {said}");
        assert!(out.stdout.is_empty() && said.starts_with("piku: "), "{line:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{line:?}: {said}");
        format!("{line:?}\n{said}")
    };
    lines.iter().map(refusal).collect()
}

#[test]
fn unknown_requests_are_refused_and_audited() {
    let server = Server::new();
    let lines = [
        "sh",
        "id; sh",
        "$(id)",
        "rsync --server .",
        "keys",
        "doctor",
        "git-receive-pack",
        "git-receive-pack 'a b'",
        "git-receive-pack ../../etc",
        "git-upload-pack 'nope'",
        "git-lfs-authenticate blog upload",
        "destroy ..",
        "restart",
        "run blog 'a",
        "x\ny",
    ];
    assert_redacted(&refusals(&server, "alice", &lines), &[VERSION], file!["errors/request.txt"]);
    let version = env!("CARGO_PKG_VERSION");
    server.audited(&format!(
        "alice sh - refused: unknown verb 'sh'; 'help' lists the verbs of this server (piku {version})"
    ));
    server.audited("alice fetch nope error: there is no app 'nope'");
    assert_eq!(server.audit().len(), 15);
    assert!(!server.path("root/apps").exists(), "nothing was made");
    let log = fs::metadata(server.path("root/audit.log")).unwrap();
    assert_eq!(log.permissions().mode() & 0o777, 0o600);
}

#[test]
fn login_without_command_gets_one_line() {
    let server = Server::new();
    let out = server.ssh_command("alice").stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let greeting = "hello alice: this account accepts git push and piku's verbs, but no shell; try 'help'";
    assert_eq!(stderr(&out), format!("piku: {greeting}\n"));
}

#[test]
fn verb_arguments_reach_no_shell() {
    let server = Server::new();
    let out = server.ssh("alice", r#"config:set blog 'A=a  b' B='$(id) ; `x` *' "C=it's""#);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert_eq!(
        stdout(&out),
        "[config:set]\n[blog]\n[A=a  b]\n[B=$(id) ; `x` *]\n[C=it's]\nkey=alice apps=unset git=unset\n"
    );
    server.audited("alice config:set blog exit 0");
    let log = fs::read_to_string(server.path("root/audit.log")).unwrap();
    assert!(!log.contains("a  b"), "arguments may be secrets: {log}");
    assert_eq!(stdout(&server.ssh("alice", "apps")), "[apps]\nkey=alice apps=unset git=unset\n");
}

#[test]
fn verbs_pass_exit_code_stdin_and_terminal() {
    let server = Server::new();
    for code in [0, 1, 2, 42, 75, 255] {
        assert_eq!(server.ssh("alice", &format!("run blog {code}")).status.code(), Some(code));
    }
    assert_eq!(server.ssh("alice", "run blog kill").status.code(), Some(137));
    assert_eq!(server.ssh("alice", "run blog tty").status.code(), Some(5), "no terminal was asked for");
    let out =
        server.ssh_command("alice").args(["-tt", "run blog tty"]).stdin(Stdio::null()).output().unwrap();
    if out.status.code() == Some(255) && !nix::unistd::geteuid().is_root() {
        // A plain user's sshd may not hand over a terminal where /dev/pts is mounted for another group.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: no terminal through this user's sshd: {}", stderr(&out));
    } else {
        assert_eq!(out.status.code(), Some(4), "{out:?}");
    }

    let mut cat = server.ssh_command("alice");
    cat.arg("run blog cat").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cat = support::Running(cat.spawn().unwrap());
    cat.0.stdin.take().unwrap().write_all(b"through\0and\xff").unwrap();
    let mut back = Vec::new();
    cat.0.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    assert_eq!(back, b"through\0and\xff");
}

#[test]
fn a_limited_key_reaches_its_apps_only() {
    let server = Server::new();
    server.add_key("guest", &["blog", "shop"]);
    server.laptop_of("guest", "blog", "blog").file("page", "one").commit("One").push().succeeds();
    let other = server.laptop_of("guest", "other", "other");
    other.file("page", "x").commit("One");
    other.push().fails_with(&["key 'guest' may not use 'other', only blog, shop"]);
    assert!(!server.app("other").exists(), "nothing was made for the refused app");
    server.audited("guest push other refused: key 'guest' may not use 'other', only blog, shop");

    assert_eq!(server.ssh("guest", "run blog 3").status.code(), Some(3));
    assert_eq!(stdout(&server.ssh("guest", "apps")), "[apps]\nkey=guest apps=blog shop git=unset\n");
    assert_eq!(server.ssh("guest", "help").status.code(), Some(0));
    let lines = [
        "ps other",
        "apps other",
        "logs blog --app other",
        "ps",
        "ps --format json",
        "config other",
        "destroy other --confirm other",
        "deploy other",
        // Nor does it get another app by way of one of its own.
        "rename blog other",
        "apps:rename blog other",
        "clone blog other",
        "fork blog --data other",
        "restore blog --as other",
        "restore blog --as=other",
        "restore --as other",
    ];
    assert_redacted(&refusals(&server, "guest", &lines), &[VERSION], file!["errors/limited_key.txt"]);
    // A misspelt name is answered with names of its own apps alone.
    server.laptop_of("alice", "shops", "shops").file("page", "one").commit("One").push().succeeds();
    let said = stderr(&server.ssh("guest", "git-upload-pack 'shop'"));
    assert!(said.contains("there is no app 'shop'") && !said.contains("shops"), "{said}");
    assert!(stderr(&server.ssh("alice", "git-upload-pack 'shop'")).contains("shops"));
    let fetch = server.laptop_of("guest", "fetch", "other");
    assert!(!fetch.command().args(["fetch", "piku"]).output().unwrap().status.success());
}

#[test]
fn names_of_apps_in_the_spellings_of_remotes() {
    let server = Server::new();
    let laptop = server.laptop("blog.git");
    laptop.file("page", "one").commit("One").push().succeeds();
    let host = format!("{}@127.0.0.1", server.sshd.user());
    let scp_like = [format!("{host}:blog"), format!("{host}:/blog"), format!("{host}:~/blog.git")];
    let urls = ["blog", "blog/", "~/blog", "blog.git/"].map(|path| server.sshd.url(path));
    for url in scp_like.iter().chain(&urls) {
        laptop.git(&["ls-remote", url]);
    }
    for path in ["a/b", "..", "Blog", "blog%00"] {
        let out = laptop.command().args(["ls-remote", &server.sshd.url(path)]).output().unwrap();
        assert!(!out.status.success(), "{path}: {out:?}");
    }
    let out = laptop
        .command()
        .args(["archive", "--remote", &server.sshd.url("blog"), "main", "page"])
        .output()
        .unwrap();
    assert!(out.status.success() && !out.stdout.is_empty(), "{out:?}");
    server.audited("alice archive blog exit 0");
    assert_eq!(fs::read_dir(server.path("root/apps")).unwrap().count(), 1);
}

#[test]
fn keys_are_added_listed_and_removed() {
    let server = Server::new();
    let keys = server.path("authorized_keys");
    let foreign = "# mine\nssh-rsa not-really-a-key  me\n";
    let ours = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, format!("{foreign}{ours}")).unwrap();
    server.add_key("bob@laptop", &["blog"]);

    let list = |format: &str| {
        let out = server
            .tool()
            .args(["key", "list", "--format", format, "--authorized-keys"])
            .arg(&keys)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        stdout(&out)
    };
    let json: serde_json::Value = serde_json::from_str(&list("json")).unwrap();
    assert_eq!(json[0]["name"], "alice");
    assert_eq!(json[0]["apps"], serde_json::json!([]));
    assert_eq!(json[1]["name"], "bob@laptop");
    assert_eq!(json[1]["apps"], serde_json::json!(["blog"]));
    assert!(json[1]["added"].as_str().unwrap().ends_with('Z'));
    let public = server.path("keys/bob@laptop.pub");
    let shown = std::process::Command::new("ssh-keygen").arg("-lf").arg(&public).output().unwrap();
    assert!(stdout(&shown).contains(json[1]["fingerprint"].as_str().unwrap()));
    assert_eq!(list("text").lines().count(), 2);
    assert!(list("yaml").contains("name: bob@laptop"));
    assert_eq!(server.ssh("bob@laptop", "run blog 6").status.code(), Some(6));

    let key = |args: &[&str], input: &std::path::Path| {
        let mut tool = server.tool();
        tool.arg("key").args(args).arg("--authorized-keys").arg(&keys);
        tool.stdin(fs::File::open(input).unwrap()).output().unwrap()
    };
    let before = fs::read(&keys).unwrap();
    let private = server.path("keys/alice");
    let wrong: [(&[&str], &std::path::Path); 6] = [
        (&["add", "alice"], &public),
        (&["add", "carol"], &public),
        (&["add", "carol"], &private),
        (&["add", "a b"], &public),
        (&["add", "carol", "--app", ".."], &public),
        (&["remove", "carol"], &public),
    ];
    let printed = wrong.iter().map(|(args, input)| {
        let name = input.file_name().unwrap().to_string_lossy();
        format!("$ piku-receive key {} < {name}\n{}", args.join(" "), transcript(&key(args, input)))
    });
    let files = [("[KEYS]", keys.to_str().unwrap())];
    assert_redacted(&printed.collect::<Vec<_>>().join("\n"), &files, file!["errors/key.txt"]);
    assert_eq!(fs::read(&keys).unwrap(), before, "a refusal changes nothing");

    assert!(key(&["remove", "bob@laptop"], &public).status.success());
    assert_eq!(
        fs::read_to_string(&keys).unwrap(),
        format!("{foreign}{ours}"),
        "foreign lines stay byte for byte"
    );
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.ssh("bob@laptop", "run blog 6").status.code(), Some(255), "shut out");
}

#[test]
fn two_editors_of_the_keys_lose_nothing() {
    let server = Server::new();
    let names: Vec<String> = (0..8).map(|n| format!("key{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| server.add_key(name, &[]));
        }
    });
    let text = fs::read_to_string(server.path("authorized_keys")).unwrap();
    assert_eq!(text.lines().count(), 9, "{text}");
}
