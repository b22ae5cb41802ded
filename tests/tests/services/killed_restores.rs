//! Fault injection for `service:restore`: kill -9 of one of its processes at a random instant. The data is that of the dump or
//! that from before, as a whole, and the next try works.
//!
//! `PIKU_ROUNDS=20 cargo test -p piku-tests --test services killed_restores` goes on for longer.

use std::fs::{self, File};
use std::process::Command;

use piku_tests::random_kill::RandomKill;
use piku_tests::world::{World, wait_for};

use crate::{says, says_with};

/// Rounds where nobody asks for more.
const ROUNDS: u64 = 4;

/// Facts about a kind of server that the test needs.
struct RestoredKind<'a> {
    name: &'a str,
    /// Makes the data, all of it of this state.
    fill: &'a dyn Fn(&str) -> String,
    /// Prints what it is made of.
    ask: &'a str,
}

fn console(world: &World, input: &str) -> String {
    let out = says_with(world, "service:console blog", input.as_bytes());
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

fn restore(world: &World, state: &str) -> Command {
    let mut command = world.tool("piku-run");
    command.args(["service", "restore", "blog"]);
    command.stdin(File::open(world.path(&format!("home/{state}.dump"))).expect("the dump"));
    command
}

fn survives_kills(kind: &RestoredKind<'_>, longest: u64) {
    let world = World::new();
    says(&world, "laptop", &format!("service:create {}", kind.name), 0);
    says(&world, "laptop", "create blog", 0);
    says(&world, "laptop", &format!("service:bind {} blog", kind.name), 0);
    let states = ["old", "new"].map(|state| {
        console(&world, &(kind.fill)(state));
        let out = says_with(&world, "service:dump blog", b"");
        assert!(out.status.success(), "{out:?}");
        fs::write(world.path(&format!("home/{state}.dump")), out.stdout).expect("a dump");
        console(&world, kind.ask)
    });
    assert_ne!(states[0], states[1]);
    let mut random = RandomKill::new(longest, ROUNDS);
    for round in 0..random.rounds() {
        let state = if round % 2 == 0 { "old" } else { "new" };
        let (out, victim) = random.run(&mut restore(&world, state));
        // What it has left may still end in the server.
        let mut found = String::new();
        wait_for(&format!("one state after {victim}"), || {
            found = console(&world, kind.ask);
            states.contains(&found)
        });
        let expected = &states[usize::from(round % 2 == 1)];
        assert!(!out.status.success() || found == *expected, "{victim}: {found} {out:?}");
        let out = restore(&world, state).output().expect("piku-run");
        assert!(out.status.success(), "{victim}: {out:?}");
        assert_eq!(console(&world, kind.ask), *expected, "{victim}");
    }
}

#[test]
fn of_postgres() {
    let fill = |state: &str| {
        format!(
            "DROP TABLE IF EXISTS notes CASCADE;
            CREATE TABLE notes AS SELECT '{state}' AS word, repeat('x', 500) AS text FROM generate_series(1, 20000);
            CREATE VIEW words AS SELECT '{state}' AS view, word, count(*) FROM notes GROUP BY word;\n"
        )
    };
    survives_kills(&RestoredKind { name: "postgres", fill: &fill, ask: "SELECT * FROM words;\n" }, 700);
}

#[test]
fn of_mariadb() {
    let fill = |state: &str| {
        format!(
            "DROP TABLE IF EXISTS notes; DROP VIEW IF EXISTS words;
            CREATE TABLE notes AS SELECT '{state}' AS word, repeat('x', 500) AS text FROM seq_1_to_5000;
            CREATE TRIGGER {state}_checked BEFORE INSERT ON notes FOR EACH ROW SET NEW.word = lower(NEW.word);
            CREATE VIEW words AS SELECT '{state}' AS view, word, count(*) FROM notes GROUP BY word;\n"
        )
    };
    let ask = "SELECT * FROM words; SELECT trigger_name FROM information_schema.triggers;\n";
    survives_kills(&RestoredKind { name: "mariadb", fill: &fill, ask }, 1500);
}

#[test]
fn of_redis() {
    let keys: Vec<String> = (0..2000).map(|at| format!("key{at}")).collect();
    let fill =
        |state: &str| keys.iter().map(|key| ["SET ", key, " ", state, "\n"].concat()).collect::<String>();
    let ask = format!("MGET {}\n", keys.join(" "));
    survives_kills(&RestoredKind { name: "redis", fill: &fill, ask: &ask }, 800);
}
