//! `logs`: prints the logs of an app's instances merged by time, and follows them as they grow.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::AppDir;
use piku_report::output::forgive;
use piku_report::terminal::{coloured_text, plain_text};
use piku_report::user_error::UserError;

use super::cursor::LogCursor;
use super::line;
use super::line_format::LineFormat;

/// Number of lines printed by default.
const DEFAULT_LINES: usize = 100;
/// A time further in the future than this was written when the clock was ahead.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// Size of the output buffer in bytes.
const BLOCK: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LogQuery {
    /// Continue with new lines until the reader closes the output.
    pub(crate) follow: bool,
    /// Number of lines to begin with, over all instances; by default 100, or all with `deploy` or `since`.
    pub(crate) lines: Option<usize>,
    /// Print the log of a deploy instead of those of the instances.
    pub(crate) deploy: Option<DeployLogChoice>,
    /// Print nginx's logs of the app, which are in this directory, instead of those of the instances.
    pub(crate) nginx: Option<PathBuf>,
    /// Of those, print only the log of requests.
    pub(crate) access_only: bool,
    /// Print only this instance (`web.1`) or process type (`web`).
    pub(crate) only: Option<String>,
    /// Print only lines from this time on.
    pub(crate) since: Option<Timestamp>,
    /// Print all bytes unchanged. By default only text and colours pass, because most output ends up on a
    /// terminal.
    pub(crate) raw: bool,
}

/// The deploy whose log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeployLogChoice {
    Last,
    Number(u64),
}

/// Prints an app's logs. `listener` is the descriptor behind `out`: following ends when its other end is
/// closed. A closed pipe is not an error.
///
/// # Errors
/// Fails if the app or the log does not exist, or a file cannot be read.
pub(crate) fn show_logs(
    app: &AppName,
    dir: &AppDir,
    query: &LogQuery,
    out: &mut dyn Write,
    listener: Option<BorrowedFd<'_>>,
) -> anyhow::Result<()> {
    let log_dir = query.nginx.clone().unwrap_or_else(|| dir.log());
    // Watched before it is read, so that no line is missed in between.
    let watch = if query.follow { watch_directory(&log_dir)? } else { None };
    let since = query.since.map(line::format_time);
    let mut reader = LogReader { app, dir, query, since, cursors: Vec::new() };
    let wanted = match query.lines {
        Some(lines) => lines,
        None if query.deploy.is_some() || query.since.is_some() => usize::MAX,
        None => DEFAULT_LINES,
    };
    let available = reader.open_logs(wanted)?;
    let mut out = BufWriter::with_capacity(BLOCK, out);
    let shown = reader.run(available.saturating_sub(wanted), &mut out, watch.as_ref().zip(Some(listener)));
    match shown {
        Err(StopReason::Output(err)) => forgive(Err(err)).context("cannot write the log to stdout"),
        Err(StopReason::Input(err)) => {
            Err(err).with_context(|| format!("cannot read the logs in '{}'", log_dir.display()))
        }
        Ok(()) => Ok(()),
    }
}

/// The side on which printing failed.
enum StopReason {
    Output(io::Error),
    Input(io::Error),
}

impl From<io::Error> for StopReason {
    fn from(err: io::Error) -> Self {
        Self::Input(err)
    }
}

impl From<Errno> for StopReason {
    fn from(err: Errno) -> Self {
        Self::Input(err.into())
    }
}

struct LogReader<'a> {
    app: &'a AppName,
    dir: &'a AppDir,
    query: &'a LogQuery,
    /// `query.since` in the format of a line's time, to be compared as text.
    since: Option<String>,
    cursors: Vec<LogCursor>,
}

