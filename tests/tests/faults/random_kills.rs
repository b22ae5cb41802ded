//! Fault injection: kill -9 of a process of piku's, any of them, at a random instant of a change. Whatever it was, afterwards
//! exactly one release serves, with the configuration it was made with; `ps` is true; nothing else of the app runs; and the
//! next push is clean and leaves nothing behind.
//!
//! `PIKU_ROUNDS=100 cargo test -p piku-tests --test faults` goes on for longer; `PIKU_SEED=N` repeats the choices of a run,
//! though not its instants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use piku_tests::http;
use piku_tests::processes::kill_all;
use piku_tests::repo::{Push, Repo};
use piku_tests::world::{PATIENCE, World};

use crate::server_processes::server_processes;

/// Rounds where nobody asks for more.
const ROUNDS: u64 = 15;

/// Answers with its page and what it was configured with.
const SERVE: &str = r#"#!/usr/bin/python3
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (open("page").read().strip() + " " + os.environ.get("COLOUR", "none") + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Each stage takes long enough to be hit.
const PROCFILE: &str = "web: ./serve\nworker: exec sleep 86399\npreflight: sleep 0.1\nrelease: sleep 0.1\n";

/// Processes that run between changes.
const ALWAYS: [&str; 5] = ["daemon", "monitor", "stub", "supervisor", "worker"];

#[test]
fn random_kills_leave_one_live_release() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = number("PIKU_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("PIKU_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919 + rounds);
    let mut trial = Trial::new(seed);
    for round in 0..rounds {
        trial.round(round);
    }
    tell(&format!("{rounds} rounds; killed: {:?}", trial.killed));
}

