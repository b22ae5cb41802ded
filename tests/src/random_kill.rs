//! Kills at random instants: one process of a command, with everything that it has started.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::processes;

/// Chooses the victims and the instants.
pub struct RandomKill {
    state: u64,
    longest: u64,
    rounds: u64,
}

impl RandomKill {
    /// Kills within this number of milliseconds from the start of a command, the usual time of its work. `PIKU_ROUNDS` is the
    /// number of rounds, in place of `few`; `PIKU_SEED` repeats the choices of a run.
    pub fn new(longest: u64, few: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let seed = number("PIKU_SEED").unwrap_or_else(|| u64::from(std::process::id()));
        Self { state: seed.wrapping_mul(7919) | 1, longest, rounds: number("PIKU_ROUNDS").unwrap_or(few) }
    }

    /// Returns the number of rounds.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Runs the command, and kills one of its processes. Returns its output, and which process was killed when.
    pub fn run(&mut self, command: &mut Command) -> (Output, String) {
        let began = Instant::now();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
        thread::sleep(Duration::from_millis(self.below(self.longest)));
        let all = processes::family(i32::try_from(child.id()).expect("a pid"));
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or_default();
        let line = fs::read_to_string(format!("/proc/{}/cmdline", all[at])).unwrap_or_default();
        let victim = format!("{} after {:?}", line.replace('\0', " "), began.elapsed());
        processes::kill_all(&all[at..=at]);
        (child.wait_with_output().expect("the command"), victim)
    }

    /// Xorshift: the same choices for the same seed, and no crate for it.
    fn below(&mut self, count: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % count.max(1)
    }
}
