//! Processes outside, and signals that must stay inside.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::process1;
use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 6] = [
    Row {
        name: "outside-seen",
        attempt: "find processes of the host, or what their environment holds, in /proc",
        expected: "no such process",
        run: seen,
    },
    Row {
        name: "outside-signals",
        attempt: "signal processes outside, the caller too, by each call there is",
        expected: "no such process",
        run: signals,
    },
    Row {
        name: "outside-trace",
        attempt: "ptrace a process outside, read and write its memory",
        expected: "no such process",
        run: trace,
    },
    Row {
        name: "signal-all",
        attempt: "kill(-1) with SIGTERM and SIGKILL",
        expected: "only its own",
        run: signal_all,
    },
    Row { name: "signal-group", attempt: "kill(0)", expected: "only its own", run: signal_group },
    Row { name: "orphans", attempt: "leave 1000 orphans", expected: "no zombie left", run: orphans },
];

/// Returns the processes outside that are known.
fn told(facts: &Facts) -> Vec<i32> {
    let pids = facts.numbers("pid").into_iter().chain(facts.numbers("parent"));
    pids.filter_map(|pid| i32::try_from(pid).ok()).collect()
}

fn seen(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for pid in told(facts) {
        ways.must_be(!Path::new(&format!("/proc/{pid}")).exists(), &format!("/proc/{pid}"), "not there");
    }
    let Some(text) = facts.get("text") else { return not_told("text") };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        let found = environ.windows(text.len()).any(|window| window == text.as_bytes());
        ways.must_be(!found, &entry.path().join("environ").display().to_string(), "not in any environment");
    }
    ways.verdict()
}

fn signals(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for pid in told(facts) {
        // Signal 0 is nothing but the question; who may ask may send.
        ways.must_fail(&format!("kill({pid})"), sys::kill(pid, 0));
        ways.must_fail(&format!("kill(-{pid})"), sys::kill(-pid, 0));
        ways.must_fail(&format!("tgkill({pid})"), call!(libc::SYS_tgkill, pid, pid, 0));
        ways.must_fail(&format!("tkill({pid})"), call!(libc::SYS_tkill, pid, 0));
        ways.must_fail(&format!("pidfd_open({pid})"), call!(libc::SYS_pidfd_open, pid, 0));
        ways.must_fail(&format!("getsid({pid})"), call!(libc::SYS_getsid, pid));
        ways.must_fail(
            &format!("prlimit({pid})"),
            call!(libc::SYS_prlimit64, pid, libc::RLIMIT_NOFILE, 0, 0),
        );
        ways.must_fail(
            &format!("setpriority({pid})"),
            call!(libc::SYS_setpriority, libc::PRIO_PROCESS, pid, 5),
        );
    }
    ways.verdict()
}

fn trace(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let address = facts.number("address").unwrap_or(0x1000);
    for pid in told(facts) {
        for (what, answer) in process1::attempts(pid, address) {
            ways.must_fail(&format!("{what} of {pid}"), answer);
        }
        let memory = format!("/proc/{pid}/mem");
        ways.io(&memory, fs::File::open(&memory));
    }
    ways.verdict()
}

fn signal_all(_: &Facts) -> Verdict {
    sys::ignore(libc::SIGTERM);
    let mut signals = vec![libc::SIGTERM];
    // Who calls it is spared; when that is the command itself nobody is left whom it would hurt.
    if std::os::unix::process::parent_id() == 1 {
        signals.push(libc::SIGKILL);
    }
    for signal in &signals {
        if let Err(errno) = sys::kill(-1, *signal) {
            if errno != libc::ESRCH {
                return Verdict::Broken(format!("kill(-1, {signal}): {}", sys::name(errno)));
            }
        }
    }
    // What process 1 got it passes on, a moment later.
    thread::sleep(Duration::from_millis(100));
    Verdict::Held(format!(
        "sent {} to all, and those who were told of outside are looked at there",
        signals.len()
    ))
}

fn signal_group(_: &Facts) -> Verdict {
    sys::ignore(libc::SIGTERM);
    match sys::kill(0, libc::SIGTERM) {
        Ok(_) => Verdict::Held("sent to the group".to_owned()),
        Err(errno) => Verdict::Held(sys::name(errno)),
    }
}

fn orphans(_: &Facts) -> Verdict {
    const ORPHANS: usize = 1000;
    for _ in 0..ORPHANS {
        let left = sys::child(|| match sys::start(|| 0) {
            Ok(_) => 0,
            Err(_) => 1,
        });
        if left != Ok(sys::Ended::Code(0)) {
            return Verdict::Untried(format!("cannot start so many processes: {left:?}"));
        }
    }
    // Whoever reaps them needs a moment.
    for _ in 0..500 {
        if zombies() == 0 {
            return Verdict::Held("no zombie left".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Verdict::Broken(format!("{} zombies", zombies()))
}

fn zombies() -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let states = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    states.filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))).count()
}
