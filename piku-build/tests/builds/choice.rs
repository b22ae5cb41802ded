//! The runtime of an app: the order of runtimes, the app's own setting, a folder below the top.

use std::fs;
use std::os::unix::fs::symlink;

use piku_tests::snapshot::{assert_snapshot, file, str};

use crate::support::World;

#[test]
fn an_app_that_nothing_fits_has_its_reasons_as_data() {
    let world = World::new(&[("notes.txt", "")]);
    for format in ["json", "yaml"] {
        let detected = world.run(&["detect", "app", "--format", format]);
        assert_eq!(detected.code, Some(1), "{detected}");
        assert!(detected.stderr.starts_with("piku-build: no runtime fits this app"), "{detected}");
        let data: serde_yaml::Value = serde_yaml::from_str(&detected.stdout).unwrap();
        assert!(data["runtime"].is_null() && data["because"].is_null(), "{detected}");
        let others = data["others"].as_sequence().unwrap();
        assert!(others.iter().any(|other| other["runtime"] == "go"), "{detected}");
    }
    let text = world.run(&["detect", "app"]);
    assert_eq!((text.code, text.stdout.as_str()), (Some(1), ""), "{text}");
    // The app has chosen, and wrongly.
    world.write("ENV", "RUNTIME=cobol\n");
    let named = world.run(&["detect", "app", "--format", "json"]);
    assert_eq!((named.code, named.stdout.as_str()), (Some(1), ""), "{named}");
}

