use super::*;

fn parse(text: &str) -> AppJson {
    AppJson::parse(text.as_bytes())
}

#[test]
fn what_has_a_meaning_here_is_read() {
    let parsed = parse(
        r#"{
        "name": "blog", "description": "A blog", "keywords": ["x"], "addons": ["heroku-postgresql"],
        "cron": [
            {"command": "node tick.js", "schedule": "*/5 * * * *"},
            {"id": "Nightly", "command": "./backup", "schedule": "@daily"},
            {"command": "x", "schedule": "61 * * * *"},
            {"command": "x"}
        ],
        "formation": {"web": {"quantity": 2}, "worker": {"quantity": 0, "size": "basic"}, "clock": 3,
            "x": {"size": "basic"}, "y": {"quantity": -1}},
        "healthchecks": {"web": [{"type": "startup", "path": "/health", "timeout": 7}], "worker": [{}]},
        "scripts": {"dokku": {"predeploy": "./migrate", "postdeploy": "./warm"}, "postdeploy": "./seed"},
        "env": {
            "PLAIN": "a b", "LONG": {"description": "d", "value": "v"}, "COUNT": {"value": 3},
            "KEY_BASE": {"generator": "secret"}, "TOKEN": {"description": "d"},
            "SET": {"required": true}, "MAYBE": {"required": false}, "PORT": "1", "bad name": "x"
        }
    }"#,
    );
    let crons: Vec<String> = parsed.crons.iter().map(|(name, line)| format!("{name}: {line}")).collect();
    assert_eq!(crons, ["cron-1: */5 * * * * node tick.js", "cron-nightly: @daily ./backup"]);
    let counts: Vec<String> =
        parsed.formation.iter().map(|(name, count)| format!("{name}={count}")).collect();
    assert_eq!(counts.join(" "), "clock=3 web=2 worker=0");
    let env: Vec<String> = parsed.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = ["COUNT=3", "HEALTHCHECK_PATH=/health", "HEALTHCHECK_TIMEOUT=7", "LONG=v", "PLAIN=a b"];
    let mut sorted = env;
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!(parsed.secrets, ["KEY_BASE"]);
    let notes = parsed.notes(|name| name == "SET").join("\n");
    for part in [
        "app.json: not used here: ",
        "addons",
        "cron 3 ('61' is not a valid minute",
        "cron 4 (expected",
        "formation.y",
        "healthchecks.worker",
        "scripts.dokku.postdeploy (piku run",
        "scripts.postdeploy (piku run",
        "env.PORT",
        "env.bad name",
        "\napp.json requires TOKEN, which config:set has not set",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert_eq!(notes.lines().count(), 2, "{notes}");
    let mut processes = IndexMap::from([
        ("web".parse().unwrap(), "serve".to_owned()),
        ("release".parse().unwrap(), "./own".to_owned()),
        ("cron-nightly".parse().unwrap(), "0 3 * * * ./other".to_owned()),
    ]);
    parsed.add_processes(&mut processes);
    let all: Vec<String> = processes.iter().map(|(name, line)| format!("{name}: {line}")).collect();
    assert_eq!(
        all,
        [
            "web: serve",
            "release: (./migrate) && ./own",
            "cron-nightly: 0 3 * * * ./other",
            "cron-1: */5 * * * * node tick.js"
        ]
    );
}

/// Describes the file of an app whose ENV sets these variables.
fn describe(parsed: &AppJson, env: &[(&str, &'static str)]) -> Option<String> {
    let mut processes = IndexMap::from([
        ("web".parse().unwrap(), "serve".to_owned()),
        ("cron-2".parse().unwrap(), "@daily own".to_owned()),
    ]);
    parsed.add_processes(&mut processes);
    parsed.describe(&processes, |name| env.iter().find(|(own, _)| *own == name).map(|(_, value)| *value))
}

#[test]
fn what_the_app_sets_itself_is_not_listed() {
    let parsed = parse(
        r#"{
        "cron": [{"command": "a", "schedule": "@daily"}, {"command": "b", "schedule": "@daily"}],
        "formation": {"web": 2, "worker": 1}, "env": {"A": "1", "B": "2", "KEY": {"generator": "secret"}}
    }"#,
    );
    assert_eq!(describe(&parsed, &[]).as_deref(), Some("app.json sets cron-1, web=2, A, B, KEY"));
    let own = describe(&parsed, &[("A", "1"), ("B", "own"), ("KEY", "own")]);
    assert_eq!(own.as_deref(), Some("app.json sets cron-1, web=2, A"));
}

#[test]
fn other_contents_are_said_and_harm_nothing() {
    for (text, note) in [
        ("{}", ""),
        ("[]", "app.json: not used here: all of it (it is not a JSON object)"),
        ("{\n,}", "app.json: not used here: all of it (line 2 is not valid JSON)"),
        (r#"{"cron": {}, "env": [], "formation": null, "scripts": "x"}"#, "app.json: not used here: scripts"),
        (r#"{"env": {"A": {"value": "a\nb"}}}"#, "app.json: not used here: env.A (it is not one short line)"),
    ] {
        let parsed = parse(text);
        assert_eq!(parsed.notes(|_| false).concat(), note, "{text}");
        assert_eq!(parsed.describe(&IndexMap::new(), |_| None), None, "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).notes(|_| false).concat().contains("not valid JSON"));
    let web = r#"{"healthchecks": {"web": [{"type": "liveness", "path": "/l"}, {"listening": true}]}}"#;
    assert_eq!(describe(&parse(web), &[]).as_deref(), Some("app.json sets HEALTHCHECK"));
    for path in ["/a\\nb", "/a\\u0000"] {
        let web = format!(r#"{{"healthchecks": {{"web": [{{"path": "{path}"}}]}}}}"#);
        assert_eq!(parse(&web).notes(|_| false).concat(), "app.json: not used here: healthchecks.web");
    }
    let many: Vec<String> = (0..30_000).map(|number| format!("\"k{number}\": 1")).collect();
    let note = parse(&format!("{{{}}}", many.join(","))).notes(|_| false).concat();
    assert!(note.len() < 300 && note.ends_with(" and 29988 more"), "{note}");
}

#[test]
fn each_cron_job_has_its_own_name() {
    let parsed = parse(
        r#"{"cron": [
            {"id": "2", "command": "a", "schedule": "@daily"}, {"command": "b", "schedule": "@daily"},
            {"id": "2", "command": "c", "schedule": "@daily"},
            {"command": "d", "schedule": "@daily", "maintenance": true}
        ]}"#,
    );
    let crons: Vec<String> = parsed.crons.iter().map(|(name, line)| format!("{name}: {line}")).collect();
    assert_eq!(crons, ["cron-2: @daily a", "cron-3: @daily b", "cron-4: @daily c"]);
    assert_eq!(parsed.unused, ["cron 4 (it is in maintenance)"]);
}

#[test]
fn a_comment_does_not_end_the_own_release_command() {
    let parsed = parse(r#"{"scripts": {"dokku": {"predeploy": "echo 'a' # x"}}}"#);
    let mut processes = IndexMap::from([("release".parse().unwrap(), "echo b".to_owned())]);
    parsed.add_processes(&mut processes);
    assert_eq!(processes["release"], r"(eval 'echo '\''a'\'' # x') && echo b");
}
