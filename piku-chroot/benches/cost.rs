//! The cost of a jail, beside its parts: `cargo bench -p piku-chroot`. Start-up is measured in turn,
//! so that a busy machine slows all of them alike; the ratios are what counts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made is none")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;

const ROUNDS: usize = 200;
/// Number of jails whose memory is measured together.
const JAILS: usize = 20;

/// Nobody's uid and gid on every Linux: as root the jails would have other mounts than a user's.
const NOBODY: u32 = 65534;

fn main() {
    let argv = ["true".to_owned()];
    let jailed = || JailSpec::new().command([("A", "1")], &argv);
    let mut subjects = vec![
        ("true", Vec::new(), words("true")),
        ("sh -c true", Vec::new(), words("sh -c :")),
        ("unshare -Urmpf true", Vec::new(), words("unshare -Urmpf true")),
        ("piku-chroot --root-from-host", Vec::new(), jailed()),
        (
            "piku-chroot --profile run",
            Vec::new(),
            JailSpec::profile(BuiltinProfile::Run).command([("A", "1")], &argv),
        ),
    ];
    if Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok() {
        subjects.push(("bubblewrap, the same layers", Vec::new(), bubblewrap(&mut jailed())));
    } else {
        println!("skipped: bubblewrap is not installed");
    }
    if nix::unistd::geteuid().is_root() {
        for (.., command) in &mut subjects {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
    }
    for _ in 0..ROUNDS {
        for (_, times, command) in &mut subjects {
            let start = Instant::now();
            assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
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

fn words(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// bubblewrap with what a jail has: its namespaces, its devices, its memory, and each thing that is in the
/// jail's `/etc`.
fn bubblewrap(jailed: &mut Command) -> Command {
    let mut command = words(
        "bwrap --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --new-session --die-with-parent \
         --cap-drop ALL --clearenv --hostname jail --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin \
         --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --dir /run --dir /home",
    );
    let mut listing = Command::new(jailed.get_program());
    let options: Vec<_> = jailed.get_args().take_while(|arg| *arg != "--").collect();
    let listed = listing.args(options).args(["--", "ls", "/etc"]).output().unwrap();
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        let path = format!("/etc/{}", if name == "ssl" { "ssl/certs" } else { name });
        command.args(["--ro-bind-try", &path, &path]);
    }
    command.args(["--remount-ro", "/", "--", "true"]);
    command
}

/// Returns the memory of each of so many idle jails.
fn memory(count: usize) -> f64 {
    let argv = ["sleep".to_owned(), "600".to_owned()];
    let start = || JailSpec::new().command([("A", "1")], &argv).stdout(Stdio::null()).spawn().unwrap();
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