/// A world for all rounds.
struct Trial {
    world: World,
    repo: Repo,
    random: Random,
    /// Durations of undisturbed changes in milliseconds.
    usual: BTreeMap<&'static str, u64>,
    killed: BTreeMap<String, u32>,
    /// Steps of the round, for the message if it fails.
    story: String,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let repo = world.repo("blog");
        repo.file("Procfile", PROCFILE).program("serve", SERVE).file("page", "first\n").commit("First");
        repo.push().succeeds();
        let random = Random(seed | 1);
        let story = format!("PIKU_SEED={seed}");
        Self { world, repo, random, usual: BTreeMap::new(), killed: BTreeMap::new(), story }
    }

    fn round(&mut self, round: u64) {
        let what = ["push", "push", "config", "rollback", "restart", "scale"][self.random.below(6)];
        let seed = self.story.split(':').next().unwrap_or_default().to_owned();
        self.story = format!("{seed}: round {round}, {what}");
        let began = Instant::now();
        let mut child = self.begin(what, round);
        let usual = self.usual.get(what).copied().unwrap_or(1200);
        std::thread::sleep(Duration::from_millis(self.random.upto(usual + usual / 5)));
        let victim = self.kill_one();
        let out = self.ended(&mut child);
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(1200);
        self.story = format!("{}, {victim} after {took} ms; it ended with {}", self.story, out.status);

        if victim.starts_with("daemon") {
            self.world.end_daemon(Signal::SIGKILL);
            self.world.start_daemon();
        }
        self.is_whole("after the kill");
        if out.status.success() {
            let usual = self.usual.entry(what).or_insert(took);
            *usual = (*usual * 3 + took) / 4;
            self.has_what_it_asked_for(what, round);
        }

        self.repo.file("page", format!("clean {round}\n")).commit("Clean");
        let push = self.repo.push();
        if let Err(said) = succeeded(push) {
            self.fails(&format!("the next push failed:\n{said}"));
        }
        let web = self.is_whole("after a clean push");
        if !web.starts_with(&format!("clean {round} ")) {
            self.fails(&format!("the clean push serves {web:?}"));
        }
        self.nothing_is_left();
    }

    /// Begins a change.
    fn begin(&mut self, what: &str, round: u64) -> Child {
        let words = match what {
            "push" => {
                self.repo.file("page", format!("round {round}\n")).commit("Round");
                return self.repo.start_push();
            }
            "config" => format!("config:set blog COLOUR=c{round} OTHER=x"),
            "scale" => format!("ps:scale blog web={}", 1 + round % 2),
            verb => format!("{verb} blog"),
        };
        let mut child = self.world.start_ssh("laptop", &words);
        drop(child.stdin.take());
        child
    }

    /// Waits for its end; a laptop does not wait for ever either.
    fn ended(&self, child: &mut Child) -> Output {
        let since = Instant::now();
        while child.try_wait().expect("wait for it").is_none() {
            if since.elapsed() > PATIENCE {
                let _ = child.kill();
                self.fails("the change does not come to an end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let read = |from: Option<&mut dyn std::io::Read>| {
            let mut bytes = Vec::new();
            from.map(|from| from.read_to_end(&mut bytes));
            bytes
        };
        let stdout = read(child.stdout.as_mut().map(|from| from as &mut dyn std::io::Read));
        let stderr = read(child.stderr.as_mut().map(|from| from as &mut dyn std::io::Read));
        Output { status: child.wait().expect("its end"), stdout, stderr }
    }

    /// Kills one process of the server's. Of three victims two belong to the change, where any does; each kind is as likely as
    /// another.
    fn kill_one(&mut self) -> String {
        let mut kinds: BTreeMap<&'static str, Vec<i32>> = BTreeMap::new();
        for (pid, kind) in server_processes(&self.world) {
            kinds.entry(kind).or_default().push(pid);
        }
        let resident = |kind: &&str| ALWAYS.contains(kind);
        let of_the_change = kinds.keys().any(|kind| !resident(kind)) && self.random.below(3) > 0;
        let names: Vec<&str> =
            kinds.keys().copied().filter(|kind| !of_the_change || !resident(kind)).collect();
        let Some(kind) = names.get(self.random.below(names.len())).copied() else {
            return "nobody".to_owned();
        };
        let pids = &kinds[kind];
        let pid = pids[self.random.below(pids.len())];
        kill_all(&[pid]);
        *self.killed.entry(kind.to_owned()).or_default() += 1;
        format!("{kind} {pid}")
    }

    /// Holds that the app is one whole release, as soon as it has settled; returns its page.
    fn is_whole(&self, when: &str) -> String {
        let since = Instant::now();
        loop {
            match self.look() {
                Ok(page) => return page,
                Err(why) if since.elapsed() > PATIENCE => self.fails(&format!("{when}: {why}")),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn look(&self) -> Result<String, String> {
        let app = self.world.app("blog");
        let live = fs::read_link(app.join("current")).map_err(|err| format!("current: {err}"))?;
        let number: u64 = live.file_name().and_then(|name| name.to_str()?.parse().ok()).ok_or("no number")?;
        let above: Vec<String> = self.world.releases("blog");
        let above: Vec<&String> =
            above.iter().filter(|name| name.parse::<u64>().is_ok_and(|other| other > number)).collect();
        if !above.is_empty() {
            return Err(format!("{above:?} above the live release {number}"));
        }

        let out = self.world.tool("piku-run").args(["ps", "blog", "--format", "json"]).output().expect("ps");
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&out.stdout).map_err(|_| format!("{out:?}"))?;
        let webs = match fs::read(app.join("formation.json")) {
            Ok(text) => {
                serde_json::from_slice::<serde_json::Value>(&text).map_err(|err| err.to_string())?["web"]
                    .as_u64()
                    .ok_or("no number of webs")?
            }
            Err(_) => 1,
        };
        let mut expected: Vec<String> = (1..=webs).map(|index| format!("web.{index} healthy")).collect();
        expected.push("worker.1 running".to_owned());
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let found: Vec<String> =
            rows.iter().map(|row| format!("{} {}", text(row, "instance"), text(row, "state"))).collect();
        if found != expected || rows.iter().any(|row| row["release"] != number) {
            return Err(format!("release {number}, expected {expected:?}, found {rows:#?}"));
        }

        let page =
            fs::read_to_string(app.join("current/app/page")).map_err(|err| format!("its page: {err}"))?;
        let config = json(&app.join("current/config.json"))?;
        let expected = format!("{} {}\n", page.trim(), config["COLOUR"].as_str().unwrap_or("none"));
        for row in rows.iter().filter(|row| !row["port"].is_null()) {
            let port = row["port"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("no port")?;
            let (_, body) = http::get(port, "/").map_err(|err| format!("{row}: {err}"))?;
            if body != expected {
                return Err(format!("{row} answers {body:?}, not {expected:?}"));
            }
        }
        let store = json(&app.join("config.json")).unwrap_or_default();
        if store["COLOUR"] != config["COLOUR"] {
            return Err(format!("stored is {store}, live {config}"));
        }

        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, kind) in server_processes(&self.world) {
            *kinds.entry(kind).or_default() += 1;
        }
        let webs = usize::try_from(webs).map_err(|err| err.to_string())?;
        let expected = [
            ("daemon", 1),
            ("monitor", webs + 1),
            ("stub", webs + 1),
            ("supervisor", 1),
            ("worker", webs + 1),
        ];
        if kinds != BTreeMap::from(expected) {
            return Err(format!("these run: {kinds:?}\n{:#?}", server_processes(&self.world)));
        }
        Ok(expected_page(&page, &config))
    }

    /// Checks the promises of a change that has succeeded.
    fn has_what_it_asked_for(&self, what: &str, round: u64) {
        let page = self.is_whole("after a success");
        let good = match what {
            "push" => page.starts_with(&format!("round {round} ")),
            "config" => page.ends_with(&format!(" c{round}\n")),
            _ => true,
        };
        if !good {
            self.fails(&format!("it succeeded, and {page:?} is served"));
        }
    }

    /// Nothing half made lies anywhere, once a change has come to its end.
    fn nothing_is_left(&self) {
        let app = self.world.app("blog");
        self.world.await_removals("blog");
        let mut left = Vec::new();
        for folder in ["", "releases", "layers", "cache", "log", "repo.git", "repo.git/refs/heads"] {
            for name in names(&app.join(folder)) {
                let is_number = name.bytes().all(|b| b.is_ascii_digit());
                let odd = name.starts_with('.') || name.contains(".lock") || name.starts_with("deploy.");
                if odd && name != ".lock" || folder == "releases" && !is_number {
                    left.push(app.join(folder).join(name));
                }
            }
        }
        for release in names(&app.join("releases")) {
            let release = app.join("releases").join(release);
            let inside = names(&release);
            if inside != ["app", "config.json", "release.yaml"] {
                left.push(release.join(format!("{inside:?}")));
            }
        }
        for place in ["root", "root/run", "home"] {
            let hidden = names(&self.world.path(place)).into_iter().filter(|name| name.starts_with('.'));
            left.extend(hidden.filter(|name| name != ".ssh").map(|name| self.world.path(place).join(name)));
        }
        let records: BTreeSet<String> = names(&self.world.root().join("run/blog/workers"))
            .into_iter()
            .filter_map(|name| name.split('.').next().map(str::to_owned))
            .collect();
        if records.len() != self.world.ps("blog").len() {
            left.push(PathBuf::from(format!("records {records:?}")));
        }
        if !left.is_empty() {
            self.fails(&format!("left over: {left:#?}"));
        }
    }

    fn fails(&self, why: &str) -> ! {
        panic!("{}\n{why}", self.story);
    }
}

fn expected_page(page: &str, config: &serde_json::Value) -> String {
    format!("{} {}\n", page.trim(), config["COLOUR"].as_str().unwrap_or("none"))
}

fn succeeded(push: Push) -> Result<String, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| push.succeeds()))
        .map_err(|why| why.downcast_ref::<String>().cloned().unwrap_or_default())
}

fn json(path: &Path) -> Result<serde_json::Value, String> {
    let text = fs::read(path).map_err(|err| format!("'{}': {err}", path.display()))?;
    serde_json::from_slice(&text).map_err(|err| format!("'{}': {err}", path.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// Xorshift: the same choices for the same seed, and no crate for it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn upto(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.upto(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
    }
}

fn tell(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), format!("{line}\n").as_bytes());
}
