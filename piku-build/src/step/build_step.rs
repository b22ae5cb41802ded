//! Runs one command of a build, forwards its output line by line, and waits until all its processes have
//! ended.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpid, pipe};

use piku_report::progress;

use crate::step::interrupt;
use crate::step::silence::{SilenceWatch, WatchedOutput};
use crate::step::step_output::forward;

/// Time to wait for more output after the command has ended.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Duration from which on it is printed.
const SLOW: Duration = Duration::from_secs(1);

/// A command of a plan. Its working directory is the app's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildStep {
    /// Name of the step: `venv`, `pip`.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) run: Vec<String>,
    /// True if the output is only kept and not shown.
    pub(crate) quiet: bool,
}

impl BuildStep {
    pub(crate) fn new(name: &'static str, run: &[&str], quiet: bool) -> Self {
        Self { name, run: run.iter().map(ToString::to_string).collect(), quiet }
    }
}

/// Result of a step.
#[derive(Debug)]
pub(crate) struct StepOutcome {
    /// The exit code, 128 + n after signal n.
    pub(crate) code: i32,
    /// Last lines of the output.
    pub(crate) lines: Vec<String>,
    /// True if the kernel killed a process of the step because memory ran out.
    pub(crate) out_of_memory: bool,
    /// The most memory that the step has used, in bytes, where a cgroup counts it; elsewhere one of the
    /// build's processes.
    pub(crate) peak: u64,
}

/// Messages of programs that get no more memory, in lower case.
const NO_MEMORY: [&str; 5] =
    ["cannot allocate memory", "memoryerror", "out of memory", "outofmemoryerror", "memory allocation of"];

impl StepOutcome {
    /// Returns whether it failed for lack of memory: the kernel killed it, or its last lines contain such a
    /// message.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let says = |line: &String| {
            let line = line.to_lowercase();
            NO_MEMORY.iter().any(|text| line.contains(text))
        };
        self.out_of_memory || self.code != 0 && last_lines(&self.lines).any(says)
    }

    /// Returns whether the command exited with 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.code == 0
    }
}

/// Runs the command of the step `name` until it ends. Without `quiet`, its output is shown.
///
/// # Errors
/// Fails if it cannot be started, or the build is interrupted. A command that fails is not an error here.
pub(crate) fn run_command(
    name: &'static str,
    mut command: Command,
    quiet: bool,
) -> anyhow::Result<StepOutcome> {
    interrupt::check()?;
    let program = command.get_program().to_string_lossy().into_owned();
    let (output, input) = pipe().context("cannot make a pipe")?;
    let second = input.try_clone().context("cannot copy a descriptor")?;
    // In its own process group: Ctrl-C reaches only the build, which then ends the whole group.
    command.stdin(Stdio::null()).stdout(input).stderr(second).process_group(0);
    let killed_before = piku_procfs::oom_kills();
    let mut child = command.spawn().with_context(|| format!("cannot run '{program}'"))?;
    // The write ends that `command` holds would keep the pipe open for ever.
    drop(command);
    let group = Pid::from_raw(i32::try_from(child.id()).context("bad pid")?);
    interrupt::set_group(Some(group));
    let begin = Instant::now();
    let has_ended = Arc::new(AtomicBool::new(false));
    let output = WatchedOutput::new(File::from(output), SilenceWatch::new(name), has_ended.clone());
    let lines = forward(output, quiet);
    // Not reaped yet: until then no other process gets the number of the group.
    let waited = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    has_ended.store(true, Ordering::Relaxed);
    let _ = killpg(group, Signal::SIGKILL);
    interrupt::set_group(None);
    let status = child.wait().with_context(|| format!("cannot wait for '{program}'"))?;
    kill_orphans();
    waited.with_context(|| format!("cannot wait for '{program}'"))?;
    let lines = lines.recv_timeout(AFTERWARDS).unwrap_or_default();
    interrupt::check()?;
    if status.success() {
        report_duration(name, begin.elapsed());
    }
    let lines = Vec::from(lines);
    let code = code(status);
    // The kernel counts the processes of the whole machine, also those of an app that exceeded its own limit.
    let out_of_memory = has_lost_process(code, &lines) && piku_procfs::oom_kills() > killed_before;
    Ok(StepOutcome { code, lines, out_of_memory, peak: peak() })
}

/// Returns whether the step failed because of a SIGKILL: it got one, or its last lines report one.
fn has_lost_process(code: i32, lines: &[String]) -> bool {
    let reports =
        |line: &String| line.contains("Killed") || line.contains("killed") || line.contains("SIGKILL");
    code == 128 + Signal::SIGKILL as i32 || code != 0 && last_lines(lines).any(reports)
}

