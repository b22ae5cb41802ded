//! Verbs on the build host about an app that runs on other machines.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use piku_tests::scene::Scene;
use piku_tests::world::{PATIENCE, wait_for};
use piku_tests::{http, processes};

/// Writes a line with each request.
const APP: &str = r#"
import http.server, os

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked for", self.path, "with", os.environ.get("A"), flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open("page").read().encode())
    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Runs a verb on the build host; returns its exit code and both outputs.
fn verb(scene: &Scene, words: &str) -> (i32, String) {
    let Output { status, stdout, stderr } = scene.lan.on(0, || scene.builder.ssh("laptop", words));
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn succeeds(scene: &Scene, words: &str) -> String {
    let (code, said) = verb(scene, words);
    assert_eq!(code, 0, "{words}: {said}");
    said
}

fn fails(scene: &Scene, words: &str) -> String {
    let (code, said) = verb(scene, words);
    assert_eq!(code, 1, "{words}: {said}");
    said
}

/// Returns `MACHINE STATE RELEASE` of each instance.
fn instances(scene: &Scene) -> Vec<String> {
    let out = scene.lan.on(0, || scene.builder.ssh("laptop", "ps blog --format json"));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).expect("rows");
    let field = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    rows.iter().map(|row| ["machine", "state", "release"].map(|name| field(&row[name])).join(" ")).collect()
}

/// Follows the logs; returns the session and its lines.
fn follow(scene: &Scene) -> (Child, Receiver<String>) {
    let mut session = scene.lan.on(0, || scene.builder.start_ssh("laptop", "logs blog -f -n 50"));
    let stdout = session.stdout.take().expect("stdout");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    (session, lines)
}

fn expect_line(lines: &Receiver<String>, parts: &[&str]) {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|err| panic!("{parts:?}: {err}"));
        if parts.iter().all(|part| line.contains(part)) {
            return;
        }
    }
}

#[test]
fn verbs_reach_all_machines_of_an_app() {
    let Some(scene) = Scene::new() else { return };
    let names = [0, 1].map(|at| scene.name(at));
    let on_both = |rest: &str| names.clone().map(|name| format!("{name} {rest}")).to_vec();
    scene.deploy_to("here: false, patience: 1");
    let repo = scene.builder.repo("blog");
    repo.file("Procfile", "web: python app.py\nworker: sleep 1000\n").file("app.py", APP).file("page", "one");
    // A secret is set before the first push.
    succeeds(&scene, "config:set blog A=first");
    scene.push(repo.commit("One")).succeeds();
    assert_eq!(
        instances(&scene),
        names
            .iter()
            .flat_map(|name| ["healthy", "running"].map(|state| format!("{name} {state} 1")))
            .collect::<Vec<_>>()
    );
    let shown = succeeds(&scene, "ps blog");
    assert!(
        shown.contains(&format!("{}:\n  PS", names[0])) && shown.contains(&format!("\n{}:\n  PS", names[1])),
        "{shown}"
    );
    assert!(!shown.contains("no live release"), "{shown}");

    // Each change is one of both.
    succeeds(&scene, "ps:scale blog worker=0");
    assert_eq!(instances(&scene), on_both("healthy 1"));
    succeeds(&scene, "config:set blog A=second");
    assert_eq!(instances(&scene), on_both("healthy 2"));
    assert_eq!(succeeds(&scene, "config:get blog A"), "second\n");
    let (code, said) = scene.lan.on(0, || {
        let mut session = scene.builder.start_ssh("laptop", "config:import blog");
        std::io::Write::write_all(&mut session.stdin.take().expect("stdin"), b"B='a b'\n")
            .expect("the settings");
        let out = session.wait_with_output().expect("ssh");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    });
    assert_eq!((code, instances(&scene)), (Some(0), on_both("healthy 3")), "{said}");
    succeeds(&scene, "restart blog");
    let listed = succeeds(&scene, "releases blog");
    assert_eq!(listed.matches("set B").count(), 2, "{listed}");
    let said = succeeds(&scene, "rollback blog");
    assert!(said.contains("the settings for builds on this machine follow: B\n"), "{said}");
    assert_eq!(instances(&scene), on_both("healthy 4"));
    assert!(fails(&scene, "config:get blog B").contains("B is not set"));
    assert_eq!(succeeds(&scene, "config:get blog A"), "second\n");
    one_rolls_back_by_itself(&scene, &names);
    let said = fails(&scene, "rollback blog 1");
    assert!(said.contains("each numbers its releases by itself") && said.contains("hint: "), "{said}");
    succeeds(&scene, "maintenance:on blog");
    assert!((0..2).all(|at| scene.runners[at].app("blog").join("maintenance").exists()));
    succeeds(&scene, "maintenance:off blog");

    // A command is run once.
    let (code, said) = verb(&scene, "run blog -- sh -c 'echo $A; exit 5'");
    assert!(code == 5 && said.contains("second\n") && said.contains(&format!("On {}", names[0])), "{said}");
    assert!(fails(&scene, "data:export blog").contains("each has data of its own"));
    assert!(fails(&scene, "config:edit blog").contains("config:edit does not reach them"));
    a_verb_is_passed_on_once(&scene, &names);
    // A push is under way.
    let settings = scene.builder.path("root/host.yaml");
    let text = std::fs::read_to_string(&settings).expect("host.yaml");
    std::fs::write(&settings, format!("{text}lock_timeout: 0\n")).expect("host.yaml");
    scene.builder.while_locked(&scene.builder.app("blog").join("lock"), || {
        for words in ["restart blog", "stop blog", "rollback blog", "destroy blog --confirm blog"] {
            let (code, said) = verb(&scene, words);
            assert!(code == 75 && said.contains("gave up waiting for"), "{words}: {said}");
        }
        assert_eq!(instances(&scene).len(), 2, "nothing has happened");
    });
    // The other spelling of the setting.
    std::fs::write(&settings, text.replace("deploy_to", "deploy-to")).expect("host.yaml");
    assert_eq!(instances(&scene).len(), 2);
    std::fs::write(&settings, text).expect("host.yaml");

    logs(&scene, &names);

    changes_of_some(&scene, &names);
    changes_reach_all_in_one_order(&scene);

    // One is away: the others go on, and it is named.
    scene.lan.cut(1);
    let (code, said) = verb(&scene, "restart blog");
    assert!(
        code == 1 && said.contains(&format!("'restart blog' has not happened on {}", names[0])),
        "{said}"
    );
    let (code, said) = verb(&scene, "run blog -- echo moin");
    assert!(code == 0 && said.contains("moin\n") && said.contains(&format!("On {}", names[1])), "{said}");
    scene.lan.restore(1);
    // It fails on the first one: the second one is left as it is.
    scene.lan.on(1, || {
        let current = scene.runners[0].app("blog").join("current/app");
        std::fs::write(current.join("app.py"), "raise SystemExit('broken')").expect("app.py");
    });
    let said = fails(&scene, "config:set blog A=third");
    assert!(said.contains(&format!("unchanged: {}", names[1])), "{said}");

    succeeds(&scene, "stop blog");
    assert!(instances(&scene).iter().all(|row| row.contains(" stopped ")), "{:?}", instances(&scene));
    assert!(fails(&scene, "rename blog diary").contains("deploy_to of host.yaml"));
    succeeds(&scene, "destroy blog --confirm blog");
    assert!((0..2).all(|at| !scene.runners[at].app("blog").join("current").exists()));
    assert!(!scene.builder.app("blog").join("repo.git").exists());
    scene.end();
}

