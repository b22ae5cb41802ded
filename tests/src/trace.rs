//! System calls of a test server, recorded by strace if it is installed and may trace other processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::skip::skip;
use crate::world::wait_for;

/// A running strace of processes and their children.
pub struct CallTrace {
    strace: Child,
    output: PathBuf,
}

impl CallTrace {
    /// Traces `calls` (`fsync,syncfs`) of these processes; reports a skipped test and returns `None` if
    /// strace cannot.
    ///
    /// # Panics
    /// With CI set in the environment, where nothing may be skipped.
    #[must_use]
    pub fn begin(pids: &[i32], calls: &str, output: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-y", "-e", &format!("trace={calls}"), "-e", "signal=none", "-o"])
            .arg(output);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let began = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut strace = match began {
            Ok(strace) => strace,
            Err(err) => return skipped(&format!("strace: {err}")),
        };
        let mut ended = None;
        wait_for("strace", || {
            ended = strace.try_wait().expect("state of strace");
            ended.is_some() || pids.iter().all(|pid| is_traced(*pid))
        });
        match ended {
            Some(status) => skipped(&format!("strace may not look at other processes: {status}")),
            None => Some(Self { strace, output: output.to_owned() }),
        }
    }

    /// Ends the trace; returns a line for each call.
    #[must_use]
    pub fn end(mut self) -> Vec<String> {
        let pid = i32::try_from(self.strace.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("end strace");
        self.strace.wait().expect("strace ends");
        let text = fs::read_to_string(&self.output).expect("the output of strace");
        // The second half of a call that another one came into.
        text.lines().filter(|line| !line.contains(" resumed>")).map(str::to_owned).collect()
    }
}

impl Drop for CallTrace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn is_traced(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

fn skipped(why: &str) -> Option<CallTrace> {
    skip(&format!("counting system calls: {why}"));
    None
}