#[test]
fn better_match_comes_first_unless_the_app_chooses() {
    let world = World::new(&[("Procfile", "web: ./run\n"), ("tool.py", ""), (".env", "SECRET=1\n")]);
    world.executable("run", "#!/bin/sh\n");
    let detected = world.run(&["detect", "app", "--format", "json"]);
    detected.good(&[]);
    let json: serde_json::Value = serde_json::from_str(&detected.stdout).unwrap();
    assert_eq!(json["runtime"], "python");
    assert!(json["others"].as_array().unwrap().iter().any(|other| other["runtime"] == "binary"), "{json}");
    for variable in ["RUNTIME=binary", "RUNTIME=mine\nPIKU_RUNTIMES=binary"] {
        world.write("ENV", format!("{variable}\n"));
        let plan = world.run(&["plan", "app"]);
        plan.good(&[]);
        assert!(plan.stdout.starts_with("runtime  binary\nbecause  "), "{plan}");
        assert!(plan.stdout.contains("in ENV; there is a Procfile\n"), "{plan}");
        assert!(plan.stdout.contains("process  web: ./run (Procfile)\n"), "{plan}");
    }
    world.write("ENV", "PIKU_RUNTIMES=binary,cobol\n");
    world.build("1").fails(str![[r#"
piku-build: PIKU_RUNTIMES in ENV asks for the runtime 'cobol'; there are buildpack, python, go, rust, java, ruby, node, static, binary
hint: PIKU_RUNTIMES=node,python names several, and overrides RUNTIME if that is a variable of the app itself

"#]]);
    fs::remove_file(world.app().join("Procfile")).unwrap();
    world.write("ENV", "RUNTIME=binary\n");
    world.build("1").fails(str![[r#"
piku-build: the app has no Procfile, and the runtime binary has no default process types
hint: add a file 'Procfile' with a line for each process, such as 'web: ./server --port $PORT'

"#]]);
    fs::remove_file(world.app().join("ENV")).unwrap();
    world.write("Procfile", "web: true\n");
    let ran = world.build("1");
    ran.good(&["warning: '.env' is not read: settings that ship with the app stand in a file named ENV"]);
    assert!(!world.release("1").env.contains_key("SECRET"));
}

#[test]
fn app_json_sets_what_has_a_meaning_here() {
    let json = r#"{
        "name": "shop", "addons": ["heroku-redis"],
        "cron": [{"command": "./run tick", "schedule": "@daily"}],
        "formation": {"web": {"quantity": 2}, "worker": {"quantity": 0}},
        "healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/health"}]},
        "scripts": {"dokku": {"predeploy": "./run migrate"}, "postdeploy": "./run seed"},
        "env": {"COLOUR": "red", "MODE": {"value": "plain"}, "KEY_BASE": {"generator": "secret"}, "TOKEN": {}}
    }"#;
    let world = World::new(&[("Procfile", "web: ./run\nworker: ./run\n"), ("app.json", json)]);
    world.executable("run", "#!/bin/sh\n");
    world.write("ENV", "MODE=own\n");
    let build = world.build("1");
    build.good(&[
        "warning: app.json: not used here: addons, scripts.postdeploy (piku run APP runs it by hand)\n",
        "warning: app.json requires TOKEN, which config:set has not set\n",
        "-----> Process types: web, worker, cron-1, release\n       app.json sets cron-1, web=2, worker=0, ",
    ]);
    let first = world.release("1");
    let written = |name: &str| first.processes[name].as_str();
    assert_eq!((written("cron-1"), written("release")), ("@daily ./run tick", "./run migrate"));
    let counts: Vec<_> = first.formation.iter().map(|(name, count)| format!("{name}={count}")).collect();
    assert_eq!(counts, ["web=2", "worker=0"]);
    assert_eq!((first.env["COLOUR"].as_str(), first.env["HEALTHCHECK_PATH"].as_str()), ("red", "/health"));
    assert!(first.env["KEY_BASE"].len() >= 64 && !first.env.contains_key("TOKEN"));
    world.build_with("2", &["--before", "out/1"]).good(&[]);
    assert_eq!(world.release("2").env, first.env, "a secret stays as it is");
    world.write("app.json", "{");
    world.build("3").good(&["warning: app.json: not used here: all of it (line 1 is not valid JSON)"]);
    assert_eq!(world.release("3").processes.len(), 2);
}

#[test]
fn two_runtimes_in_one_release() {
    let world = World::new(&[
        ("ENV", "PIKU_RUNTIMES=python,binary\n"),
        ("Procfile", "wsgi: app:app\nworker: ./run\n"),
        ("app.py", "app = None\n"),
        ("requirements.txt", "# nothing but what serves\n"),
    ]);
    world.executable("run", "#!/bin/sh\nexec python -c 'import gunicorn; print(\"found\")'\n");
    world.build("1").good(&["-----> Python and Binary app detected: named by PIKU_RUNTIMES in ENV; "]);
    let release = world.release("1");
    assert_eq!((release.runtime.as_str(), release.layers.len()), ("binary", 1));
    assert!(release.processes["wsgi"].starts_with("gunicorn --bind "), "{:?}", release.processes);
    assert_eq!(world.work("1", &["./run"]).good(&[]).stdout, "found\n");
}

#[test]
fn a_folder_below_the_top() {
    let world = World::new(&[("backend/run", ""), ("docs/readme", ""), ("backend/Procfile", "web: ./run\n")]);
    world.write("service/requirements.txt", "");
    world.build("1").fails(str![[r#"
piku-build: no runtime fits this app; looked for:
...
found at its top: backend/, docs/, service/
'service/' holds what looks like a python app
hint: the line 'APP_DIR=service' in a file ENV at the top makes that folder the app

"#]]);
    world.executable("backend/run", "#!/bin/sh\ncat below\n");
    world.write("backend/below", "here\n");
    world.write("ENV", "APP_DIR=./backend/\nA=1\n");
    world.build("1").good(&["-----> Binary app detected in 'backend': there is a Procfile\n"]);
    assert_eq!(crate::support::names(&world.path("out/1/app")), ["ENV", "Procfile", "below", "run"]);
    assert_eq!(world.work("1", &["./run"]).good(&[]).stdout, "here\n");
    // What the folder has itself counts; the Procfile it has not is the top's.
    fs::remove_file(world.app().join("backend/Procfile")).unwrap();
    world.write("Procfile", "worker: ./run\n");
    world.write("backend/ENV", "A=2\n");
    world.build("2").good(&["has an ENV of its own; the one at the top says APP_DIR alone"]);
    assert_eq!(world.release("2").processes.keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["worker"]);
    assert_eq!(fs::read_to_string(world.path("out/2/app/ENV")).unwrap(), "A=2\n");
    symlink("/etc", world.app().join("out")).unwrap();
    symlink("backend", world.app().join("link")).unwrap();
    let wrong = ["../app", "backend/../..", "out", "link", "nowhere", "Procfile"].map(|value| {
        world.write("ENV", format!("APP_DIR={value}\n"));
        world.run(&["plan", "app"]).failure()
    });
    assert_snapshot(&wrong.concat(), file!["errors/app_dir.txt"]);
    world.write("ENV", "APP_DIR=backend\n");
    world.build_with("3", &["--move"]).good(&[]);
    assert!(!world.app().exists());
    assert_eq!(world.outputs(), ["1", "2", "3"]);
}