/// Changes that some of the machines have already, or that only others execute.
fn changes_of_some(scene: &Scene, names: &[String; 2]) {
    // A name that one of them has not any more goes from the others.
    succeeds(scene, "domains:add blog --no-restart gone.test");
    succeeds(scene, "here domains:remove blog --no-restart gone.test");
    scene.config(0, "domains:remove blog --no-restart gone.test");
    let said = fails(scene, "domains:remove blog --no-restart gone.test");
    assert!(said.contains(&format!("has not happened on here, {}\n", names[0])), "{said}");
    // What the operator does here is in the log, although only the others execute it.
    let operator = |words: &str| {
        let script = scene.builder.path("lib/piku");
        let out =
            scene.lan.on(0, || scene.builder.command(script).args(words.split(' ')).output()).expect("piku");
        assert!(out.status.success(), "{words}: {out:?}");
    };
    operator("ps blog");
    operator("ps:scale blog web=1");
    let log = succeeds(scene, "audit blog");
    assert_eq!(log.matches("operator").count(), 1, "{log}");
}

/// Several sessions change the same setting at once: the last one here is the last one on each machine.
fn changes_reach_all_in_one_order(scene: &Scene) {
    let start = |value: &str| {
        scene.lan.on(0, || scene.builder.start_ssh("laptop", &format!("config:set blog ORDER={value}")))
    };
    let sessions: Vec<Child> = ["one", "two", "three"].into_iter().map(start).collect();
    let mut said = String::new();
    for session in sessions {
        let out = session.wait_with_output().expect("ssh");
        said += &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
    }
    assert!(said.contains("Waiting for laptop, who has been changing blog since"), "{said}");
    let of_builder = succeeds(scene, "config:get blog ORDER");
    for at in [0, 1] {
        let out = scene.lan.on(at + 1, || scene.runners[at].ssh("laptop", "config:get blog ORDER"));
        assert_eq!(String::from_utf8_lossy(&out.stdout), of_builder, "on {at}: {said}");
    }
}

/// Refuses a rollback when one machine has left the release already: 'previous' is another one there.
fn one_rolls_back_by_itself(scene: &Scene, names: &[String; 2]) {
    scene.config(0, "rollback blog");
    let before = instances(scene);
    let said = fails(scene, "rollback blog");
    assert!(
        said.contains("the machines have different releases, and none is rolled back")
            && said.contains(&names[0]),
        "{said}"
    );
    assert_eq!(instances(scene), before);
    scene.config(1, "rollback blog");
}