/// Returns the lines that can tell why a step failed.
fn last_lines(lines: &[String]) -> impl Iterator<Item = &String> {
    lines.iter().rev().take(50)
}

/// Prints how long a part of the build took, unless it was fast.
pub(crate) fn report_duration(what: &str, duration: Duration) {
    if let Some(text) = describe_duration(what, duration) {
        progress::detail(&text);
    }
}

fn describe_duration(what: &str, duration: Duration) -> Option<String> {
    (duration >= SLOW).then(|| format!("{what} took {:.1} s", duration.as_secs_f64()))
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn peak() -> u64 {
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kilobytes).unwrap_or(0) * 1024
}

/// True if this process adopts orphans. Then all its children belong to a step.
static ADOPTS: AtomicBool = AtomicBool::new(false);
/// Each round kills one generation. Processes that fork faster are given up after this many.
const ROUNDS: usize = 1000;

/// Makes this process the parent of orphaned processes of its steps.
pub(crate) fn adopt_orphans() -> anyhow::Result<()> {
    set_child_subreaper(true).context("cannot take up orphans")?;
    ADOPTS.store(true, Ordering::SeqCst);
    Ok(())
}

/// Ends all that is left of the step that has just been waited for.
pub(crate) fn kill_orphans() {
    if !ADOPTS.load(Ordering::SeqCst) {
        return;
    }
    for _ in 0..ROUNDS {
        let mut ended = false;
        for pid in piku_procfs::children(getpid().as_raw()).into_iter().map(Pid::from_raw) {
            // A process of another user cannot be killed, so do not wait for it.
            if kill(pid, Signal::SIGKILL).is_ok() {
                let _ = waitpid(pid, None);
                ended = true;
            }
        }
        if !ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::step_output::LONGEST;
    use std::thread;

    fn sh(text: &str) -> StepOutcome {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        run_command("test", command, true).unwrap()
    }

    #[test]
    fn both_outputs_in_order_and_the_exit_code() {
        let ended = sh("echo a; echo b >&2; printf 'x\\ry\\n'; printf last; exit 3");
        assert_eq!(ended.code, 3);
        assert_eq!(ended.lines, ["a", "b", "y", "last"]);
        assert!(!ended.succeeded());
        assert_eq!(sh("kill -9 $$").code, 137);
    }

    #[test]
    fn only_a_killed_process_makes_a_step_short_of_memory() {
        let lines = |text: &str| vec![text.to_owned()];
        for (code, text) in [
            (137, ""),
            (2, "g++: fatal error: Killed signal terminated program cc1plus"),
            (101, "process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)"),
            (2, "sh: line 1: 4242 Killed"),
        ] {
            assert!(has_lost_process(code, &lines(text)), "{code} {text}");
        }
        for (code, text) in [(0, "Killed"), (1, "error: no such module"), (143, "")] {
            assert!(!has_lost_process(code, &lines(text)), "{code} {text}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_read() {
        let ended = sh("head -c 300000 /dev/zero | tr '\\0' x; echo; echo next; printf '%0100000d' 0");
        let lengths: Vec<_> = ended.lines.iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST, 4, LONGEST]);
        assert_eq!(ended.lines[1], "next");
    }

    #[test]
    fn of_output_without_end_the_last_lines_are_kept() {
        let ended = sh("yes 'a line that is said again and again' | head -n 1000000; echo the end");
        assert_eq!(ended.lines.last().map(String::as_str), Some("the end"));
        assert!(ended.lines.len() > 100, "{}", ended.lines.len());
        let again = |line: &String| line == "a line that is said again and again";
        assert!(ended.lines.iter().rev().skip(1).all(again), "{:?}", ended.lines);
    }

    #[test]
    fn durations_of_slow_parts_are_told() {
        let told = |millis| describe_duration("pip", Duration::from_millis(millis));
        assert_eq!(told(999), None);
        assert_eq!(told(1000).as_deref(), Some("pip took 1.0 s"));
        assert_eq!(told(61_240).as_deref(), Some("pip took 61.2 s"));
    }

    #[test]
    fn what_a_command_leaves_behind_is_ended_with_it() {
        let ended = sh("sleep 1000 & echo $!");
        let pid: i32 = ended.lines[0].parse().unwrap();
        // Killed already, but a process takes its time to go, and its zombie stays until init reaps it.
        let ended = || !piku_procfs::is_running(pid);
        let begin = std::time::Instant::now();
        while !ended() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{pid} still runs");
            thread::yield_now();
        }
    }
}
