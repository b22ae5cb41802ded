//! Level 2: the command is a user of its own.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use piku_tests::snapshot::{assert_redacted, file, str};

use crate::scene::{NOBODY, Running, processes_with, run, until};
use crate::uid_range::scene::{SECRET, Two};

#[test]
fn command_has_its_own_user_without_groups_and_rights() {
    for two in Two::each() {
        let out =
            two.ok("blog", &[], "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; id -u; id -g; id -G");
        let lines: Vec<&str> = out.lines().map(str::trim).collect();
        let own = two.uid("blog");
        assert_ne!(own, two.caller);
        let map = [format!("{0} {0} 1", two.caller), format!("{own} {own} 1")];
        assert_eq!(lines[..2], map);
        assert_eq!(lines[3], map[1], "as many gids as uids here, so they are the same: {out}");
        assert_eq!(lines[4..], [own.to_string(), own.to_string(), own.to_string()]);
        let status =
            two.ok("blog", &[], "grep -E '^(Groups|Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t '");
        let none = "0".repeat(16);
        let wanted = ["Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
            .map(|name| format!("{name}{}", if name == "Groups:" { "" } else { &none }));
        assert_eq!(status.lines().collect::<Vec<_>>(), [&wanted[..], &["NoNewPrivs:1".to_owned()]].concat());
        // Neither back to the caller nor to root, and nothing of pid 1 is to be had.
        let script = "setpriv --reuid 0 true; setpriv --reuid $0 true; cat /proc/1/environ; ls /proc/1/fd; ls /proc/1/root;
            touch /etc/x /x /dev/x; chmod 777 /; chown $0 /tmp; cat /proc/1/maps | head -c 1";
        let outcome = two.sh("blog", &[], &script.replace("$0", &two.caller.to_string()));
        assert!(outcome.out.is_empty() && outcome.err.lines().count() >= 9, "{outcome:#?}");
    }
}

#[test]
fn the_host_sees_the_subordinate_user() {
    for two in Two::each() {
        let word = format!("{}.25", 600_000 + std::process::id() + two.caller);
        let mut jail =
            Running::start(two.command(&["--root-from-host", "--uid-range", "blog", "--", "sleep", &word]));
        // unshare, setpriv, the monitor and the stub have the word on their command lines too.
        let is_sleep =
            |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
        let command = || processes_with(&word).into_iter().find(is_sleep);
        until("the command", || command().is_some());
        let status = fs::read_to_string(format!("/proc/{}/status", command().unwrap())).unwrap();
        let own = two.uid("blog");
        for line in [format!("Uid:\t{own}\t{own}\t{own}\t{own}"), format!("Gid:\t{own}\t{own}\t{own}\t{own}")]
        {
            assert!(status.lines().any(|have| have == line), "{line}: {status}");
        }
        // The monitor is the caller's, who may end it with any signal.
        jail.signal(Signal::SIGTERM);
        assert_eq!(jail.wait().code(), Some(143));
        until("the end of the jail", || processes_with(&word).is_empty());
    }
}

#[test]
fn a_group_of_the_caller_is_gone() {
    for two in Two::each().into_iter().filter(|two| two.ranges.is_some() && two.caller != 0) {
        let secret = two.path("secret");
        fs::write(&secret, "s3cret\n").unwrap();
        chown(&secret, Some(0), Some(SECRET)).unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
        let jail = |options: &[&str]| {
            let mut command =
                two.command_with(&SECRET.to_string(), &["--root-from-host", "--ro", "secret:/secret"]);
            if !options.is_empty() {
                command.args(["--uid-registry", "registry"]);
            }
            run(command.args(options).args(["--", "cat", "/secret"]))
        };
        assert_eq!(jail(&[]).out, "s3cret\n", "level 1 cannot leave a group");
        let refused = jail(&["--uid-range", "blog"]);
        assert!(refused.code == Some(1) && refused.out.is_empty(), "{refused:#?}");
        assert!(refused.err.contains("Permission denied"), "{}", refused.err);
        let strict = jail(&["--uid-range", "blog", "--strict"]);
        assert!(strict.code == Some(1), "no group is left that --strict could mind: {strict:#?}");
    }
}

#[test]
fn each_name_is_another_user() {
    for two in Two::each() {
        let (blog, shop) = (two.uid("blog"), two.uid("shop"));
        assert_ne!(blog, shop);
        assert_eq!((two.uid("blog"), two.uid("shop")), (blog, shop), "they stay who they are");
        let data = two.folder("data");
        two.ok(
            "blog",
            &["--data", &data],
            "umask 077; echo mine > /data/file; mkdir /data/dir; echo all > /data/other",
        );
        let pair = format!("{data}:/theirs");
        for options in [["--ro", &pair], ["--bind", &pair]] {
            let other = two.sh(
                "shop",
                &options,
                "cat /theirs/file; ls /theirs/dir; echo x >> /theirs/file; rm -f /theirs/file",
            );
            assert!(other.out.is_empty() && other.err.lines().count() == 4, "{other:#?}");
        }
        assert_redacted(
            &two.error("shop", &["--data", &data]),
            &[],
            str![[r#"
piku-chroot: --data: '[DIR]/data' belongs neither to the caller nor to the user of --uid-range
hint: --bind mounts a directory without changing owners

"#]],
        );
        assert_eq!(two.ok("blog", &["--data", &data], "cat /data/file"), "mine\n");
    }
}

#[test]
fn concurrent_first_starts_get_different_users() {
    for two in Two::each() {
        let names: Vec<String> = (0..20).map(|number| format!("app{number}")).collect();
        let uids: BTreeSet<u32> = thread::scope(|scope| {
            // Each name twice: both must be the same user.
            let two = &two;
            let one = |name: &String| {
                let name = name.clone();
                scope.spawn(move || two.uid(&name))
            };
            let threads: Vec<_> = names.iter().chain(&names).map(one).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(uids.len(), 20);
        let lines = fs::read_to_string(two.path("registry")).unwrap().lines().count();
        assert_eq!(lines, 21);
    }
}

#[test]
fn names_are_data() {
    for two in Two::each() {
        let mut uids = BTreeSet::new();
        for name in ["--strict", "a:b", "a,b", "../a", "ä", "-"] {
            let mut command = two.command(&["--root-from-host"]);
            command.args(["--uid-registry", "registry"]).arg(format!("--uid-range={name}"));
            let outcome = run(command.args(["--", "id", "-u"]));
            assert!(outcome.code == Some(0) && uids.insert(outcome.out.clone()), "{name}: {outcome:#?}");
        }
        let refused = ["a b", "a\nb"].map(|name| two.error(name, &[]));
        assert_redacted(
            &refused.concat(),
            &[],
            str![[r#"
piku-chroot: --uid-range: bad name 'a b': expected one word that does not begin with '#'
piku-chroot: --uid-range: bad name 'a\nb': expected one word that does not begin with '#'

"#]],
        );
    }
}

#[test]
fn a_damaged_registry_is_one_clear_error() {
    for two in Two::each() {
        let own = two.uid("blog");
        let registry = two.path("registry");
        let good = fs::read_to_string(&registry).unwrap();
        let error_with = |text: &str| {
            fs::write(&registry, text).unwrap();
            let err = two.error("blog", &[]);
            assert_eq!(two.error("new", &[]), err);
            assert_eq!(fs::read_to_string(&registry).unwrap(), text, "it is left as it is");
            err
        };
        let mut errors = vec![
            error_with(""),
            error_with("something else\n"),
            error_with(&format!("{good}shop {own} {own}\n")),
            error_with(&format!("{good}shop\n")),
            error_with(good.trim_end()),
        ];
        fs::write(&registry, &good).unwrap();
        fs::set_permissions(&registry, Permissions::from_mode(0o666)).unwrap();
        errors.push(two.error("blog", &[]));
        fs::remove_file(&registry).unwrap();
        symlink("elsewhere", &registry).unwrap();
        errors.push(two.error("blog", &[]));
        fs::remove_file(&registry).unwrap();
        fs::create_dir(&registry).unwrap();
        errors.push(two.error("blog", &[]));
        assert_redacted(&errors.concat(), &[("[UID]", &own.to_string())], file!["../errors/registry.txt"]);
    }
}

#[test]
fn the_ranges_count_at_every_start() {
    for two in Two::each() {
        let Some(ranges) = &two.ranges else { continue };
        let user = if two.caller == 0 { "root" } else { "nobody" };
        let own = two.uid("blog");
        fs::write(ranges, format!("{user}:900000:2\n")).unwrap();
        let mut errors = vec![two.error("blog", &[])];
        assert_eq!((two.uid("one"), two.uid("two")), (900_001, 900_000));
        errors.push(two.error("three", &[]));
        fs::write(ranges, format!("{}:900000:3\n", two.caller)).unwrap();
        assert_eq!(two.uid("three"), 900_002, "a user may stand there by number");
        fs::write(ranges, "somebody:900000:3\nroot:1\n").unwrap();
        errors.push(two.error("one", &[]));
        let named = errors.concat().replace(&format!("'{user}' has"), "'[NAME]' has");
        let named = named.replace(&format!(" {user}, or"), " [NAME], or");
        assert_redacted(&named, &[("[UID]", &own.to_string())], file!["../errors/ranges.txt"]);
        let table = run(two.command(&["--check", "--uid-range", "one"]));
        assert!(table.code == Some(1) && table.out.contains("(--uid-range)      no, required"), "{table:#?}");
        assert!(table.out.contains("fix:  as root: usermod --add-subuids"), "{table:#?}");
        let table = run(two.command(&["--check"]));
        assert!(
            table.code == Some(0) && table.out.contains("users of their own (--uid-range)      no\n"),
            "{table:#?}"
        );
    }
}

#[test]
fn helpers_that_are_missing_or_powerless_are_named() {
    for two in Two::each() {
        let own = two.uid("blog");
        let lines = ["--root-from-host", "--uid-range", "blog", "--", "true"];
        let empty = two.folder("empty");
        let mut command = two.command(&lines);
        let outcome = run(command.env(if two.ranges.is_some() { "JAIL_PATH" } else { "PATH" }, &empty));
        assert!(
            outcome.code == Some(125)
                && outcome.err.contains("--uid-range: newuidmap is not on PATH\nhint: "),
            "{outcome:#?}"
        );
        let mut command = Command::new("setpriv");
        command.arg("--no-new-privs");
        let inner = two.command(&lines);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir(two.path(""));
        let outcome = run(command.arg(inner.get_program()).args(inner.get_args()));
        if two.caller == 0 {
            assert_eq!(outcome.code, Some(0), "root needs no rights of others: {outcome:#?}");
        } else {
            assert_eq!(outcome.code, Some(125), "{outcome:#?}");
            assert!(
                outcome.err.contains("newuidmap refused: ") && outcome.err.contains("no_new_privs"),
                "{outcome:#?}"
            );
        }
        assert_eq!(two.uid("blog"), own);
    }
}

#[test]
fn codes_and_signals_are_those_of_level_1() {
    for two in Two::each() {
        assert_eq!(two.sh("blog", &[], "exit 42").code, Some(42));
        assert_eq!(two.sh("blog", &[], "kill -SEGV $$").code, Some(139));
        assert_eq!(two.sh("blog", &[], "exec /no/such").code, Some(127));
        let code = |command: &str| {
            run(two.command(&["--root-from-host", "--uid-range", "blog", "--", command])).code
        };
        assert_eq!((code("no-such"), code("/etc/passwd")), (Some(127), Some(126)));
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")]
        {
            let script = format!("trap 'echo got; exit 5' {name}; echo up; while :; do sleep 0.05; done");
            let mut jail = Running::start(two.command(&[
                "--root-from-host",
                "--uid-range",
                "blog",
                "--",
                "sh",
                "-c",
                &script,
            ]));
            jail.until_line("up");
            jail.signal(signal);
            jail.until_line("got");
            assert_eq!(jail.wait().code(), Some(5), "{name}");
        }
    }
}

#[test]
fn a_pipe_can_be_opened_anew() {
    for two in Two::each() {
        // As nobody the pipes of this test are somebody else's, at level 1 too.
        if two.ranges.is_none() || two.caller == 0 {
            assert_eq!(
                two.ok("blog", &[], "echo one > /dev/stdout; echo two | tee /dev/stdout"),
                "one\ntwo\ntwo\n"
            );
        }
    }
}

/// The stub has become the command's user when it opens the terminal.
#[test]
fn a_terminal_is_the_commands_own() {
    for two in Two::each() {
        let uid = two.uid("blog");
        let seen = two.ok("blog", &["--tty"], "tty; stat -c '%u %a' $(tty); echo written >/dev/pts/0; id -u");
        assert_eq!(seen, format!("/dev/pts/0\r\n{uid} 620\r\nwritten\r\n{uid}\r\n"));
    }
}

#[test]
fn the_jail_ends_with_its_monitor() {
    for two in Two::each() {
        let word = format!("{}.75", 500_000 + std::process::id() + two.caller);
        let rounds = if std::env::var_os("CI").is_some() { 30 } else { 100 };
        two.uid("blog");
        for round in 0..rounds {
            let mut jail = Running::start(two.command(&[
                "--root-from-host",
                "--uid-range",
                "blog",
                "--",
                "sleep",
                &word,
            ]));
            // From before the maps to after the start.
            thread::sleep(Duration::from_micros(round % 50 * 600));
            jail.signal(Signal::SIGKILL);
            jail.wait();
        }
        until("the end of all jails", || processes_with(&word).is_empty());
    }
}

#[test]
fn root_uses_the_range_of_the_user_that_it_names() {
    for two in Two::each().into_iter().filter(|two| two.caller == 0) {
        let data = two.folder("data");
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        let registry = two.folder("registries");
        chown(&registry, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = two.command(&["--root-from-host", "--user", "nobody", "--data", &data]);
        command.args(["--uid-registry", "registries/list", "--uid-range", "blog"]);
        let outcome = run(command.args([
            "--",
            "sh",
            "-c",
            "id -u; echo x > /data/x; cat /proc/self/uid_map | tr -s ' '",
        ]));
        assert_eq!(
            (outcome.code, outcome.out.as_str()),
            (Some(0), "700099\n 65534 65534 1\n 700099 700099 1\n"),
            "{}",
            outcome.err
        );
    }
}
