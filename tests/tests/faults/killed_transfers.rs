//! Fault injection for what changes much at once: kill -9 of one process of `data:import`, `config:import`, `restore`
//! or `rename` at a random instant. Afterwards the app serves, its data and its settings are of one state as a
//! whole, and the next try works.
//!
//! `PIKU_ROUNDS=50 cargo test -p piku-tests --test faults transfers` goes on for longer.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use piku_tests::random_kill::RandomKill;
use piku_tests::world::{PATIENCE, World, wait_for};

/// Rounds of each verb where nobody asks for more.
const ROUNDS: u64 = 5;
/// Files of an archive.
const FILES: usize = 300;
/// Settings of a file.
const SETTINGS: usize = 20;

/// A world with the app `blog`.
fn live() -> World {
    let world = World::new();
    world.repo("blog").serves("page\n").commit("One").push().succeeds();
    world
}

/// A world with the app `blog`, its data, and a backup of both.
fn saved() -> (World, PathBuf) {
    let world = live();
    succeeds(&world, &["data", "blog", "import"], Some(&archive(&world, "old")));
    let out = command(&world, &["backup", "blog"], None).output().expect("piku-run");
    let backup = world.path("home/backup");
    fs::write(&backup, &out.stdout).expect("the backup");
    (world, backup)
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

/// Returns the command with these words of piku-run and this file as stdin.
fn command(world: &World, words: &[&str], input: Option<&PathBuf>) -> Command {
    let mut command = world.tool("piku-run");
    command
        .args(words)
        .stdin(input.map_or_else(Stdio::null, |path| File::open(path).expect("the input").into()));
    command
}

fn succeeds(world: &World, words: &[&str], input: Option<&PathBuf>) {
    let out = command(world, words, input).output().expect("piku-run");
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn deploy(world: &World, app: &str) {
    let out = world.tool("piku-receive").args(["deploy", app]).output().expect("piku-receive");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
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
    let mut random = RandomKill::new(350, ROUNDS);
    for round in 0..random.rounds() {
        let (out, victim) = random.run(&mut command(&world, &["data", "blog", "import"], Some(&archives[1])));
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
    let mut random = RandomKill::new(700, ROUNDS);
    for round in 1..=random.rounds() {
        let path = settings(round);
        let (out, victim) = random.run(&mut command(&world, &["config", "blog", "import"], Some(&path)));
        await_state(&victim, "settings", || values().len() == 1, || format!("{:?} {out:?}", values()));
        wait_for("the page", || world.try_page("blog").is_some_and(|page| page == "page\n"));
        succeeds(&world, &["config", "blog", "import"], Some(&path));
        assert_eq!(values(), [format!("\"{round}\"")], "{victim}");
    }
}

#[test]
fn killed_replacements_leave_an_app_that_serves() {
    let (world, backup) = saved();
    let mut random = RandomKill::new(2500, ROUNDS);
    for _ in 0..random.rounds() {
        let words = ["restore", "blog", "--replace"];
        let (out, victim) = random.run(&mut command(&world, &words, Some(&backup)));
        // One that has outlived a killed part of its deploy says so.
        let said = String::from_utf8_lossy(&out.stderr);
        if said.contains("it is not deployed; to try again: piku deploy blog") {
            deploy(&world, "blog");
        }
        let serves = || world.try_page("blog").is_some_and(|page| page == "page\n");
        await_state(&victim, "it serves", serves, || format!("{said} {}", world.logs()));
        assert_eq!(contents(&world), ["old"], "{victim}");
        succeeds(&world, &words, Some(&backup));
        assert_eq!(
            (world.page("blog").as_str(), contents(&world)),
            ("page\n", vec!["old".to_owned()]),
            "{victim}"
        );
    }
}

#[test]
fn killed_restores_leave_an_app_that_serves_or_none() {
    let (world, backup) = saved();
    let mut random = RandomKill::new(2000, ROUNDS);
    for round in 0..random.rounds() {
        let name = format!("new{round}");
        let words = ["restore", "blog", "--as", &name];
        let (out, victim) = random.run(&mut command(&world, &words, Some(&backup)));
        let said = String::from_utf8_lossy(&out.stderr);
        let is_there = || world.app(&name).join("repo.git").exists();
        if said.contains("it is not deployed; to try again") {
            deploy(&world, &name);
        } else if !is_there() {
            succeeds(&world, &words, Some(&backup));
        }
        let serves = || world.try_page(&name).is_some_and(|page| page == "page\n");
        await_state(&victim, "it serves", serves, || format!("{said} {}", world.logs()));
        succeeds(&world, &["destroy", &name, "--confirm", &name, "--now"], None);
    }
}

#[test]
fn killed_renamings_leave_an_app_that_serves() {
    let world = live();
    let mut random = RandomKill::new(500, ROUNDS);
    for _ in 0..random.rounds() {
        let is_blog = world.app("blog").exists();
        let (from, to) = if is_blog { ("blog", "shop") } else { ("shop", "blog") };
        let (_, victim) = random.run(&mut command(&world, &["rename", from, to], None));
        let is_whole = || {
            let is_between = ["blog", "shop"].iter().any(|app| world.app(app).join("renaming.json").exists());
            let app = if world.app("blog").exists() { "blog" } else { "shop" };
            !is_between && world.try_page(app).is_some_and(|page| page == "page\n")
        };
        await_state(&victim, "it serves", is_whole, || world.logs());
    }
}

/// An app that a killed replacement has stopped runs again, without a new daemon.
#[test]
fn a_replacement_that_is_killed_before_it_replaces_starts_the_app_again() {
    let (world, backup) = saved();
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
