//! `logs`: prints the logs of the instances of apps merged by time, and follows them as they grow.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

mod printed_line;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use piku_layout::former_names;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::output::forgive;
use piku_report::user_error::UserError;

use super::cursor::LogCursor;
use super::line;
use super::line_format::LineFormat;
use super::log_names::{DirectoryWatch, LogName, list_deploys, list_instances, watch_directories};
use printed_line::{LineLabel, print_line};

/// Number of lines printed by default.
const DEFAULT_LINES: usize = 100;
/// A time further in the future than this was written when the clock was ahead.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// Size of the output buffer in bytes.
const BLOCK: usize = 64 * 1024;

#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
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
    /// Print the names of instances, or of apps, in colours.
    pub(crate) colours: bool,
}

/// An app whose logs are printed.
#[derive(Debug, Clone)]
pub(crate) struct LogSource {
    pub(crate) root: PikuRoot,
    pub(crate) app: AppName,
    pub(crate) dir: AppDir,
}

impl LogSource {
    /// Returns true if the app has another name than when following it began.
    fn is_renamed(&self) -> bool {
        !self.dir.path().exists() && self.find_new_name().is_some()
    }

    /// Returns the name of the app if it was renamed.
    pub(crate) fn find_new_name(&self) -> Option<AppName> {
        former_names::find_successor(&self.root, &self.app).filter(|_| !self.dir.is_there())
    }
}

/// The deploy whose log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeployLogChoice {
    Last,
    Number(u64),
}

