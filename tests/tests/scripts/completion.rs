//! The completions of bash, zsh and fish for `piku`, in a work tree and on the server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::World;

/// Returns the sorted completions of `shell` for a line; `None`, with a message, if it is not installed.
fn offers(shell: &str, line: &str, mut command: Command) -> Option<Vec<String>> {
    let completions = repository().join("completions");
    let script = match shell {
        "bash" => format!(
            ". '{}'; COMP_LINE='{line}' COMP_POINT={}; _piku; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            completions.join("piku.bash").display(),
            line.len()
        ),
        "zsh" => format!(
            "compadd() {{ [ \"$1\" != -S ] || shift 2; shift; print -l -- \"$@\" }}; _files() {{ : }}; \
             words=(${{(z):-\"{line}\"}}); case '{line}' in *' ') words+=('');; esac; CURRENT=$#words; \
             . '{}'; _piku",
            completions.join("_piku").display()
        ),
        _ => format!("source '{}'; complete -C '{line}'", completions.join("piku.fish").display()),
    };
    let out = match command.args(["-c", &script]).stdin(Stdio::null()).output() {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            piku_tests::skip(&format!("{shell} is not installed"));
            return None;
        }
        out => out.expect(shell),
    };
    assert!(out.stderr.is_empty(), "{shell}: {line}: {}", text(&out));
    let mut found: Vec<String> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .filter(|word| !word.is_empty())
        .collect();
    found.sort();
    // bash and fish filter by the word; zsh's compadd does.
    let word = line.rsplit(' ').next().unwrap_or_default();
    if shell == "zsh" {
        found.retain(|one| one.starts_with(word));
    }
    Some(found)
}

#[test]
fn shells_complete_verbs_apps_types_instances_and_releases() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("x\n");
    let procfile = fs::read_to_string(repo.path().join("Procfile")).expect("its Procfile");
    repo.file("Procfile", procfile + "worker: exec sleep 1000\n").commit("One").push().succeeds();
    assert!(world.ssh("laptop", "create shop").status.success());
    assert!(world.ssh("laptop", "config:set blog --no-restart TOKEN=secret").status.success());
    let bin = world.path("laptop/bin");
    fs::create_dir(&bin).expect("bin");
    symlink(repository().join("scripts/piku"), bin.join("piku")).expect("piku");
    let cache = world.path("laptop/cache");
    let laptop = |shell: &str, ssh: &str| {
        let mut command = Command::new(shell);
        command
            .current_dir(repo.path())
            .env_clear()
            .env("HOME", world.path("laptop"))
            .env("XDG_CACHE_HOME", &cache)
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("GIT_SSH_COMMAND", ssh);
        command
    };
    let server_bin = world.path("server-bin");
    fs::create_dir(&server_bin).expect("server-bin");
    symlink(world.path("lib/piku"), server_bin.join("piku")).expect("piku");
    let built = piku_tests::tools::built();
    let server = |shell: &str| {
        let mut command = world.command(shell);
        command.env("PATH", format!("{}:{}:/usr/bin:/bin", server_bin.display(), built.display()));
        command
    };
    let ssh = world.git_ssh("laptop");
    let cases: [(&str, &[&str]); 9] = [
        ("piku rele", &["releases", "releases:info"]),
        ("piku restart sh", &["shop"]),
        ("piku restart blog wor", &["worker", "worker.1"]),
        ("piku rollback blog ", &["1"]),
        ("piku config:get blog ", &["--format", "TOKEN"]),
        ("piku ps:scale blog w", &["web=", "worker="]),
        ("piku ps --format j", &["json"]),
        ("piku logs blog --ps we", &["web.1"]),
        ("piku audit --k", &["--key"]),
    ];
    for shell in ["bash", "zsh", "fish"] {
        for (line, expected) in cases {
            let expected: Vec<String> = expected
                .iter()
                // bash replaces the part behind the colon alone.
                .map(|word| (*word).to_owned())
                .collect();
            let Some(found) = offers(shell, line, laptop(shell, &ssh)) else { break };
            assert_eq!(found, expected, "{shell} in a work tree: {line}");
            let Some(found) = offers(shell, line, server(shell)) else { break };
            assert_eq!(found, expected, "{shell} on the server: {line}");
        }
    }
    // In a work tree the app may be left out.
    let found = offers("bash", "piku restart w", laptop("bash", &ssh)).expect("bash");
    assert_eq!(found, ["web", "web.1", "worker", "worker.1"]);
    let found = offers("bash", "piku releases:i", laptop("bash", &ssh)).expect("bash");
    assert_eq!(found, ["info"], "readline has the part before the colon");

    // What was asked for is known for a minute, without the server; values are never kept.
    let away = "ssh -o ProxyCommand=false";
    let found = offers("bash", "piku restart sh", laptop("bash", away)).expect("bash");
    assert_eq!(found, ["shop"]);
    assert!(!contains(&cache, "secret"));
    fs::remove_dir_all(&cache).expect("the cache");
    let found = offers("bash", "piku restart sh", laptop("bash", away)).expect("bash");
    assert!(found.is_empty(), "{found:?}");

    // A server that does not answer keeps nobody waiting: ssh is ended before its time.
    let (slow, over) = (world.path("laptop/slow"), world.path("laptop/over"));
    let script =
        format!("#!/bin/sh\ntrap 'kill \"$!\"; exit 1' TERM\nsleep 20 &\nwait\ntouch '{}'\n", over.display());
    fs::write(&slow, script).expect("ssh");
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).expect("a mode");
    let slow = slow.display().to_string();
    let found = offers("bash", "piku restart sh", laptop("bash", &slow)).expect("bash");
    assert!(found.is_empty() && !over.exists(), "{found:?}");
}

#[test]
fn what_a_server_sends_is_neither_run_nor_printed_by_a_completion() {
    let world = World::new();
    let repo = world.repo("blog");
    let (bin, ran) = (world.path("laptop/bin"), world.path("laptop/ran"));
    fs::create_dir(&bin).expect("bin");
    symlink(repository().join("scripts/piku"), bin.join("piku")).expect("piku");
    let server = bin.join("server");
    let run = format!("touch {}", ran.display());
    let names = [&format!("web$({run}).1"), "web`id`.1", "web\u{1b}[2J", "web;id", "web.1", "*.example"];
    let lines = names.map(|name| format!("    \"instance\": \"{name}\",\n    \"name\": \"{name}\","));
    let text = lines.join("\n") + "\n";
    fs::write(world.path("laptop/names"), text).expect("names");
    fs::write(&server, format!("#!/bin/sh\nexec cat '{}'\n", world.path("laptop/names").display()))
        .expect("ssh");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("a mode");
    for shell in ["bash", "zsh", "fish"] {
        for (line, expected) in [
            ("piku logs blog --ps w", &["web.1"][..]),
            ("piku domains:remove blog ", &["*.example", "--no-restart", "web.1"]),
        ] {
            let mut command = Command::new(shell);
            command
                .current_dir(repo.path())
                .env_clear()
                .env("HOME", world.path("laptop"))
                .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
                .env("GIT_SSH_COMMAND", &server);
            let Some(found) = offers(shell, line, command) else { break };
            assert_eq!(found, expected, "{shell}: {line}");
            assert!(!ran.exists(), "{shell}: {line}");
        }
    }
}

fn contains(folder: &Path, word: &str) -> bool {
    let out = Command::new("grep").args(["-r", word]).arg(folder).output().expect("grep");
    out.status.success()
}
