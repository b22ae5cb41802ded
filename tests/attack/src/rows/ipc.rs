//! Shared memory, semaphores and queues of the host.

use std::fs;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 2] = [
    Row {
        name: "sysv",
        attempt: "find SysV memory, semaphores and queues of the host by key, number and in /proc",
        expected: "not there",
        run: sysv,
    },
    Row {
        name: "posix",
        attempt: "open POSIX shared memory and message queues of the host",
        expected: "not there",
        run: posix,
    },
];

/// `KEY:ID`.
fn object(fact: &str) -> Option<(i32, i32)> {
    let (key, id) = fact.split_once(':')?;
    Some((key.parse().ok()?, id.parse().ok()?))
}

fn sysv(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let mut told = false;
    // What the kernel writes about an object has less than that on every machine.
    let mut about = [0_u8; 512];
    for (key, id) in facts.all("shm").filter_map(object) {
        told = true;
        ways.must_fail("shmget", call!(libc::SYS_shmget, key, 0, 0));
        ways.must_fail("shmctl", call!(libc::SYS_shmctl, id, libc::IPC_STAT, &mut about[..]));
        ways.must_fail("shmat", call!(libc::SYS_shmat, id, 0, libc::SHM_RDONLY));
    }
    for (key, id) in facts.all("sem").filter_map(object) {
        told = true;
        ways.must_fail("semget", call!(libc::SYS_semget, key, 0, 0));
        ways.must_fail("semctl", call!(libc::SYS_semctl, id, 0, libc::IPC_STAT, &mut about[..]));
    }
    for (key, id) in facts.all("msg").filter_map(object) {
        told = true;
        ways.must_fail("msgget", call!(libc::SYS_msgget, key, 0));
        ways.must_fail("msgctl", call!(libc::SYS_msgctl, id, libc::IPC_STAT, &mut about[..]));
        ways.must_fail("msgrcv", call!(libc::SYS_msgrcv, id, &mut about[..], 64, 0, libc::IPC_NOWAIT));
    }
    if !told {
        return not_told("shm");
    }
    for name in ["shm", "sem", "msg"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
        ways.must_be(table.lines().count() <= 1, &format!("/proc/sysvipc/{name}"), "no entry");
    }
    ways.verdict()
}

fn posix(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for name in facts.all("memory") {
        let path = format!("/dev/shm/{name}");
        ways.io(&path, fs::File::open(&path));
    }
    for name in facts.all("queue") {
        let text = format!("{name}\0");
        let answer = call!(libc::SYS_mq_open, text.as_bytes(), libc::O_RDONLY | libc::O_CLOEXEC, 0, 0);
        ways.must_fail(&format!("queue {name}"), answer.map(sys::own));
        ways.must_fail(&format!("unlink queue {name}"), call!(libc::SYS_mq_unlink, text.as_bytes()));
    }
    if facts.get("memory").or(facts.get("queue")).is_none() { not_told("memory") } else { ways.verdict() }
}