impl LogReader<'_> {
    /// Opens the selected logs at their last `wanted` lines; returns the total number of lines.
    fn open_logs(&mut self, wanted: usize) -> anyhow::Result<usize> {
        if let Some(nginx) = &self.query.nginx {
            return self.open_nginx_logs(nginx, wanted);
        }
        let log_dir = self.dir.log();
        let all = list_instances(self.dir).with_context(|| format!("cannot read '{}'", log_dir.display()))?;
        let paths = match self.query.deploy {
            Some(deploy) => vec![self.find_deploy_log(deploy)?],
            None => self.select_logs(&all),
        };
        if paths.is_empty() && !(self.query.follow && log_dir.is_dir() && self.query.only.is_none()) {
            return Err(self.no_logs_error(&all).into());
        }
        let mut available = 0_usize;
        for path in paths {
            let (cursor, lines) = LogCursor::before_last_lines(path.clone(), wanted)
                .with_context(|| format!("cannot read '{}'", path.display()))?;
            available = available.saturating_add(lines);
            self.cursors.push(cursor);
        }
        Ok(available)
    }

    /// Opens nginx's two logs of the app at their last `wanted` lines; returns the total number of lines.
    fn open_nginx_logs(&mut self, dir: &Path, wanted: usize) -> anyhow::Result<usize> {
        let app = self.app;
        let mut available = 0_usize;
        let kinds = [("access", LineFormat::NginxAccess), ("error", LineFormat::NginxError)];
        for (kind, format) in kinds.into_iter().take(if self.query.access_only { 1 } else { 2 }) {
            let path = dir.join(format!("{app}.{kind}.log"));
            let (cursor, lines) = LogCursor::before_last_lines(path.clone(), wanted)
                .with_context(|| format!("cannot read '{}'", path.display()))?;
            available = available.saturating_add(lines);
            self.cursors.push(cursor.with_format(format));
        }
        if available == 0 && !self.query.follow {
            let error = UserError::new(format!("nginx has logged no requests for '{app}'"));
            return Err(error
                .hint("it serves an app that has NGINX_SERVER_NAME, and logs requests unless NGINX_ACCESS_LOG is off")
                .into());
        }
        Ok(available)
    }

    fn select_logs(&self, all: &[LogName]) -> Vec<PathBuf> {
        let fits = |name: &&LogName| self.query.only.as_ref().is_none_or(|only| name.matches(only));
        all.iter().filter(fits).map(|name| self.dir.instance_log(&name.to_string())).collect()
    }

    fn no_logs_error(&self, all: &[LogName]) -> UserError {
        let app = self.app;
        match &self.query.only {
            Some(only) if !all.is_empty() => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                let error = UserError::new(format!("'{app}' has no log of '{only}'"));
                error.hint(format!("there are: {}", names.join(", ")))
            }
            None if self.dir.current_number().is_some() => UserError::new(format!(
                "'{app}' has no logs: its live release has started no process"
            ))
            .hint(format!(
                "'logs {app} --nginx' shows the requests for files, 'logs {app} --deploy' the last deploy"
            )),
            _ => {
                let error = UserError::new(format!("'{app}' has no logs yet"));
                error.hint("they begin with the first deploy; 'logs --deploy' shows the deploy's own log")
            }
        }
    }

    fn find_deploy_log(&self, deploy: DeployLogChoice) -> anyhow::Result<PathBuf> {
        let log_dir = self.dir.log();
        let numbers =
            list_deploys(self.dir).with_context(|| format!("cannot read '{}'", log_dir.display()))?;
        let app = self.app;
        let error = match (deploy, numbers.last()) {
            (_, None) => UserError::new(format!("'{app}' has no log of a deploy yet")),
            (DeployLogChoice::Last, Some(last)) => return Ok(self.dir.deploy_log(*last)),
            (DeployLogChoice::Number(number), Some(_)) if numbers.contains(&number) => {
                return Ok(self.dir.deploy_log(number));
            }
            (DeployLogChoice::Number(number), Some(last)) => {
                let error = UserError::new(format!("'{app}' has no log of deploy {number}"));
                error.hint(format!("there are {}, the last one is {last}", numbers.len()))
            }
        };
        Err(error.into())
    }

    /// Prints all lines after the first `skip`, then follows if `follow` is given.
    fn run(
        &mut self,
        mut skip: usize,
        out: &mut dyn Write,
        follow: Option<(&Inotify, Option<BorrowedFd<'_>>)>,
    ) -> Result<(), StopReason> {
        loop {
            self.print_lines(&mut skip, out)?;
            let Some((watch, listener)) = follow else { return self.print_unfinished(out) };
            out.flush().map_err(StopReason::Output)?;
            if !wait_for_change(watch, listener)? {
                return Ok(());
            }
            let appeared =
                AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_Q_OVERFLOW;
            let events = match watch.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => continue,
                Err(err) => return Err(err.into()),
            };
            if events.iter().any(|event| event.mask.intersects(appeared)) {
                self.add_new_logs()?;
            }
            if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_DELETE)) {
                self.print_lines(&mut skip, out)?;
                self.cursors.iter_mut().for_each(LogCursor::close_removed);
            }
            if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) {
                // The directory is removed: the app was destroyed.
                return self.print_unfinished(out);
            }
        }
    }

    /// Prints all complete lines, the oldest first.
    fn print_lines(&mut self, skip: &mut usize, out: &mut dyn Write) -> Result<(), StopReason> {
        // The margin allows for lines that are written during printing.
        let latest = Timestamp::now().saturating_add(MAX_AHEAD).unwrap_or(Timestamp::MAX);
        let latest = line::format_time(latest);
        loop {
            for cursor in &mut self.cursors {
                cursor.find_line()?;
                cursor.update_sort_key(latest.as_bytes());
            }
            let ready = self.cursors.iter_mut().filter(|cursor| cursor.sort_key().is_some());
            let Some(oldest) = ready.min_by(|a, b| a.sort_key().cmp(&b.sort_key())) else { return Ok(()) };
            let is_old = self.since.as_ref().is_some_and(|since| oldest.sort_key() < Some(since.as_bytes()));
            let line = oldest.take_line();
            if *skip > 0 {
                *skip -= 1;
            } else if !is_old {
                print_line(line, self.query, out)?;
            }
        }
    }

    /// Prints the last lines that have no line end yet.
    fn print_unfinished(&mut self, out: &mut dyn Write) -> Result<(), StopReason> {
        for cursor in &self.cursors {
            let line = cursor.unfinished_line();
            let is_old = self.since.as_ref().is_some_and(|since| line < since.as_bytes());
            if !line.is_empty() && !is_old {
                print_line(line, self.query, out)?;
            }
        }
        out.flush().map_err(StopReason::Output)
    }

    /// Adds the logs of instances that appeared since the last call.
    fn add_new_logs(&mut self) -> io::Result<()> {
        if self.query.deploy.is_some() || self.query.nginx.is_some() {
            return Ok(());
        }
        for path in self.select_logs(&list_instances(self.dir)?) {
            if !self.cursors.iter().any(|cursor| cursor.path() == path) {
                self.cursors.push(LogCursor::at_start(path));
            }
        }
        Ok(())
    }
}

