//! A front and two machines behind it: no request fails while they deploy one after the other, nor when one of
//! them is lost. `PIKU_ROUNDS` is the number of deploys under load; 20 are what the project promises.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use piku_tests::lan::Lan;
use piku_tests::repo::Repo;
use piku_tests::scene::Scene;
use piku_tests::world::wait_for;

/// Prints its page, where it runs, and the headers that a proxy sets.
pub(super) const APP: &str = r#"
import http.server, os, sys

if os.environ.get("FAIL"):
    sys.exit("told to fail")

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        names = ["Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"]
        lines = [open("page").read(), os.environ.get("WHERE", "?")] + [f"{n}: {self.headers[n]}" for n in names]
        lines += [f"secret {n}" for n in self.headers if "front" in n.lower()]
        body = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Sends one request; returns the body of a response with 200.
pub(super) fn get(address: &str, host: &str, more: &str) -> Result<String, String> {
    let mut stream =
        TcpStream::connect((address, Scene::HTTP_PORT)).map_err(|err| format!("no connection: {err}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|err| err.to_string())?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).map_err(|err| err.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|err| err.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(answer.lines().next().unwrap_or("no answer").to_owned()),
    }
}

/// Clients of the front.
pub(super) struct Load {
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    longest: Arc<Mutex<Duration>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(lan: &Lan) -> Self {
        let mut load = Self {
            ends: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            longest: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..3 {
            let (ends, answered) = (load.ends.clone(), load.answered.clone());
            let (failed, longest) = (load.failed.clone(), load.longest.clone());
            let client = move || {
                while !ends.load(Ordering::Relaxed) {
                    let since = Instant::now();
                    match get("127.0.0.1", "blog.example.org", "") {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => failed.lock().expect("failures").push(why),
                    }
                    let mut longest = longest.lock().expect("a time");
                    *longest = (*longest).max(since.elapsed());
                    drop(longest);
                    thread::sleep(Duration::from_millis(10));
                }
            };
            // A thread that another has started has its network.
            load.clients.push(lan.on(0, || thread::spawn(client)));
        }
        load
    }

    /// Waits until this many more requests are answered.
    pub(super) fn wait_for_answers(&self, more: usize) {
        let all = self.answered.load(Ordering::Relaxed) + more;
        wait_for("answers", || self.answered.load(Ordering::Relaxed) >= all);
    }

    /// Ends the clients; fails if a request has.
    pub(super) fn end(self, what: &str) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client");
        }
        let failed = self.failed.lock().expect("failures");
        let answered = self.answered.load(Ordering::Relaxed);
        let longest = self.longest.lock().expect("a time").as_millis();
        let report =
            format!("{what}: {answered} requests, {} failed, the longest took {longest} ms", failed.len());
        let _ = writeln!(std::io::stderr(), "{report}");
        assert!(failed.is_empty() && answered > 10, "{what}: {answered} answered, failed: {failed:?}");
    }
}

pub(super) fn push(scene: &Scene, repo: &Repo, page: &str) -> String {
    scene.push(repo.file("page", page).commit(page)).succeeds()
}