/// Prints the logs of apps; with several apps, each line has the name of its own. `listener` is the descriptor
/// behind `out`: following ends when its other end is closed. A closed pipe is not an error.
///
/// # Errors
/// Fails if an app does not exist, none has such a log, or a file cannot be read.
pub(crate) fn show_logs(
    sources: &[LogSource],
    query: &LogQuery,
    out: &mut dyn Write,
    listener: Option<BorrowedFd<'_>>,
) -> anyhow::Result<()> {
    let dirs: Vec<PathBuf> =
        sources.iter().map(|source| query.nginx.clone().unwrap_or_else(|| source.dir.log())).collect();
    // Watched before they are read, so that no line is missed in between.
    let mut watch = if query.follow { watch_directories(dirs.iter().map(PathBuf::as_path))? } else { None };
    let since = query.since.map(line::format_time);
    let mut reader = LogReader { sources, query, since, logs: Vec::new() };
    let wanted = match query.lines {
        Some(lines) => lines,
        None if query.deploy.is_some() || query.since.is_some() => usize::MAX,
        None => DEFAULT_LINES,
    };
    let available = reader.open_logs(wanted)?;
    let mut out = BufWriter::with_capacity(BLOCK, out);
    let follow = watch.as_mut().map(|watch| (watch, listener));
    match reader.run(available.saturating_sub(wanted), &mut out, follow) {
        Err(StopReason::Output(err)) => forgive(Err(err)).context("cannot write the log to stdout"),
        Err(StopReason::Input(err)) => {
            let dirs: Vec<String> = dirs.iter().map(|dir| format!("'{}'", dir.display())).collect();
            Err(err).with_context(|| format!("cannot read the logs in {}", dirs.join(", ")))
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
    sources: &'a [LogSource],
    query: &'a LogQuery,
    /// `query.since` in the format of a line's time, to be compared as text.
    since: Option<String>,
    logs: Vec<OpenLog>,
}

/// A log that is read.
struct OpenLog {
    /// Number of its app among the sources.
    source: usize,
    cursor: LogCursor,
    label: LineLabel,
    /// Number of lines that are still printed. Without following, those that were there at the beginning: an app may write
    /// as fast as its lines are printed.
    left: usize,
}

impl OpenLog {
    /// Finds the next line to print.
    fn find_line(&mut self, latest: &str) -> io::Result<()> {
        if self.left > 0 {
            self.cursor.find_line()?;
            self.cursor.update_sort_key(latest.as_bytes());
        }
        Ok(())
    }
}

impl LogReader<'_> {
    /// Opens the selected logs at their last `wanted` lines; returns the total number of lines. Of several apps,
    /// some may have no such log.
    fn open_logs(&mut self, wanted: usize) -> anyhow::Result<usize> {
        let mut available = 0_usize;
        let mut missing = Vec::new();
        for at in 0..self.sources.len() {
            match self.open_source(at, wanted) {
                Ok(lines) => available = available.saturating_add(lines),
                Err(err) if err.is::<UserError>() => missing.push(err),
                Err(err) => return Err(err),
            }
        }
        let is_none = missing.len() == self.sources.len();
        missing.into_iter().next().filter(|_| is_none).map_or(Ok(available), Err)
    }

    /// Does the same for one app.
    fn open_source(&mut self, at: usize, wanted: usize) -> anyhow::Result<usize> {
        let sources = self.sources;
        let source = &sources[at];
        let mut available = 0_usize;
        if let Some(nginx) = &self.query.nginx {
            let kinds = [("access", LineFormat::NginxAccess), ("error", LineFormat::NginxError)];
            for (kind, format) in kinds.into_iter().take(if self.query.access_only { 1 } else { 2 }) {
                let path = nginx.join(format!("{}.{kind}.log", source.app));
                available = available.saturating_add(self.open_log(at, &path, format, wanted)?);
            }
            return if available == 0 && !self.query.follow {
                Err(no_requests_error(&source.app).into())
            } else {
                Ok(available)
            };
        }
        let log_dir = source.dir.log();
        let all =
            list_instances(&source.dir).with_context(|| format!("cannot read '{}'", log_dir.display()))?;
        let paths = match self.query.deploy {
            Some(deploy) => vec![find_deploy_log(source, deploy)?],
            None => self.select_logs(source, &all),
        };
        if paths.is_empty() && !(self.query.follow && log_dir.is_dir() && self.query.only.is_none()) {
            return Err(no_logs_error(source, self.query.only.as_deref(), &all).into());
        }
        for path in paths {
            available = available.saturating_add(self.open_log(at, &path, LineFormat::Piku, wanted)?);
        }
        Ok(available)
    }

    /// Opens one log at its last `wanted` lines; returns their number.
    fn open_log(
        &mut self,
        source: usize,
        path: &Path,
        format: LineFormat,
        wanted: usize,
    ) -> anyhow::Result<usize> {
        let (cursor, lines) = LogCursor::before_last_lines(path.to_owned(), wanted)
            .with_context(|| format!("cannot read '{}'", path.display()))?;
        self.add_log(source, cursor.with_format(format), if self.query.follow { usize::MAX } else { lines });
        Ok(lines)
    }

    fn add_log(&mut self, source: usize, cursor: LogCursor, left: usize) {
        let several = self.sources.len() > 1;
        let colour = if several { source } else { self.logs.len() };
        let label = LineLabel {
            app: several.then(|| self.sources[source].app.clone()),
            colour: self.query.colours.then_some(colour),
            is_nginx: self.query.nginx.is_some(),
            is_raw: self.query.raw,
        };
        self.logs.push(OpenLog { source, cursor, label, left });
    }

    fn select_logs(&self, source: &LogSource, all: &[LogName]) -> Vec<PathBuf> {
        let fits = |name: &&LogName| self.query.only.as_ref().is_none_or(|only| name.matches(only));
        all.iter().filter(fits).map(|name| source.dir.instance_log(&name.to_string())).collect()
    }

    /// Prints all lines after the first `skip`, then follows if `follow` is given.
    fn run(
        &mut self,
        mut skip: usize,
        out: &mut dyn Write,
        follow: Option<(&mut DirectoryWatch, Option<BorrowedFd<'_>>)>,
    ) -> Result<(), StopReason> {
        let mut changed: BTreeSet<usize> = (0..self.sources.len()).collect();
        let mut follow = follow;
        loop {
            self.print_lines(&changed, &mut skip, out)?;
            let Some((watch, listener)) = &mut follow else { return self.print_unfinished(out) };
            out.flush().map_err(StopReason::Output)?;
            if !wait_for_change(watch, *listener)? {
                return Ok(());
            }
            let news = watch.read_changes()?;
            self.add_new_logs(&news.appeared)?;
            if news.has_removals {
                self.print_lines(&news.changed, &mut skip, out)?;
                self.logs.iter_mut().for_each(|log| log.cursor.close_removed());
            }
            if news.is_end || self.sources.iter().any(LogSource::is_renamed) {
                // The apps were destroyed, or one has another name.
                return self.print_unfinished(out);
            }
            changed = news.changed;
        }
    }

    /// Prints all complete lines, the oldest first. Only logs of the `changed` sources have new ones.
    fn print_lines(
        &mut self,
        changed: &BTreeSet<usize>,
        skip: &mut usize,
        out: &mut dyn Write,
    ) -> Result<(), StopReason> {
        // The margin allows for lines that are written during printing.
        let latest = Timestamp::now().saturating_add(MAX_AHEAD).unwrap_or(Timestamp::MAX);
        let latest = line::format_time(latest);
        for log in self.logs.iter_mut().filter(|log| changed.contains(&log.source)) {
            log.find_line(&latest)?;
        }
        loop {
            let ready = self.logs.iter_mut().filter(|log| log.cursor.sort_key().is_some());
            let oldest = ready.min_by(|a, b| a.cursor.sort_key().cmp(&b.cursor.sort_key()));
            let Some(log) = oldest else { return Ok(()) };
            let is_old =
                self.since.as_ref().is_some_and(|since| log.cursor.sort_key() < Some(since.as_bytes()));
            let line = log.cursor.take_line();
            if *skip > 0 {
                *skip -= 1;
            } else if !is_old {
                print_line(line, &log.label, out).map_err(StopReason::Output)?;
            }
            log.left = log.left.saturating_sub(usize::from(!self.query.follow));
            log.find_line(&latest)?;
        }
    }

    /// Prints the last lines that have no line end yet.
    fn print_unfinished(&mut self, out: &mut dyn Write) -> Result<(), StopReason> {
        for OpenLog { cursor, label, .. } in self.logs.iter().filter(|log| log.left > 0) {
            let line = cursor.unfinished_line();
            let is_old = self.since.as_ref().is_some_and(|since| line < since.as_bytes());
            if !line.is_empty() && !is_old {
                print_line(line, label, out).map_err(StopReason::Output)?;
            }
        }
        out.flush().map_err(StopReason::Output)
    }

    /// Adds the logs of new instances of these sources.
    fn add_new_logs(&mut self, appeared: &BTreeSet<usize>) -> io::Result<()> {
        if self.query.deploy.is_some() || self.query.nginx.is_some() {
            return Ok(());
        }
        for at in appeared.iter().copied() {
            let source = &self.sources[at];
            for path in self.select_logs(source, &list_instances(&source.dir)?) {
                if !self.logs.iter().any(|log| log.cursor.path() == path) {
                    self.add_log(at, LogCursor::at_start(path), usize::MAX);
                }
            }
        }
        Ok(())
    }
}

fn no_requests_error(app: &AppName) -> UserError {
    UserError::new(format!("nginx has logged no requests for '{app}'"))
        .hint(format!("it serves an app that has a host name ('piku domains {app}' lists them), and logs requests unless NGINX_ACCESS_LOG is off"))
}

fn no_logs_error(source: &LogSource, only: Option<&str>, all: &[LogName]) -> UserError {
    let LogSource { app, dir, .. } = source;
    match only {
        Some(only) if !all.is_empty() => {
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            let error = UserError::new(format!("'{app}' has no log of '{only}'"));
            error.hint(format!("there are: {}", names.join(", ")))
        }
        None if dir.current_number().is_some() => UserError::new(format!(
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

fn find_deploy_log(source: &LogSource, deploy: DeployLogChoice) -> anyhow::Result<PathBuf> {
    let LogSource { app, dir, .. } = source;
    let numbers = list_deploys(dir).with_context(|| format!("cannot read '{}'", dir.log().display()))?;
    let error = match (deploy, numbers.last()) {
        (_, None) => UserError::new(format!("'{app}' has no log of a deploy yet")),
        (DeployLogChoice::Last, Some(last)) => return Ok(dir.deploy_log(*last)),
        (DeployLogChoice::Number(number), Some(_)) if numbers.contains(&number) => {
            return Ok(dir.deploy_log(number));
        }
        (DeployLogChoice::Number(number), Some(last)) => {
            let error = UserError::new(format!("'{app}' has no log of deploy {number}"));
            error.hint(format!("there are {}, the last one is {last}", numbers.len()))
        }
    };
    Err(error.into())
}

/// Waits for a change in a log directory; returns false if the listener has closed its end.
fn wait_for_change(watch: &DirectoryWatch, listener: Option<BorrowedFd<'_>>) -> Result<bool, StopReason> {
    let mut fds = vec![PollFd::new(watch.inotify.as_fd(), PollFlags::POLLIN)];
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

#[cfg(test)]
mod tests;