fn print_line(text: &[u8], query: &LogQuery, out: &mut dyn Write) -> Result<(), StopReason> {
    let written = match (query.raw, &query.nginx) {
        (true, _) => out.write_all(text),
        // Colours in it come from clients.
        (false, Some(_)) => out.write_all(plain_text(text).as_bytes()),
        (false, None) => out.write_all(coloured_text(text).as_bytes()),
    };
    written.and_then(|()| out.write_all(b"\n")).map_err(StopReason::Output)
}

/// Watches the log directory; returns `None` if it does not exist.
pub(super) fn watch_directory(dir: &Path) -> anyhow::Result<Option<Inotify>> {
    let events = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE;
    let watched = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .and_then(|watch| watch.add_watch(dir, events).map(|_| watch));
    match watched {
        Ok(watch) => Ok(Some(watch)),
        Err(Errno::ENOENT) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot watch '{}'", dir.display())),
    }
}

/// Waits for a change in the log directory; returns false if the listener has closed its end.
fn wait_for_change(watch: &Inotify, listener: Option<BorrowedFd<'_>>) -> Result<bool, StopReason> {
    let mut fds = vec![PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    // Without requested events, poll still reports errors and hang-ups.
    fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::empty())));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    Ok(!fds.get(1).and_then(PollFd::revents).is_some_and(|events| events.intersects(gone)))
}

/// The name of an instance that has a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    kind: ProcessName,
    number: u32,
}

impl LogName {
    /// Returns true if `only` names this instance or its process type.
    fn matches(&self, only: &str) -> bool {
        only == self.kind.as_str() || only == self.to_string()
    }
}

impl std::fmt::Display for LogName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.kind, self.number)
    }
}

/// Lists the instances that have a log, sorted.
pub(super) fn list_instances(dir: &AppDir) -> io::Result<Vec<LogName>> {
    let mut names = Vec::new();
    for file in list_files(dir)? {
        // Right after a rotation only the numbered files exist: `web.1.log.1`.
        let Some((name, rotation)) = file.rsplit_once(".log") else { continue };
        let is_age = |age: &str| age.parse::<u32>().is_ok();
        if !rotation.is_empty() && !rotation.strip_prefix('.').is_some_and(is_age) {
            continue;
        }
        let parsed = name.rsplit_once('.').and_then(|(kind, number)| {
            Some(LogName { kind: kind.parse().ok()?, number: number.parse().ok()? })
        });
        names.extend(parsed);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Lists the numbers of the deploys that have a log, ascending.
fn list_deploys(dir: &AppDir) -> io::Result<Vec<u64>> {
    let number = |file: String| file.strip_prefix("deploy-")?.strip_suffix(".log")?.parse().ok();
    let mut numbers: Vec<u64> = list_files(dir)?.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn list_files(dir: &AppDir) -> io::Result<Vec<String>> {
    match fs::read_dir(dir.log()) {
        Ok(entries) => {
            let name =
                |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
            entries.filter_map(|entry| name(entry).transpose()).collect()
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests;