/// Returns what a verb prints on the front's machine.
fn on_builder(scene: &Scene, words: &str) -> String {
    let out = scene.lan.on(0, || scene.builder.ssh("laptop", words));
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Returns the state of a machine behind the front.
pub(super) fn state(scene: &Scene, at: usize) -> String {
    let out = scene.builder.tool("piku-run").args(["front", "blog"]).output().expect("piku-run");
    let table = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = table.lines().find(|line| line.starts_with(&format!("{} ", scene.name(at))));
    line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("none").to_owned()
}

/// Settings that nginx does not accept are refused, and the front keeps those that it has.
fn refused_settings(scene: &Scene, repo: &Repo) {
    let good = "NGINX_SERVER_NAME=blog.example.org\n";
    let bad = format!("{good}NGINX_CLIENT_MAX_BODY_SIZE=huge\n");
    repo.file("ENV", &bad).commit("Huge");
    let said = scene.push(repo).fails_with(&["NGINX_CLIENT_MAX_BODY_SIZE", "nothing was changed"]);
    assert!(said.contains("failed at: check"), "{said}");
    let front = |words: &[&str]| {
        let out = scene.lan.on(0, || {
            scene.builder.tool("piku-run").args(["front", "blog"]).args(words).output().expect("piku-run")
        });
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let tree = scene.builder.path("refused");
    fs::create_dir(&tree).expect("a tree");
    fs::write(tree.join("ENV"), bad).expect("ENV");
    let (is_stored, said) = front(&["prepare", &tree.to_string_lossy()]);
    assert!(!is_stored && said.contains("NGINX_CLIENT_MAX_BODY_SIZE"), "{said}");
    assert_eq!(front(&["refresh"]), (true, String::new()));
    repo.file("ENV", good).commit("As before");
}

/// The app learns of its client what the front says, and nothing that another one claims.
fn forged_headers(scene: &Scene) {
    let spoofed = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 9.9.9.9\r\n";
    let page = scene.lan.on(0, || get("127.0.0.1", "blog.example.org", spoofed)).expect("a page");
    assert!(page.contains("Host: blog.example.org\n"), "{page}");
    assert!(page.contains("X-Forwarded-Proto: http\nX-Forwarded-Host: blog.example.org\n"), "{page}");
    assert!(
        page.contains("X-Real-IP: 127.0.0.1") && page.contains("X-Forwarded-For: 9.9.9.9, 127.0.0.1"),
        "{page}"
    );
    assert!(!page.contains("secret"), "the app does not see the key: {page}");
    // Another program on the front's machine has its address, and is believed nothing.
    let direct = scene.lan.on(0, || get(&Lan::address(1), "blog.example.org", spoofed)).expect("a page");
    assert!(
        direct.contains("X-Forwarded-Proto: http\n") && direct.contains("X-Real-IP: 10.99.1.1"),
        "{direct}"
    );
    let unknown = format!("{}.front.piku.internal", "0".repeat(32));
    let guessed = scene.lan.on(0, || get(&Lan::address(1), &unknown, ""));
    assert_eq!(guessed, Err("HTTP/1.1 421 Misdirected Request".to_owned()));
}

#[test]
fn front_serves_machines_without_a_failed_request() {
    let Some(mut scene) = Scene::new() else { return };
    scene.start_nginx();
    for at in [0, 1] {
        scene.config(at, &format!("config:set blog --no-restart WHERE=machine-{at}"));
    }
    let front = format!("front: {{port: {}}}", Scene::HTTP_PORT);
    let settings = |more: &str| scene.deploy_to(&format!("here: false, patience: 60, {front}{more}"));
    let ask = |more: &str| scene.lan.on(0, || get("127.0.0.1", "blog.example.org", more));
    settings(", skip_down: true");
    let repo = scene.builder.repo("blog");
    repo.file("Procfile", "web: python app.py\n")
        .file("ENV", "NGINX_SERVER_NAME=blog.example.org\n")
        .file("app.py", APP);
    let said = push(&scene, &repo, "one");
    // The machines are reached through the front alone.
    let url = format!("-----> blog is live: http://blog.example.org:{}", Scene::HTTP_PORT);
    assert_eq!(
        said.lines().filter(|line| line.contains("http://")).collect::<Vec<_>>(),
        [url.as_str()],
        "{said}"
    );
    assert!(said.contains(&format!("{} | -----> blog is live, release 1", scene.name(1))), "{said}");
    for at in [0, 1] {
        wait_for("both machines", || state(&scene, at) == "up");
    }

    forged_headers(&scene);

    // Deploys, one machine after the other.
    let rounds: usize = std::env::var("PIKU_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let load = Load::start(&scene.lan);
    for round in 0..rounds {
        let said = push(&scene, &repo, &format!("round {round}"));
        assert!(said.contains(&format!("{}: release {} is live", scene.name(1), round + 2)), "{said}");
    }
    load.end("deploys");
    let shown = on_builder(&scene, "ps blog");
    assert!(shown.contains("blog on other machines:\nMACHINE") && shown.contains(" up "), "{shown}");
    let shown = on_builder(&scene, "apps:info blog");
    assert!(shown.contains("remote") && shown.contains("blog.example.org"), "{shown}");

    refused_settings(&scene, &repo);

    // One is lost, under load. A deploy leaves it out and says so.
    let load = Load::start(&scene.lan);
    let asked =
        |at: usize| (0..20).filter_map(|_| ask("").ok()).any(|page| page.contains(&format!("machine-{at}")));
    assert!(asked(0) && asked(1), "both get requests");
    scene.lan.cut(2);
    wait_for("the loss to be noticed", || state(&scene, 1) == "down");
    let said = push(&scene, &repo, "without");
    assert!(
        said.contains(&format!("{}: ", scene.name(1)))
            && said.contains("it gets the release when it is back"),
        "{said}"
    );
    assert!(ask("").expect("a page").starts_with("without\n"));
    on_builder(&scene, "config:set blog LATE=1");
    load.end("loss of a machine");

    // It is back, gets the release before it gets requests, and then gets these.
    let load = Load::start(&scene.lan);
    scene.lan.restore(2);
    wait_for("the machine to catch up", || state(&scene, 1) == "up");
    let is_left = |what: &str| scene.builder.app("blog").join(what).exists();
    assert!(!is_left("missed") && !is_left("missed-settings.json"));
    scene.config(1, "config:get blog LATE");
    wait_for("its requests", || asked(1));
    for _ in 0..20 {
        assert!(ask("").expect("a page").starts_with("without\n"));
    }
    load.end("return of the machine");

    // Both have the same releases again.
    push(&scene, &repo, "again");
    // Verbs that replace instances, machine by machine. The names of a release go with it.
    let load = Load::start(&scene.lan);
    on_builder(&scene, "restart blog");
    on_builder(&scene, "config:set blog GREETING=hello");
    on_builder(&scene, "rollback blog");
    repo.file("page", "renamed").file("ENV", "NGINX_SERVER_NAME=blog.example.org new.example.org\n");
    repo.commit("Another name");
    scene.push(&repo).succeeds();
    let with_new_name = || scene.lan.on(0, || get("127.0.0.1", "new.example.org", ""));
    assert!(with_new_name().expect("a page").starts_with("renamed\n"));
    on_builder(&scene, "rollback blog");
    assert!(with_new_name().is_err(), "the front goes back, too");
    assert!(ask("").expect("a page").starts_with("again\n"));
    on_builder(&scene, "rollback blog");
    assert!(with_new_name().expect("a page").starts_with("renamed\n"), "and forth");
    on_builder(&scene, "rollback blog");
    load.end("restarts and rollbacks");

    // All or nothing: the second one fails, the first one goes back.
    settings(", all_or_nothing: true");
    scene.config(1, "config:set blog --no-restart FAIL=1");
    let load = Load::start(&scene.lan);
    repo.file("page", "bad").commit("Bad");
    let said = scene.push(&repo).fails_with(&["told to fail", "the others roll back"]);
    assert!(!said.contains("blog is live: "), "{said}");
    for _ in 0..20 {
        assert!(ask("").expect("a page").starts_with("again\n"));
    }
    load.end("a deploy that fails");
    assert!(with_new_name().is_err(), "the front has gone back, too");
    scene.end();
}
