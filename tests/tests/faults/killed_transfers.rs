//! Fault injection for what changes much at once: kill -9 of one process of `data:import`, `config:import`
//! or `restore --replace` at a random instant. Afterwards the app serves, its data and its settings are of one state as a
//! whole, and the next try works.
//!
//! `PIKU_ROUNDS=50 cargo test -p piku-tests --test faults transfers` goes on for longer.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use piku_tests::processes;
use piku_tests::world::{PATIENCE, World, wait_for};

/// Rounds of each verb where nobody asks for more.
const ROUNDS: u64 = 5;
/// Files of an archive.
const FILES: usize = 300;
/// Settings of a file.
const SETTINGS: usize = 20;

fn rounds() -> u64 {
    std::env::var("PIKU_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// A world with the app `blog`.
fn live() -> World {
    let world = World::new();
    world.repo("blog").serves("page\n").commit("One").push().succeeds();
    world
}

/// Returns an archive of many files with this content.
fn archive(world: &World, content: &str) -> PathBuf {
    let (tree, path) = (world.path(&format!("home/{content}")), world.path(&format!("home/{content}.tar")));
    for at in 0..FILES {
        let folder = tree.join(format!("dir{}", at % 7));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("file{at}")), content.repeat(1000)).expect("a file");
    }
    let status = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&path).arg(".").status();
    assert!(status.expect("tar").success());
    path
}

/// Returns what the data is made of, and what else is there.
fn contents(world: &World) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let data = world.app("blog").join("data");
    for at in 0..FILES {
        let text = fs::read_to_string(data.join(format!("dir{}/file{at}", at % 7))).unwrap_or_default();
        let kind = if text.len() % 3000 == 0 { text.get(..3).unwrap_or("none") } else { "half" };
        found.push(kind.to_owned());
    }
    let hidden = fs::read_dir(&data).into_iter().flatten().flatten();
    let hidden = hidden.map(|entry| entry.file_name().to_string_lossy().into_owned());
    found.extend(hidden.filter(|name| name.starts_with(".piku")));
    found.sort();
    found.dedup();
    found
}

/// Runs `words` of piku-run with this file as stdin, and kills one of its processes, unless `random` is `None`.
fn run(
    world: &World,
    words: &[&str],
    input: Option<&PathBuf>,
    random: Option<&mut Random>,
) -> (Output, String) {
    let mut command = world.tool("piku-run");
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(input.map_or_else(Stdio::null, |path| File::open(path).expect("the input").into()));
    let began = Instant::now();
    let child = command.spawn().expect("piku-run");
    let mut victim = String::new();
    if let Some(random) = random {
        thread::sleep(Duration::from_millis(random.below(random.usual)));
        let all = family(i32::try_from(child.id()).expect("a pid"));
        let at = usize::try_from(random.below(all.len() as u64)).unwrap_or_default();
        if let Some(pid) = all.get(at) {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            victim = format!("{} after {:?}", line.replace('\0', " "), began.elapsed());
            processes::kill_all(&[*pid]);
        }
    }
    let out = child.wait_with_output().expect("piku-run");
    (out, victim)
}

/// Returns a process with all of its descendants.
fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(processes::children(all[at]));
        at += 1;
    }
    all
}

fn succeeds(world: &World, words: &[&str], input: Option<&PathBuf>) {
    let (out, _) = run(world, words, input, None);
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Waits for an end; panics with the story.
fn await_state(victim: &str, what: &str, is: impl Fn() -> bool, found: impl Fn() -> String) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < PATIENCE, "{what}: {victim}: {}", found());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_data_imports_leave_all_of_an_archive_or_nothing() {
    let world = live();
    let archives = ["old", "new"].map(|content| archive(&world, content));
    succeeds(&world, &["data", "blog", "import"], Some(&archives[0]));
    assert_eq!(contents(&world), ["old"]);
    let mut random = Random::new(350);
    for round in 0..rounds() {
        let (out, victim) = run(&world, &["data", "blog", "import"], Some(&archives[1]), Some(&mut random));
        let is_whole = || matches!(&contents(&world)[..], [one] if ["old", "new"].contains(&one.as_str()));
        await_state(&victim, &format!("round {round}"), is_whole, || {
            format!("{:?} {out:?}", contents(&world))
        });
        assert!(!out.status.success() || contents(&world) == ["new"], "{victim}: {out:?}");
        for (path, content) in archives.iter().zip(["old", "new"]).rev() {
            succeeds(&world, &["data", "blog", "import"], Some(path));
            assert_eq!(contents(&world), [content], "{victim}");
        }
    }
}

