//! Gaining rights.

use std::fs;
use std::process::Command;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 5] = [
    Row {
        name: "capabilities",
        attempt: "look for a capability in any of the five sets",
        expected: "none, and no_new_privs set",
        run: capabilities,
    },
    Row {
        name: "become-another",
        attempt: "setuid, setgid, setgroups, capset, ambient capabilities, secure bits",
        expected: "EPERM or EINVAL",
        run: become_another,
    },
    Row {
        name: "set-uid",
        attempt: "run a set-uid program of root's",
        expected: "euid unchanged",
        run: set_uid,
    },
    Row {
        name: "file-capabilities",
        attempt: "run a program that has file capabilities",
        expected: "no capability",
        run: file_capabilities,
    },
    Row {
        name: "core-file",
        attempt: "die so that the host's crash handler would be started",
        expected: "both limits on core files are 0, or 1 where a handler is set",
        run: core_file,
    },
];

fn status(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned()
}

fn capabilities(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let bits = status(set);
        ways.must_be(bits.bytes().all(|b| b == b'0'), &format!("{set} {bits}"), "empty");
    }
    let no_new = call!(libc::SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    ways.must_be(no_new == Ok(1), &format!("no_new_privs: {no_new:?}"), "no_new_privs");
    ways.verdict()
}

fn become_another(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let own = |name: &str| status(name).split_whitespace().next().and_then(|id| id.parse::<u32>().ok());
    let (uid, gid) = (own("Uid:"), own("Gid:"));
    for id in [0_u32, 1, 33, 1000, 65534] {
        if uid != Some(id) {
            ways.must_fail(&format!("setuid({id})"), call!(libc::SYS_setuid, id));
            ways.must_fail(&format!("setresuid({id})"), call!(libc::SYS_setresuid, id, id, id));
        }
        if gid != Some(id) {
            ways.must_fail(&format!("setgid({id})"), call!(libc::SYS_setgid, id));
            ways.must_fail(&format!("setresgid({id})"), call!(libc::SYS_setresgid, id, id, id));
        }
        ways.must_fail(&format!("setgroups({id})"), call!(libc::SYS_setgroups, 1, &id.to_ne_bytes()));
    }
    ways.must_fail("leave all groups", call!(libc::SYS_setgroups, 0, 0));
    // _LINUX_CAPABILITY_VERSION_3 and this process; then all bits of effective, permitted and inheritable, twice.
    let header = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat();
    let all = [u32::MAX; 6].map(u32::to_ne_bytes).concat();
    ways.must_fail("capset", call!(libc::SYS_capset, header.as_slice(), all.as_slice()));
    let raise = call!(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, 21, 0, 0);
    ways.must_fail("an ambient capability", raise);
    ways.must_fail("secure bits", call!(libc::SYS_prctl, libc::PR_SET_SECUREBITS, 0x10, 0, 0, 0));
    ways.must_fail("no_new_privs off", call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    for place in ["/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"] {
        ways.io(place, fs::write(place, "0 0 1"));
    }
    ways.verdict()
}

/// Runs a copy of this program and returns the user that it becomes.
fn whoami(program: &str) -> Result<Vec<String>, Verdict> {
    match Command::new(program).arg("whoami").output() {
        Ok(out) => Ok(String::from_utf8_lossy(&out.stdout).split_whitespace().map(str::to_owned).collect()),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => {
            Err(Verdict::Held("it cannot be started".to_owned()))
        }
        Err(err) => Err(Verdict::Untried(format!("cannot start {program}: {err}"))),
    }
}

fn set_uid(facts: &Facts) -> Verdict {
    let Some(program) = facts.get("suid") else { return not_told("suid") };
    match whoami(program).as_deref() {
        Ok([real, effective, capabilities, _]) => {
            let own = status("Uid:").split_whitespace().next().unwrap_or_default().to_owned();
            let mut ways = Ways::default();
            ways.must_be(
                *real == own && *effective == own,
                &format!("it became {real}/{effective}"),
                "euid unchanged",
            );
            ways.must_be(capabilities.bytes().all(|b| b == b'0'), capabilities, "no capability");
            ways.verdict()
        }
        Ok(said) => Verdict::Untried(format!("it said {said:?}")),
        Err(verdict) => verdict.clone(),
    }
}

fn file_capabilities(facts: &Facts) -> Verdict {
    let Some(program) = facts.get("filecap") else { return not_told("filecap") };
    match whoami(program).as_deref() {
        Ok([_, _, capabilities, _]) => {
            let mut ways = Ways::default();
            ways.must_be(capabilities.bytes().all(|b| b == b'0'), capabilities, "no capability");
            ways.verdict()
        }
        Ok(said) => Verdict::Untried(format!("it said {said:?}")),
        Err(verdict) => verdict.clone(),
    }
}

/// A handler behind a pipe or a socket gets a core dump whatever the limit is, except for 1.
fn core_file(_: &Facts) -> Verdict {
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let wanted = if pattern.starts_with(b"|") || pattern.starts_with(b"@") { "1" } else { "0" };
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    match line.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).as_deref() {
        Some([soft, hard]) if [soft, hard].iter().all(|limit| **limit == wanted) => {
            Verdict::Held(format!("both limits on core files are {wanted}"))
        }
        Some([soft, hard]) => {
            Verdict::Broken(format!("a core file may have {soft} bytes, and {hard} when asked for"))
        }
        _ => Verdict::Untried("cannot read /proc/self/limits".to_owned()),
    }
}
