use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt;

fn ok(command: &str) -> KeyRequest {
    parse(OsStr::new(command)).expect(command).expect(command)
}

fn refused(command: &str) -> String {
    let message = parse(OsStr::new(command)).expect_err(command).to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

#[test]
fn git_asks_for_an_app_in_several_spellings() {
    for path in
        ["blog", "'blog'", "/blog", "'/blog.git'", "blog.git", "~/blog", "'~/blog.git'", "blog/", "\"blog\""]
    {
        let app = "blog".parse().unwrap();
        let request = ok(&format!("git-receive-pack {path}"));
        assert_eq!(request, KeyRequest::Git { service: GitService::ReceivePack, app }, "{path}");
    }
    assert!(matches!(ok("git receive-pack '/a'"), KeyRequest::Git { service: GitService::ReceivePack, .. }));
    assert!(matches!(ok("git-upload-pack 'a'"), KeyRequest::Git { service: GitService::UploadPack, .. }));
    assert!(matches!(ok("git upload-archive a"), KeyRequest::Git { service: GitService::UploadArchive, .. }));
}

#[test]
fn paths_are_not_apps() {
    for path in [
        "..",
        "/..",
        "../blog",
        "a/b",
        "/home/piku/blog",
        "//blog",
        "~piku/blog",
        "Blog",
        "blog.git.git",
        "''",
        "/",
        ".git",
        "-x",
        "'blog*'",
        "blog//",
        "$HOME",
        "a_b",
        "'blog\n'",
    ] {
        assert!(refused(&format!("git-receive-pack {path}")).starts_with("bad app name"), "{path}");
    }
}

#[test]
fn nothing_else_gets_through() {
    for command in [
        "sh",
        "bash -c id",
        "git",
        "git-shell",
        "git-receive-pack",
        "git-receive-pack a; id",
        "git-receive-pack a b",
        "git-receive-pack --strict a",
        "git upload-pack --timeout=1 a",
        "git -c x=y receive-pack a",
        "scp -t .",
        "rsync --server",
        "internal-sftp",
        "piku ps",
        "piku-run ps",
        "/bin/sh",
        "keys",
        "key add x",
        "apps;id",
        "$(id)",
        "PS",
        "config:",
        "ps:scal x",
        "git-lfs-authenticate blog upload",
        "run",
        "logs ../blog",
        "destroy ..",
        "destroy 'blog*'",
        "stop --all",
        "'",
        "\"",
        "run blog 'a",
    ] {
        refused(command);
    }
    let strange = parse(OsStr::from_bytes(b"git-receive-pack \xff")).unwrap_err();
    assert_eq!(strange.to_string(), "the command is not UTF-8");
}

#[test]
fn nothing_asked_is_no_request() {
    for nothing in ["", " ", "\n\t", "# a comment"] {
        assert_eq!(parse(OsStr::new(nothing)), Ok(None), "{nothing:?}");
    }
}

#[test]
fn verbs_keep_their_arguments_as_they_are() {
    let app: AppName = "blog".parse().unwrap();
    assert_eq!(
        ok("config:set blog 'A=a  b' B='$x; `y`' \"C=it's\" D=\\*"),
        KeyRequest::Verb {
            verb: "config:set",
            app: Some(app.clone()),
            args: ["blog", "A=a  b", "B=$x; `y`", "C=it's", "D=*"].map(str::to_owned).to_vec(),
            is_relayed: false,
        }
    );
    let args = ["blog", "A=1"].map(str::to_owned).to_vec();
    let relayed = KeyRequest::Verb { verb: "config:set", app: Some(app.clone()), args, is_relayed: true };
    assert_eq!(ok("here config:set blog A=1"), relayed);
    for command in
        ["here", "here here ps", "here git-receive-pack blog", "here release:machine blog", "here sh"]
    {
        refused(command);
    }
    assert_eq!(ok("ps"), KeyRequest::Verb { verb: "ps", app: None, args: vec![], is_relayed: false });
    for command in ["rebuild --all", "restart --foo blog", "service:bind postgres --foo"] {
        let said = refused(command);
        assert!(said.contains("an app's name"), "{command}: {said}");
        assert!(!said.contains("bad app name"), "{command}: {said}");
    }
    assert!(matches!(ok("ps --format json"), KeyRequest::Verb { verb: "ps", app: None, .. }));
    assert!(matches!(ok("ps blog"), KeyRequest::Verb { verb: "ps", app: Some(name), .. } if name == app));
    assert!(matches!(ok("apps"), KeyRequest::Verb { verb: "apps", app: None, .. }));
    assert!(matches!(ok("logs -f"), KeyRequest::Verb { verb: "logs", app: None, .. }));
    assert!(matches!(ok("--help"), KeyRequest::Verb { verb: "help", .. }));
}

#[test]
fn names_of_a_binding_are_found_in_any_order() {
    let app: AppName = "blog".parse().unwrap();
    for line in [
        "postgres blog --as x",
        "--as x postgres blog",
        "postgres --app blog --as x",
        "--app blog postgres --as x",
        "--app=blog --as x postgres",
        "postgres --as x -a blog",
    ] {
        let args = ["postgres", "blog", "--as", "x"].map(str::to_owned).to_vec();
        let asked =
            KeyRequest::Verb { verb: "service:bind", app: Some(app.clone()), args, is_relayed: false };
        assert_eq!(ok(&format!("service:bind {line}")), asked, "{line}");
    }
    for line in
        ["", "postgres", "--app blog", "postgres --app", "--as x postgres", "--app a --app b postgres"]
    {
        refused(&format!("service:bind {line}"));
    }
}

#[test]
fn a_refusal_is_short_and_shows_no_control_characters() {
    let message = refused(&format!("'\x1b[2J{}'", "x".repeat(10_000)));
    assert!(message.len() < 300 && !message.contains('\x1b'), "{message}");
    for long in ["git-upload-pack", "ps"] {
        assert!(refused(&format!("{long} {}", "x".repeat(10_000))).len() < 300);
    }
}

/// Returns whether a name is in the grammar of app names, spelt out once more.
fn in_grammar(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(|c| edge(c) || c == '-')
        && name.starts_with(edge)
        && name.ends_with(edge)
}

fn check(command: &[u8]) {
    match parse(OsStr::from_bytes(command)) {
        Ok(None) => {}
        Ok(Some(KeyRequest::Git { app, .. } | KeyRequest::Release { app, .. })) => {
            assert!(in_grammar(app.as_str()), "{app}");
        }
        Ok(Some(KeyRequest::Verb { verb, app, args, .. })) => {
            assert!(VERBS.iter().any(|(known, _)| *known == verb));
            assert_eq!(
                app.as_ref().map(AppName::as_str),
                args.first().map(String::as_str).filter(|_| app.is_some())
            );
            assert!(app.is_none_or(|app| in_grammar(app.as_str())));
        }
        Err(refusal) => {
            let line = refusal.to_string();
            assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_request_or_a_refusal(command in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&command);
    }

    #[test]
    fn any_text_behind_a_known_word_too(
        word in proptest::sample::select(vec![
            "git-receive-pack", "git upload-pack", "git-upload-archive", "ps", "run", "config:set", "destroy", "apps",
            "release:offer", "release:take", "release:deploy", "release:undo",
        ]),
        rest in "[a-z0-9A-Z./~'\"\\\\ \t\n*?$;&|<>()`#éß-]{0,80}",
    ) {
        check(format!("{word} {rest}").as_bytes());
    }
}

/// The script that runs the verbs has the same names, and takes what is known here.
#[test]
fn verbs_take_what_the_table_of_the_script_says() {
    let script = include_str!("../../../../scripts/piku");
    let table = script.split_once("\ntable() {\n").unwrap().1.split_once("\nEND\n").unwrap().0;
    let mut known = 0;
    let (mut verb, mut app) = ("", "");
    for line in table.lines() {
        let names: Vec<&str> = if let Some(row) = line.strip_prefix("@ ") {
            let mut fields = row.split(' ');
            (verb, app) = (fields.next().unwrap(), fields.next().unwrap());
            vec![verb]
        } else {
            line.strip_prefix("= ").into_iter().flat_map(|names| names.split(' ')).collect()
        };
        for name in names {
            let Some((_, takes)) = VERBS.iter().find(|(known, _)| *known == name) else {
                assert_eq!(app, "server", "{name}, which is {verb}, is not known");
                continue;
            };
            let expected = match app {
                "apps" => VerbArguments::OptionalApp,
                "service" => VerbArguments::ServiceAndApp,
                "-" if verb.starts_with("service:") && verb != "service:list" => VerbArguments::Service,
                "-" => VerbArguments::NoApp,
                _ if app.ends_with('?') => VerbArguments::OptionalApp,
                _ => VerbArguments::App,
            };
            assert_eq!(*takes, expected, "{name} is {verb}");
            known += 1;
        }
    }
    assert_eq!(known, VERBS.len(), "each verb is one of the script's");
}