/// Two machines that name each other do not pass a verb on for ever.
fn a_verb_is_passed_on_once(scene: &Scene, names: &[String; 2]) {
    let settings = "deploy_to: {blog: {machines: ['piku@192.0.2.1'], here: false}}\n";
    scene.runners[0].set_settings(settings);
    assert!(instances(scene)[0].starts_with(&names[0]), "{:?}", instances(scene));
    let log = succeeds(scene, "logs blog -n 1");
    assert!(!log.contains("192.0.2.1"), "{log}");
    scene.runners[0].set_settings("");
}

#[test]
fn what_a_machine_has_missed_stays_away_after_a_rollback_or_a_stop() {
    let Some(scene) = Scene::new() else { return };
    scene.deploy_to("here: false, patience: 1, skip_down: true");
    let repo = scene.builder.repo("blog");
    repo.file("Procfile", "web: python app.py\n").file("app.py", APP).file("page", "one");
    scene.push(repo.commit("One")).succeeds();
    let missed = scene.builder.app("blog").join("missed");
    let pages = || scene.pages().iter().map(|page| page.trim().to_owned()).collect::<Vec<_>>();

    // The bad release: one machine is away, and has the one before.
    scene.lan.cut(2);
    scene.push(repo.file("page", "bad").commit("Bad")).succeeds();
    assert_eq!(std::fs::read_to_string(missed.join("machines")).expect("a list").lines().count(), 1);
    let said = succeeds(&scene, "rollback blog");
    assert!(said.contains(&format!("{} is left as it is", scene.name(1))), "{said}");
    let list = std::fs::read_to_string(missed.join("machines")).expect("a list");
    assert!(list.ends_with(" failed"), "{list}");
    scene.lan.restore(2);
    assert_eq!(pages(), ["one", "one"]);

    // A stopped app is not run by what it gets later.
    scene.push(repo.file("page", "two").commit("Two")).succeeds();
    scene.lan.cut(2);
    scene.push(repo.file("page", "three").commit("Three")).succeeds();
    fails(&scene, "stop blog");
    assert!(missed.join("held").exists());
    scene.lan.restore(2);
    succeeds(&scene, "stop blog");
    let catch_up = || {
        let out =
            scene.lan.on(0, || scene.builder.command("piku-receive").args(["catch-up", "blog"]).output());
        assert!(out.expect("piku-receive").status.success());
    };
    catch_up();
    assert!(instances(&scene).iter().all(|row| row.contains(" stopped ")), "{:?}", instances(&scene));
    succeeds(&scene, "start blog");
    wait_for("both to have it", || {
        catch_up();
        pages() == ["three", "three"]
    });
    succeeds(&scene, "destroy blog --confirm blog");
    assert!(fails(&scene, "restore blog").contains("piku restore blog --kept"));
    succeeds(&scene, "restore blog --kept");
    assert_eq!(pages(), ["three", "three"]);
    scene.end();
}

/// The logs of both, by time, also while one of them is away.
fn logs(scene: &Scene, names: &[String; 2]) {
    let ask = |at: usize, path: &str| {
        scene.lan.on(at + 1, || http::get(scene.runners[at].port("blog"), path)).expect("a page");
    };
    for (at, path) in [(0, "/1"), (1, "/2"), (0, "/3")] {
        ask(at, path);
        wait_for("the line", || {
            succeeds(scene, "logs blog web").contains(&format!("asked for {path} with second"))
        });
    }
    let log = succeeds(scene, "logs blog web -n 3");
    let order = [(0, "/1"), (1, "/2"), (0, "/3")];
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    for ((at, path), line) in order.iter().zip(lines) {
        assert!(line.contains(&format!("Z {} web.1: asked for {path} with second", names[*at])), "{log}");
    }
    let said = verb(scene, "logs blog web shop").1;
    assert!(said.contains("are shown alone"), "{said}");

    let (mut session, lines) = follow(scene);
    expect_line(&lines, &["/3"]);
    ask(1, "/4");
    expect_line(&lines, &[&names[1], "/4"]);
    scene.lan.cut(1);
    ask(1, "/5");
    expect_line(&lines, &[&names[1], "/5"]);
    ask(0, "/6");
    scene.lan.restore(1);
    expect_line(&lines, &[&names[0], "/6"]);
    let followers = || processes::find(&scene.builder.root(), "relay blog logs").len();
    assert!(followers() > 0);
    session.kill().expect("the session");
    session.wait().expect("the session");
    wait_for("the end of the followers", || followers() == 0);
    scene.lan.cut(2);
    let said = fails(scene, "logs blog");
    assert!(
        said.contains(&format!("{}: no connection", names[1]))
            && said.contains(&format!("{} web.1", names[0])),
        "{said}"
    );
    scene.lan.restore(2);
}
