//! `logs` of all hosts of an app, merged by time. With `--follow`, a host whose connection is lost is asked again
//! until it is back, for the lines since its last one.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, poll};
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::output::forgive;
use piku_report::progress;

use super::log_line::{HostLine, sort_lines};
use super::log_query::MergeQuery;
use super::{own_command, request_words};
use crate::app_context::AppContext;
use crate::child_env;
use crate::distribute::failure_reason::read_reason;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::{self, SessionTerminal};

/// Longest line, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// Largest log of one host that is sorted, in bytes. Of a larger one, the last part is printed.
const LARGEST_LOG: usize = 8 << 20;
/// Time for logs that are not followed.
const WHOLE: Duration = Duration::from_secs(300);
/// Time in which all hosts send the lines that they have.
const FIRST_LINES: Duration = Duration::from_secs(3);
/// Time for which a new line waits for older ones of other hosts.
const LATER_LINES: Duration = Duration::from_millis(300);
/// Time until a host that was lost is asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// Lines between the hosts and the printer.
const CHANNEL_LINES: usize = 64;
/// Lines that wait for older ones of other hosts, in bytes.
const WAITING_BYTES: usize = 4 << 20;

/// A line or the end of a log.
enum LogEvent {
    Line(HostLine),
    /// Its connection has ended; with the last line of its errors.
    End(usize, String),
}

/// Prints the logs.
pub(super) fn print_merged_logs(
    context: &AppContext<'_>,
    to: &DeployTo,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let query = MergeQuery::parse(args)?;
    let (sender, events) = mpsc::sync_channel(CHANNEL_LINES);
    let mut hosts: Vec<LoggingHost<'_>> = Vec::new();
    if to.here {
        hosts.push(LoggingHost::new("here".to_owned(), None));
    }
    hosts.extend(to.machines.iter().map(|machine| LoggingHost::new(machine.name(), Some(machine))));
    let mut reading = MergedLogs { context, to, query, hosts, sender };
    for at in 0..reading.hosts.len() {
        reading.ask(at)?;
    }
    if reading.query.follow { reading.follow(&events) } else { reading.print_past(&events) }
}

/// A host and the program that sends its log.
struct LoggingHost<'a> {
    name: String,
    /// `None` for this host.
    machine: Option<&'a MachineAddress>,
    child: Option<Child>,
    /// Time of its last line.
    last_time: String,
    /// Time at which it is asked again.
    retry: Option<Instant>,
    is_lost: bool,
    has_failed: bool,
}

impl<'a> LoggingHost<'a> {
    fn new(name: String, machine: Option<&'a MachineAddress>) -> Self {
        let last_time = String::new();
        Self { name, machine, child: None, last_time, retry: None, is_lost: false, has_failed: false }
    }

    /// Ends the program and returns its exit code.
    fn end(&mut self) -> u8 {
        let Some(mut child) = self.child.take() else { return 0 };
        let _ = child.kill();
        child.wait().map_or(1, child_env::exit_code)
    }

    /// Returns the exit code of the program, whose output has ended.
    fn finish(&mut self) -> u8 {
        let Some(mut child) = self.child.take() else { return 0 };
        child.wait().map_or(1, child_env::exit_code)
    }
}

impl Drop for LoggingHost<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

struct MergedLogs<'a> {
    context: &'a AppContext<'a>,
    to: &'a DeployTo,
    query: MergeQuery,
    hosts: Vec<LoggingHost<'a>>,
    sender: SyncSender<LogEvent>,
}

