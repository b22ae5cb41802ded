//! What a jail costs, beside what it is made of: `cargo bench -p piku-chroot`. Start-up is measured in turn, so that a busy
//! machine slows all of them alike; the ratios are what counts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made is none")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use piku_chroot::jail::Jail;

const ROUNDS: usize = 200;
/// How many stand beside each other when their memory is measured.
const JAILS: usize = 20;

fn main() {
    let jailed = || Jail::new().command([("A", "1")], &["true".to_owned()]);
    let unshared = || {
        let mut command = Command::new("unshare");
        command.args(["-Urmpf", "true"]);
        command
    };
    let mut subjects = [
        ("true", Vec::new(), Command::new("true")),
        ("unshare -Urmpf true", Vec::new(), unshared()),
        ("piku-chroot --root-from-host -- true", Vec::new(), jailed()),
    ];
    for _ in 0..ROUNDS {
        for (_, times, command) in &mut subjects {
            let start = Instant::now();
            assert!(command.status().unwrap().success(), "{command:?}");
            times.push(start.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let base = median(&mut subjects[0].1);
    for (name, times, _) in &mut subjects {
        let time = median(times);
        println!("{name:<40} {time:7.3} ms  {:5.2} times true", time / base);
    }
    for count in [1, JAILS] {
        println!("{count:>2} jails: {:.0} kB PSS for monitor and stub of each", memory(count));
    }
}

/// What each of so many jails needs when they have come to rest.
fn memory(count: usize) -> f64 {
    let argv = ["sleep".to_owned(), "600".to_owned()];
    let start = || Jail::new().command([("A", "1")], &argv).stdout(Stdio::null()).spawn().unwrap();
    let mut jails: Vec<Child> = (0..count).map(|_| start()).collect();
    // They give memory back after a second.
    thread::sleep(Duration::from_millis(2500));
    let sum: f64 = jails.iter().map(|jail| pss(jail.id()) + pss(child_of(jail.id()))).sum();
    for jail in &mut jails {
        jail.kill().unwrap();
        jail.wait().unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "it is a small number")]
    let count = count as f64;
    sum / count
}

fn child_of(pid: u32) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().parse().unwrap()
}

/// In kB.
fn pss(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
