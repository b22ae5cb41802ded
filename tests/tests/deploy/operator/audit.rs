//! `piku audit` and the events for journald: who has done what, through ssh and on the server.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};
use serde_json::Value;

use crate::operator::operate::says;

/// Runs `piku WORDS` on the server, as the operator.
fn piku(world: &World, words: &str, code: i32) -> String {
    let mut command = world.command(world.path("lib/piku"));
    let out = command.args(words.split(' ')).env("SUDO_USER", "rui").output().expect("piku runs");
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "piku {words}: {said}");
    said
}

/// Lines of the audit log that `line` finds: key, verb, app and outcome.
fn lines(world: &World, key: &str, line: &str) -> Vec<String> {
    let out = world.ssh(key, &format!("{line} --format json"));
    let records: Vec<Value> =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|err| panic!("{err}: {out:?}"));
    let field = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
    records
        .iter()
        .map(|record| ["key", "verb", "app", "outcome"].map(|name| field(record, name)).join(" "))
        .collect()
}

#[test]
fn each_change_is_a_line_of_the_audit_log_and_an_event() {
    let world = World::new();
    world.add_key("guest", &["shop"]);
    let journal = UnixDatagram::bind(world.path("journal.sock")).expect("a socket");
    std::fs::set_permissions(world.path("journal.sock"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("a mode");
    journal.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    // The fields of the next event of this name.
    let next_event = |event: &str| -> Vec<String> {
        loop {
            let mut datagram = [0; 8192];
            let length = journal.recv(&mut datagram).unwrap_or_else(|err| panic!("{event}: {err}"));
            let fields = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let fields: Vec<String> = fields.lines().map(str::to_owned).collect();
            if fields.contains(&format!("PIKU_EVENT={event}")) {
                return fields;
            }
        }
    };

    let repo = world.repo("blog");
    repo.serves("x\n").commit("One").push().succeeds();
    says(&world, "create shop", 0);
    piku(&world, "config:set blog A=secret", 0);
    piku(&world, "rollback blog 1", 0);
    says(&world, "stop blog", 0);
    piku(&world, "start blog", 0);
    piku(&world, "deploy blog", 0);
    piku(&world, "rename blog page", 0);
    piku(&world, "rename page blog", 0);
    assert_eq!(
        piku(&world, "stop nope", 1),
        "piku stop: there is no app 'nope'\n",
        "the verb, not the tool behind it"
    );
    assert_eq!(
        piku(&world, "ps:scale blog web=x", 2),
        "piku ps:scale: invalid value 'web=x' for '[TYPE=N]...': bad number 'x': expected 0 to 1000\n\
         hint: piku help ps:scale\n"
    );
    assert!(!world.ssh("guest", "stop blog").status.success());
    says(&world, "clone blog second --skip-deploy", 0);

    let log = std::fs::read_to_string(world.root().join("audit.log")).expect("audit.log");
    assert!(!log.contains("secret"), "{log}");
    let blog = lines(&world, "laptop", "audit blog");
    let expected = [
        "operator:rui config:set blog exit 0",
        "operator:rui rollback blog exit 0",
        "laptop stop blog exit 0",
        "operator:rui start blog exit 0",
        "operator:rui deploy blog exit 0",
        "operator:rui rename blog started",
        "operator:rui rename blog exit 0",
        "guest stop blog refused: key 'guest' may not use 'blog', only shop",
        "laptop clone blog exit 0, as second",
    ];
    assert!(blog[0].starts_with("laptop push blog deployed "), "{blog:#?}");
    assert_eq!(blog[1..], expected, "{log}");
    assert_eq!(lines(&world, "laptop", "audit blog --key operator -n 2"), [expected[5], expected[6]]);
    assert_eq!(lines(&world, "laptop", "audit blog --key guest --since 1h"), [expected[7]]);
    assert!(lines(&world, "laptop", "audit").contains(&"operator:rui stop nope exit 1".to_owned()));
    assert_eq!(lines(&world, "guest", "audit"), ["laptop create shop exit 0"]);
    assert!(!world.ssh("guest", "audit blog").status.success());
    let table = says(&world, "audit shop", 0);
    assert!(table.starts_with("TIME  ") && table.contains("  laptop  create  shop  exit 0\n"), "{table}");

    // The session of a push has no variables of the test's, so its event goes to the machine's journal.
    for (event, release, key) in [
        ("config:set", "2", "operator:rui"),
        ("rollback", "3", "operator:rui"),
        ("start", "3", "operator:rui"),
    ] {
        let fields = next_event(event);
        for field in [
            "PIKU_APP=blog".to_owned(),
            "PIKU_RESULT=done".to_owned(),
            format!("PIKU_RELEASE={release}"),
            format!("PIKU_KEY={key}"),
            "PRIORITY=6".to_owned(),
            format!("MESSAGE=blog: {event} by {key}"),
        ] {
            assert!(fields.contains(&field), "{field}: {fields:#?}");
        }
    }
    let fields = next_event("deploy");
    assert!(fields.contains(&"PIKU_RELEASE=4".to_owned()), "{fields:#?}");
    let fields = next_event("stop");
    assert!(fields.contains(&"PIKU_RESULT=failed".to_owned()) && fields.contains(&"PRIORITY=4".to_owned()));
}

#[test]
fn data_that_is_moved_and_the_beginning_of_great_changes_are_in_the_audit_log() {
    let world = World::new();
    says(&world, "create blog", 0);
    let script = |line: &str, code| {
        let mut command = world.command("sh");
        command.args(["-c", line, "sh"]).arg(world.path("lib/piku")).env("SUDO_USER", "rui");
        let out = command.output().expect("sh runs");
        assert_eq!(out.status.code(), Some(code), "{line}: {out:?}");
    };
    script("tar -c -T /dev/null | \"$1\" data:import blog", 0);
    script("echo no archive | \"$1\" data:import blog 2>/dev/null", 1);
    script("\"$1\" data:export blog | tar -t >/dev/null", 0);
    // A verb through ssh has begun, too, before its session can tell how it has ended.
    says(&world, "destroy blog --confirm blog", 0);
    assert_eq!(
        lines(&world, "laptop", "audit blog"),
        [
            "laptop create blog exit 0",
            "operator:rui data:import blog started",
            "operator:rui data:import blog exit 0",
            "operator:rui data:import blog started",
            "operator:rui data:import blog exit 1",
            "operator:rui data:export blog exit 0",
            "laptop destroy blog started",
            "laptop destroy blog exit 0",
        ]
    );
}

#[test]
fn a_failed_deploy_and_a_crash_loop_are_events() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("x\n");
    let procfile = std::fs::read_to_string(repo.path().join("Procfile")).expect("its Procfile");
    let worker = "worker: test -e /data/go || exit 1; exec sleep 1000\n";
    repo.file("Procfile", procfile.clone() + worker).commit("One").push().succeeds();
    let journal = UnixDatagram::bind(world.path("journal.sock")).expect("a socket");
    std::fs::set_permissions(world.path("journal.sock"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("a mode");
    journal.set_nonblocking(true).expect("a socket");
    let told = std::cell::RefCell::new(Vec::<String>::new());
    let has_told = |field: &[&str]| {
        let mut datagram = [0; 8192];
        while let Ok(length) = journal.recv(&mut datagram) {
            told.borrow_mut().push(String::from_utf8_lossy(&datagram[..length]).into_owned());
        }
        told.borrow().iter().any(|event| field.iter().all(|field| event.contains(&format!("{field}\n"))))
    };
    wait_for("the crash loop's event", || {
        has_told(&["PIKU_EVENT=crash-loop", "PIKU_RESULT=begun", "PIKU_APP=blog", "PRIORITY=4"])
    });
    piku(&world, "stop blog", 0);
    wait_for("its end", || has_told(&["PIKU_EVENT=crash-loop", "PIKU_RESULT=ended"]));
    repo.file("Procfile", procfile + "release: exit 3\n").commit("Two").push().fails_with(&[]);
    piku(&world, "deploy blog", 1);
    assert!(has_told(&["PIKU_EVENT=deploy", "PIKU_RESULT=failed", "PIKU_APP=blog", "PIKU_KEY=operator"]));
}