impl MergedLogs<'_> {
    /// Starts the program that sends the log of a host, from its last known line on.
    fn ask(&mut self, at: usize) -> anyhow::Result<()> {
        let host = &mut self.hosts[at];
        host.retry = None;
        let mut args = self.query.passed.clone();
        let (lines, since) = match host.last_time.as_str() {
            "" => (self.query.lines, self.query.since.clone()),
            last => (None, Some(last.to_owned())),
        };
        args.extend(lines.into_iter().flat_map(|lines| ["-n".to_owned(), lines.to_string()]));
        args.extend(since.into_iter().flat_map(|since| ["--since".to_owned(), since]));
        if self.query.follow {
            args.push("-f".to_owned());
        }
        let command = match host.machine {
            None => own_command(self.context, "logs", &args),
            Some(machine) => {
                let words = request_words(self.context, "logs", &args);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                ssh::ssh_command(machine, self.to, &words, SessionTerminal::None)?
            }
        };
        let mut command = end_with_this_thread(&command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.context("cannot run 'ssh'")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        host.child = Some(child);
        let (sender, since) = (self.sender.clone(), host.last_time.clone());
        thread::spawn(move || {
            let errors =
                thread::spawn(move || stderr.map(|stderr| read_reason(stderr, |_| {})).unwrap_or_default());
            if let Some(stdout) = stdout {
                send_lines(stdout, at, &since, &sender);
            }
            let _ = sender.send(LogEvent::End(at, errors.join().unwrap_or_default()));
        });
        Ok(())
    }

    /// Prints the lines that there are.
    fn print_past(mut self, events: &Receiver<LogEvent>) -> anyhow::Result<ExitCode> {
        let mut past: Vec<Vec<HostLine>> = self.hosts.iter().map(|_| Vec::new()).collect();
        let mut sizes = vec![0; self.hosts.len()];
        let begin = Instant::now();
        let mut left = self.hosts.len();
        let mut is_cut = vec![false; self.hosts.len()];
        while left > 0 {
            let rest = WHOLE.saturating_sub(begin.elapsed());
            // A log without end has a line at any time.
            match events.recv_timeout(rest).ok().filter(|_| !rest.is_zero()) {
                Some(LogEvent::Line(line)) => {
                    let at = line.host;
                    sizes[at] += line.size();
                    past[at].push(line);
                    if sizes[at] > LARGEST_LOG {
                        let half = past[at].len() / 2;
                        past[at].drain(..half);
                        sizes[at] = past[at].iter().map(HostLine::size).sum();
                        if !std::mem::replace(&mut is_cut[at], true) {
                            let name = &self.hosts[at].name;
                            progress::warning(&format!("{name}: only the end of its log is shown"));
                        }
                    }
                }
                Some(LogEvent::End(at, why)) => {
                    left -= 1;
                    self.report_end(at, &why);
                }
                None => {
                    for host in self.hosts.iter_mut().filter(|host| host.child.is_some()) {
                        host.end();
                        host.has_failed = true;
                        progress::error(&format!(
                            "{}: no end of its log within {} s",
                            host.name,
                            WHOLE.as_secs()
                        ));
                    }
                    break;
                }
            }
        }
        let lines = past.concat();
        self.print(lines, self.query.lines)?;
        let has_failed = self.hosts.iter().any(|host| host.has_failed);
        Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Prints lines as they come, until the reader closes the output or no host is left.
    fn follow(mut self, events: &Receiver<LogEvent>) -> anyhow::Result<ExitCode> {
        let mut waiting: Vec<HostLine> = Vec::new();
        let mut bytes = 0;
        let mut due = Instant::now() + FIRST_LINES;
        // Of the lines that there are, as many are printed as without `--follow`.
        let mut limit = self.query.lines;
        let mut is_first = true;
        loop {
            match events.recv_timeout(LATER_LINES / 3) {
                Ok(LogEvent::Line(line)) => {
                    if waiting.is_empty() && !is_first {
                        due = Instant::now() + LATER_LINES;
                    }
                    let host = &mut self.hosts[line.host];
                    host.last_time.clone_from(&line.time);
                    if std::mem::take(&mut host.is_lost) {
                        progress::step(&format!("{} is back", host.name));
                    }
                    bytes += line.size();
                    waiting.push(line);
                }
                Ok(LogEvent::End(at, why)) => self.report_end(at, &why),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if Instant::now() >= due || bytes >= WAITING_BYTES {
                bytes = 0;
                is_first = is_first && Instant::now() < due;
                self.print(std::mem::take(&mut waiting), limit.take())?;
            }
            if is_reader_gone() {
                return Ok(ExitCode::SUCCESS);
            }
            for at in 0..self.hosts.len() {
                if self.hosts[at].retry.is_some_and(|retry| Instant::now() >= retry) {
                    self.ask(at)?;
                }
            }
            let is_left = |host: &LoggingHost<'_>| host.child.is_some() || host.retry.is_some();
            if !self.hosts.iter().any(is_left) {
                self.print(waiting, limit)?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }

    /// Reports the end of a host's log. Without a connection, it is asked again if the logs are followed.
    fn report_end(&mut self, at: usize, why: &str) {
        let (follow, to) = (self.query.follow, self.to);
        let host = &mut self.hosts[at];
        let code = host.finish();
        let Some(failure) = SessionFailure::of_end(code.into(), why, host.machine, to) else { return };
        host.has_failed = true;
        let is_retried = follow && failure.kind == SessionFailureKind::Away;
        let then = if is_retried { "; it is asked again until it is back" } else { "" };
        let others = if to.machines.len() > 1 || to.here { "" } else { ", and there is no other machine" };
        if !host.is_lost {
            progress::error(&format!("{}: {}{then}{others}", host.name, failure.why));
        }
        if is_retried {
            host.is_lost = true;
            host.retry = Some(Instant::now() + PAUSE);
        }
    }

    /// Prints lines in the order of their times, or only the last ones.
    fn print(&self, mut lines: Vec<HostLine>, limit: Option<usize>) -> anyhow::Result<()> {
        sort_lines(&mut lines);
        let first = lines.len() - limit.map_or(lines.len(), |limit| limit.min(lines.len()));
        let mut text = Vec::new();
        for line in &lines[first..] {
            text.extend(line.render(&self.hosts[line.host].name, self.query.raw));
        }
        let mut stdout = io::stdout().lock();
        forgive(stdout.write_all(&text).and_then(|()| stdout.flush())).context("cannot write to stdout")
    }
}

/// Returns the command in a form that ends also if the calling thread is killed.
fn end_with_this_thread(command: &Command) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    guarded
}

/// Sends the lines of a log that are newer than `since`.
fn send_lines(stdout: impl Read, host: usize, since: &str, sender: &SyncSender<LogEvent>) {
    let mut stdout = BufReader::new(stdout);
    let mut before = since.to_owned();
    let mut is_new = since.is_empty();
    let mut line = Vec::new();
    while matches!((&mut stdout).take(LONGEST_LINE).read_until(b'\n', &mut line), Ok(1..)) {
        let parsed = HostLine::parse(host, &line, &before);
        before.clone_from(&parsed.time);
        is_new = is_new || before.as_str() > since;
        if is_new && sender.send(LogEvent::Line(parsed)).is_err() {
            return;
        }
        line.clear();
    }
}

/// Returns true if stdout has no reader.
fn is_reader_gone() -> bool {
    let stdout = io::stdout();
    !stdout.is_terminal()
        && poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::empty())], 0u8).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_back_sends_what_is_new() {
        let (sender, events) = mpsc::sync_channel(10);
        let log = "2026-11-22T10:00:00.000Z web.1: a\nits end\n2026-11-22T10:00:01.000Z web.1: b\nits end\n";
        send_lines(log.as_bytes(), 0, "2026-11-22T10:00:00.000Z", &sender);
        drop(sender);
        let lines: Vec<_> = events
            .iter()
            .map(|event| match event {
                LogEvent::Line(line) => String::from_utf8(line.render("pi", false)).unwrap(),
                LogEvent::End(..) => unreachable!(),
            })
            .collect();
        assert_eq!(lines, ["2026-11-22T10:00:01.000Z pi web.1: b\n", "pi its end\n"]);
    }
}
