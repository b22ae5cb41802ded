//! `--format json` of each verb against its schema in docs/schemas, and the exit codes of docs/scripting.md.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::World;

use crate::operator::operate::says;

/// Checks pairs of files: a schema and an output. An object has no field that its schema does not describe.
const CHECK: &str = r#"
import json, sys
import jsonschema

def close(schema):
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)

failed = False
for schema_file, output_file in zip(sys.argv[1::2], sys.argv[2::2]):
    schema = json.load(open(schema_file))
    jsonschema.Draft202012Validator.check_schema(schema)
    close(schema)
    output = json.load(open(output_file))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(output):
        failed = True
        print(schema_file, list(error.absolute_path), error.message)
sys.exit(failed)
"#;

/// Runs `piku WORDS` on the server.
fn piku(world: &World, words: &str) -> Output {
    world.command(world.path("lib/piku")).args(words.split(' ')).output().expect("piku runs")
}

/// Verbs whose usage has `--format`.
fn verbs_with_format(world: &World) -> BTreeSet<String> {
    let help = piku(world, "help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    lines
        .filter(|line| line.contains("--format"))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Adds a kind of service: a server of HTTP without data.
fn add_kind(world: &World, name: &str) {
    let folder = world.root().join("services.d").join(name);
    fs::create_dir_all(&folder).expect("the kind");
    for (file, text) in [
        ("kind.yaml", "description: Echo\npackage: python3\nvariable: ECHO\ncache: true\n"),
        ("versions", "#!/bin/sh\necho 1\n"),
        ("start", "#!/bin/sh\nexec python3 -m http.server --bind 127.0.0.1 --directory /data \"$PORT\"\n"),
        ("bind", "#!/bin/sh\necho \"${BINDING_VARIABLE}_URL=http://127.0.0.1:$SERVICE_PORT/\"\n"),
        ("unbind", "#!/bin/sh\n"),
        ("drop", "#!/bin/sh\n"),
    ] {
        let file = folder.join(file);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
}

#[test]
fn output_of_each_verb_is_as_its_schema_says() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("x\n");
    let procfile = fs::read_to_string(repo.path().join("Procfile")).expect("its Procfile");
    let more = "worker: exec sleep 1000\ncron-tick: 0 3 1 1 * true\n";
    repo.file("Procfile", procfile + more).commit("One").push().succeeds();
    says(&world, "config:set blog A=secret NGINX_SERVER_NAME=blog.test DATA_LIMIT=1g", 0);
    says(&world, "create shop", 0);
    says(&world, "lock shop --reason soon", 0);
    repo.file("Procfile", "web: exit 3\n").commit("Two").push().fails_with(&[]);
    add_kind(&world, "echo");
    says(&world, "service:create echo", 0);
    says(&world, "service:bind echo blog", 0);
    let settings = world.root().join("services/echo/service.yaml");
    let limited = fs::read_to_string(&settings).expect("settings of the service") + "data_limit: 2g\n";
    fs::write(&settings, limited).expect("settings of the service");
    world.set_settings("grants: {blog: [\"/srv:ro\", /nonexistent]}\nbackups: {nightly: {schedule: \"0 3 * * *\", to: /nonexistent}}");
    let run = |words: &[&str]| world.tool("piku-run").args(words).output().expect("piku-run");
    assert_eq!(run(&["backup", "run"]).status.code(), Some(1), "its directory is missing");
    let measured = run(&["data-usage"]);
    assert!(measured.status.success(), "{}", text(&measured));
    let shown = says(&world, "ps", 0);
    for line in ["\nData blog: ", " of 1.0 GiB, 0 %\n", "\nData echo: ", " of 2.0 GiB, 0 %\n"] {
        assert!(shown.contains(line), "{shown}");
    }

    let mut asked: Vec<(&str, &str)> = vec![
        ("apps", "apps"),
        ("ps", "ps"),
        ("ps:scale", "ps:scale blog"),
        ("status", "status"),
        ("releases", "releases blog"),
        ("releases:info", "releases:info blog 2 --show"),
        ("config", "config blog"),
        ("config:get", "config:get blog A"),
        ("domains", "domains"),
        ("domains:check", "domains:check blog"),
        ("domains:host", "domains:host"),
        ("certs", "certs"),
        ("gc", "gc --dry-run"),
        ("audit", "audit"),
        ("backup:list", "backup:list"),
        ("backup:verify", "backup:verify"),
        ("service:list", "service:list"),
        ("service:info", "service:info echo"),
        ("keys", "keys"),
        ("grant", "grant"),
        ("version", "version"),
        ("doctor", "doctor"),
    ];
    let covered: BTreeSet<String> = asked.iter().map(|(verb, _)| (*verb).to_owned()).collect();
    assert_eq!(verbs_with_format(&world), covered, "each verb with --format has a schema and is asked here");
    asked.push(("releases:info", "releases:info blog 1"));
    let on_server = ["keys", "grant", "domains:host", "doctor", "backup:list"];
    let mut check = Command::new("python3");
    check.args(["-c", CHECK]);
    for (number, (verb, words)) in asked.iter().enumerate() {
        let words = format!("{words} --format json");
        let out = match *verb {
            "backup:verify" => {
                let verify = format!("\"$0\" backup blog | \"$0\" {words}");
                let mut shell = world.command("sh");
                shell.arg("-c").arg(verify).arg(world.path("lib/piku")).output().expect("sh")
            }
            verb if on_server.contains(&verb) => piku(&world, &words),
            _ => world.ssh("laptop", &words),
        };
        // A host name that does not lead here is a "no", as is a machine without a unit.
        let may_be_no = matches!(*verb, "domains:check" | "doctor") && out.status.code() == Some(1);
        assert!(out.status.success() || may_be_no, "{words}: {}", text(&out));
        let file = world.path(&format!("output-{number}.json"));
        fs::write(&file, &out.stdout).expect("a file");
        check.arg(repository().join("docs/schemas").join(verb.replace(':', "-") + ".json")).arg(file);
    }
    let checked = check.output().expect("python3");
    assert!(checked.status.success(), "{}", text(&checked));
    let documented = fs::read_to_string(repository().join("docs/scripting.md")).expect("docs/scripting.md");
    for schema in fs::read_dir(repository().join("docs/schemas")).expect("schemas").flatten() {
        let name = schema.file_name().to_string_lossy().into_owned();
        assert!(documented.contains(&format!("(schemas/{name})")), "docs/scripting.md names {name}");
        assert!(covered.contains(&name.trim_end_matches(".json").replacen('-', ":", 1)), "{name}: no verb");
    }

    // The classes of exit codes.
    for (code, words) in [
        (0, "ps blog"),
        (1, "ps nope"),
        (1, "config:get blog NOTHING"),
        (2, "ps blog --frob"),
        (2, "frob"),
        (2, "ps:scale blog web=many"),
        (2, "rollback"),
        (127, "run blog nosuchprogram"),
        (126, "run blog /etc/hostname"),
        (7, "run blog sh -c 'exit 7'"),
        (143, "run blog sh -c 'kill $$; sleep 9'"),
    ] {
        let out = world.ssh("laptop", words);
        assert_eq!(out.status.code(), Some(code), "{words}: {}", text(&out));
    }
    for (words, code) in [("frob", 2), ("rollback", 2), ("help frob", 2)] {
        assert_eq!(piku(&world, words).status.code(), Some(code), "{words}");
    }
}

#[test]
fn each_verb_has_a_page_that_names_no_tool() {
    let world = World::new();
    let help = piku(&world, "help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let without_tool = ["doctor", "help", "version", "setup"];
    let mut pages = 0;
    for verb in lines.filter_map(|line| line.split(' ').next()) {
        let out = piku(&world, &format!("help {verb}"));
        let page = text(&out);
        assert!(out.status.success(), "{verb}: {page}");
        assert!(page.starts_with(&format!("usage: piku {verb} ")), "{verb}: {page}");
        for tool in ["piku-run ", "piku-receive ", "piku-build ", "--root"] {
            assert!(!page.contains(tool), "{verb} names {tool}: {page}");
        }
        if !without_tool.contains(&verb) {
            pages += usize::from(page.contains("\nExit status:\n"));
        }
    }
    assert!(pages > 40, "only {pages} pages with exit codes");
}
