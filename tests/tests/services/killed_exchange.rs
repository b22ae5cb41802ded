//! kill -9 in the last step of a restore of `MariaDB`, in which the tables move and what belongs to them is made again: the
//! data is that of the dump or that from before, and never without its views, triggers, routines and events.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use piku_tests::processes;
use piku_tests::world::{World, wait_for, wait_long};

use crate::{says, says_with};

/// An instant of the exchange: a part of the statements of one of its two files.
struct KillPoint {
    file: &'static str,
    /// Percentage of its lines; 99 is all but the last one.
    lines: u32,
    victim: KillVictim,
    /// The state that the data has then.
    state: &'static str,
}

/// Processes that are killed, and with that who recovers.
#[derive(Clone, Copy, PartialEq)]
enum KillVictim {
    /// The command and its client; its guard recovers.
    Command,
    /// The client alone; the command recovers.
    Client,
    /// The server, under the command.
    Server,
    /// The command and its guard; the next command recovers.
    CommandAndGuard,
    /// The same and the daemon; the next daemon recovers.
    All,
}

const POINTS: [KillPoint; 9] = [
    KillPoint { file: "swap", lines: 0, victim: KillVictim::Command, state: "old" },
    KillPoint { file: "swap", lines: 40, victim: KillVictim::CommandAndGuard, state: "old" },
    KillPoint { file: "swap", lines: 70, victim: KillVictim::Server, state: "old" },
    KillPoint { file: "swap", lines: 99, victim: KillVictim::Client, state: "old" },
    KillPoint { file: "swap", lines: 100, victim: KillVictim::All, state: "new" },
    KillPoint { file: "finish", lines: 0, victim: KillVictim::Command, state: "new" },
    KillPoint { file: "finish", lines: 30, victim: KillVictim::Server, state: "new" },
    KillPoint { file: "finish", lines: 60, victim: KillVictim::CommandAndGuard, state: "new" },
    KillPoint { file: "finish", lines: 100, victim: KillVictim::Command, state: "new" },
];

/// Stops at the point that the file `stop-at` names, after the statements up to there.
const STOP: &str = r#"exec 3>&2
exchanging() {
    read -r name lines </app/stop-at
    cp -- "$1" "$files/until"
    if [ "${1##*/}" = "$name" ]; then
        count=$(wc -l <"$1")
        case $lines in 99) count=$((count - 1)) ;; *) count=$((count * lines / 100)) ;; esac
        head -n "$count" "$1" >"$files/until"
    fi
    { echo "DO GET_LOCK('$session', 60); SET foreign_key_checks = 0;" && cat "$files/until"; } | run --database="$own" --force || :
    [ "${1##*/}" != "$name" ] || { echo stopped >&3 && sleep 60; }
}
"#;

/// Prints everything that a state is made of.
const ASK: &str = "SELECT * FROM words; SELECT * FROM first_word; CALL say(); SELECT twice(2);
SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1;
SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE();
SELECT count(*) AS tables FROM information_schema.tables WHERE table_schema = DATABASE();
SHOW DATABASES LIKE '%blog';
";

/// Returns the statements that make a state.
fn fill(state: &str) -> String {
    format!(
        "DROP TABLE IF EXISTS notes, counts; DROP VIEW IF EXISTS words, first_word; DROP PROCEDURE IF EXISTS say;
        DROP FUNCTION IF EXISTS twice; DROP EVENT IF EXISTS daily_old; DROP EVENT IF EXISTS daily_new;
        CREATE TABLE notes (word varchar(9)); CREATE TABLE counts (total int);
        CREATE TRIGGER {state}_counted AFTER INSERT ON notes FOR EACH ROW UPDATE counts SET total = total + 1;
        CREATE TRIGGER {state}_checked BEFORE INSERT ON notes FOR EACH ROW SET NEW.word = lower(NEW.word);
        INSERT INTO counts VALUES (0); INSERT INTO notes VALUES ('{state}');
        CREATE VIEW words AS SELECT '{state}' AS view, word, total FROM notes, counts;
        CREATE VIEW first_word AS SELECT min(word) AS {state} FROM words;
        CREATE PROCEDURE say() SELECT '{state}' AS said;
        CREATE FUNCTION twice(n int) RETURNS varchar(20) RETURN concat(n, ' {state}');
        CREATE EVENT daily_{state} ON SCHEDULE EVERY 1 DAY DO INSERT INTO notes VALUES ('{state}');\n"
    )
}

