//! Exhausting resources. Only with a known limit, and only a little beyond it: if nothing holds, the host
//! must not be harmed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::{self, Child, Ended};
use crate::verdict::Verdict;

pub(crate) const ROWS: [Row; 4] = [
    Row { name: "fill-tmp", attempt: "fill /tmp", expected: "ENOSPC at the limit", run: fill_tmp },
    Row { name: "fill-shm", attempt: "fill /dev/shm", expected: "ENOSPC at the limit", run: fill_shm },
    Row {
        name: "fork-bomb",
        attempt: "start more processes than allowed",
        expected: "EAGAIN at the limit",
        run: fork_bomb,
    },
    Row {
        name: "memory-hog",
        attempt: "take more memory than allowed",
        expected: "ENOMEM, or the whole group is killed",
        run: memory_hog,
    },
];

const MEGABYTE: usize = 1 << 20;

fn fill_tmp(facts: &Facts) -> Verdict {
    facts.number("tmp").map_or_else(|| not_told("tmp"), |limit| fill(Path::new("/tmp"), limit))
}

fn fill_shm(facts: &Facts) -> Verdict {
    facts.number("devshm").map_or_else(|| not_told("devshm"), |limit| fill(Path::new("/dev/shm"), limit))
}

fn fill(folder: &Path, limit: usize) -> Verdict {
    let path = folder.join("piku-attack-fill");
    let mut file = match fs::File::create_new(&path) {
        Ok(file) => file,
        Err(err) => return Verdict::Untried(format!("cannot write to {}: {err}", folder.display())),
    };
    let block = vec![1; MEGABYTE];
    let mut written = 0;
    let verdict = loop {
        if written > limit + MEGABYTE {
            break Verdict::Broken(format!("{written} bytes in {}, and no end", folder.display()));
        }
        match file.write(&block) {
            Ok(count) => written += count,
            Err(err) if err.raw_os_error() == Some(libc::ENOSPC) => {
                break Verdict::Held(format!("ENOSPC after {written} bytes"));
            }
            Err(err) => break Verdict::Untried(format!("after {written} bytes: {err}")),
        }
    };
    let _ = fs::remove_file(path);
    verdict
}

fn fork_bomb(facts: &Facts) -> Verdict {
    let Some(limit) = facts.number("pids") else { return not_told("pids") };
    let mut children: Vec<Child> = Vec::new();
    let mut refused = None;
    while refused.is_none() && children.len() <= limit {
        match sys::start(|| {
            loop {
                thread::sleep(Duration::from_secs(60));
            }
        }) {
            Ok(child) => children.push(child),
            Err(errno) => refused = Some(errno),
        }
    }
    let count = children.len();
    for child in children {
        let _ = sys::kill(child.0, libc::SIGKILL);
        let _ = child.wait();
    }
    match refused {
        Some(errno) => Verdict::Held(format!("{} after {count} processes", sys::name(errno))),
        None => Verdict::Broken(format!("{count} processes, and no end")),
    }
}

fn memory_hog(facts: &Facts) -> Verdict {
    let Some(limit) = facts.number("bytes") else { return not_told("bytes") };
    let hog = sys::child(|| {
        let mut taken: Vec<Vec<u8>> = Vec::new();
        while taken.len() * MEGABYTE <= limit + MEGABYTE {
            let mut block = Vec::new();
            if block.try_reserve_exact(MEGABYTE).is_err() {
                return 1;
            }
            // Written to, so that it is really there.
            block.resize(MEGABYTE, 1);
            taken.push(block);
        }
        std::hint::black_box(&taken);
        0
    });
    match hog {
        Ok(Ended::Code(1)) => Verdict::Held("ENOMEM at the limit".to_owned()),
        Ok(Ended::Signal(signal)) => Verdict::Held(format!("ended by signal {signal} at the limit")),
        Ok(ended) => Verdict::Broken(format!("more than {limit} bytes ({ended:?})")),
        Err(errno) => Verdict::Untried(format!("cannot start a process: {}", sys::name(errno))),
    }
}