#[test]
fn killed_config_imports_leave_all_settings_or_none() {
    let world = live();
    let settings = |value: u64| {
        let path = world.path(&format!("home/settings{value}"));
        let mut file = File::create(&path).expect("a file");
        for at in 0..SETTINGS {
            writeln!(file, "NAME{at}={value}").expect("a line");
        }
        path
    };
    let values = || {
        let read = |path: PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            (0..SETTINGS).map(|at| config[format!("NAME{at}")].to_string()).collect::<Vec<_>>()
        };
        let app = world.app("blog");
        let mut all = [read(app.join("config.json")), read(app.join("current/config.json"))].concat();
        all.sort();
        all.dedup();
        all
    };
    succeeds(&world, &["config", "blog", "import"], Some(&settings(0)));
    let mut random = Random::new(700);
    for round in 1..=rounds() {
        let path = settings(round);
        let (out, victim) = run(&world, &["config", "blog", "import"], Some(&path), Some(&mut random));
        await_state(&victim, "settings", || values().len() == 1, || format!("{:?} {out:?}", values()));
        wait_for("the page", || world.try_page("blog").is_some_and(|page| page == "page\n"));
        succeeds(&world, &["config", "blog", "import"], Some(&path));
        assert_eq!(values(), [format!("\"{round}\"")], "{victim}");
    }
}

#[test]
fn killed_replacements_leave_an_app_that_serves() {
    let world = live();
    succeeds(&world, &["data", "blog", "import"], Some(&archive(&world, "old")));
    let (out, _) = run(&world, &["backup", "blog"], None, None);
    let backup = world.path("home/backup");
    fs::write(&backup, &out.stdout).expect("the backup");
    let mut random = Random::new(2500);
    for _ in 0..rounds() {
        let words = ["restore", "blog", "--replace"];
        let (_, victim) = run(&world, &words, Some(&backup), Some(&mut random));
        // After the old app is gone, only the deploy is missing.
        let is_replaced = || !world.app("blog").join("current").exists();
        let serves = || world.try_page("blog").is_some_and(|page| page == "page\n");
        await_state(&victim, "it serves", || is_replaced() || serves(), || world.logs());
        assert_eq!(contents(&world), ["old"], "{victim}");
        succeeds(&world, &words, Some(&backup));
        assert_eq!(
            (world.page("blog").as_str(), contents(&world)),
            ("page\n", vec!["old".to_owned()]),
            "{victim}"
        );
    }
}

/// An app that a killed replacement has stopped runs again, without a new daemon.
#[test]
fn a_replacement_that_is_killed_before_it_replaces_starts_the_app_again() {
    let world = live();
    succeeds(&world, &["data", "blog", "import"], Some(&archive(&world, "old")));
    let (out, _) = run(&world, &["backup", "blog"], None, None);
    let backup = world.path("home/backup");
    fs::write(&backup, &out.stdout).expect("the backup");
    let paused = world.root().join("run/blog/paused");
    let mut is_killed = false;
    for _ in 0..10 {
        let mut restore = world.tool("piku-run");
        restore.args(["restore", "blog", "--replace"]).stdin(File::open(&backup).expect("the backup"));
        let mut restore = restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("piku-run");
        while restore.try_wait().expect("its end").is_none() {
            if paused.exists() && !is_killed {
                is_killed = true;
                restore.kill().expect("it runs");
            }
        }
        if is_killed {
            break;
        }
    }
    assert!(is_killed, "it was too quick each time");
    wait_for("the page", || !paused.exists() && world.try_page("blog").is_some_and(|page| page == "page\n"));
}

/// Xorshift: the same choices for the same seed, and no crate for it.
struct Random {
    state: u64,
    /// Longest time until a kill in milliseconds.
    usual: u64,
}

impl Random {
    fn new(usual: u64) -> Self {
        Self { state: (u64::from(std::process::id()) * 7919) | 1, usual }
    }

    fn below(&mut self, count: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % count.max(1)
    }
}