fn console(world: &World, input: &str) -> String {
    let out = says_with(world, "service:console blog", input.as_bytes());
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// Installs a kind whose restore stops at a point.
fn install_kind(world: &World) {
    let (from, to) = (world.path("lib/services/mariadb"), world.root().join("services.d/mariadb"));
    fs::create_dir_all(&to).expect("the kind");
    for entry in fs::read_dir(from).expect("the kind of piku") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a program");
    }
    let path = to.join("restore");
    let text = fs::read_to_string(&path).expect("restore");
    let sourced = ". /app/exchange.sh\n";
    assert!(text.contains(sourced));
    fs::write(path, text.replacen(sourced, &[sourced, STOP].concat(), 1)).expect("restore");
}

/// Starts a restore, and returns it and its error output when it has come to the point.
fn start_restore(world: &World, state: &str) -> (Child, impl BufRead + use<>) {
    let mut command = world.tool("piku-run");
    command.args(["service", "restore", "blog"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.stdin(File::open(world.path(&format!("home/{state}.dump"))).expect("the dump"));
    let mut child = command.spawn().expect("piku-run");
    let mut said = BufReader::new(child.stderr.take().expect("its output"));
    let mut lines = String::new();
    while !lines.contains("stopped\n") {
        assert_ne!(said.read_line(&mut lines).expect("a line"), 0, "{lines}");
    }
    (child, said)
}

fn kill(world: &mut World, victim: KillVictim, child: &mut Child) {
    let pid = i32::try_from(child.id()).expect("a pid");
    let is_guard = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("recover")
    };
    let all = processes::family(pid);
    let guard: Vec<i32> = all.iter().copied().filter(is_guard).collect();
    assert!(!guard.is_empty());
    if matches!(victim, KillVictim::CommandAndGuard | KillVictim::All) {
        processes::kill_all(&guard);
    }
    if victim == KillVictim::All {
        world.end_daemon(Signal::SIGKILL);
    }
    if victim == KillVictim::Server {
        let server = world.ps("mariadb")[0]["pid"].as_i64().expect("a pid");
        processes::kill_all(&[i32::try_from(server).expect("a pid")]);
    }
    if matches!(victim, KillVictim::Client | KillVictim::Server) {
        // The client's last process is the one that sleeps.
        let clients: Vec<i32> = all.into_iter().filter(|one| *one != pid && !guard.contains(one)).collect();
        processes::kill_all(&clients);
        child.wait().expect("piku-run");
        return;
    }
    processes::kill_all(&[pid]);
    child.wait().expect("piku-run");
}

#[test]
fn killed_exchange_leaves_no_database_without_its_views() {
    let mut world = World::new();
    install_kind(&world);
    fs::write(world.root().join("services.d/mariadb/stop-at"), "none 0\n").expect("the point");
    says(&world, "laptop", "service:create mariadb", 0);
    says(&world, "laptop", "create blog", 0);
    says(&world, "laptop", "service:bind mariadb blog", 0);
    let states = ["old", "new"].map(|state| {
        assert_eq!(console(&world, &fill(state)), "");
        let out = says_with(&world, "service:dump blog", b"");
        assert!(out.status.success(), "{out:?}");
        fs::write(world.path(&format!("home/{state}.dump")), out.stdout).expect("a dump");
        console(&world, ASK)
    });
    assert!(states[0] != states[1] && states[0].contains("daily_old"), "{}", states[0]);
    for point in &POINTS {
        let name = format!("{} {}", point.file, point.lines);
        assert_eq!(console(&world, &fill("old")), "");
        fs::write(world.root().join("services.d/mariadb/stop-at"), format!("{name}\n")).expect("the point");
        let (mut child, _said) = start_restore(&world, "new");
        kill(&mut world, point.victim, &mut child);
        let marks = world.root().join("services/mariadb/restores");
        let is_recovered = || fs::read_dir(&marks).is_ok_and(|mut marks| marks.next().is_none());
        match point.victim {
            KillVictim::CommandAndGuard => assert!(!is_recovered()),
            KillVictim::All => {
                world.start_daemon();
                wait_long(&name, is_recovered);
            }
            _ => wait_long(&name, is_recovered),
        }
        wait_for("the server", || !console(&world, "SELECT 1;\n").contains("connect"));
        let expected = &states[usize::from(point.state == "new")];
        assert_eq!(console(&world, ASK), *expected, "{name}");
        assert!(is_recovered());
    }
}
