//! `logs`: the logs of an app's instances merged by time, and followed as they grow.

#![expect(clippy::disallowed_methods, reason = "the log folder, which only piku writes")]

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::AppDir;
use piku_report::output::forgive;
use piku_report::terminal::coloured_text;
use piku_report::user_error::UserError;

use super::cursor::LogCursor;
use super::line;

/// How many lines are shown when nobody says how many.
const LINES: usize = 100;
/// Lines that are later than now by more than this were written when the clock was ahead.
const SHOWING: SignedDuration = SignedDuration::from_mins(10);
/// How much is written at a time.
const BLOCK: usize = 64 * 1024;

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Go on as lines come, until nobody listens any more.
    pub follow: bool,
    /// How many lines to begin with, of all instances together; 100 without it, of a deploy's log all.
    pub lines: Option<usize>,
    /// The log of a deploy, or of the last one, instead of those of the instances.
    pub deploy: Option<DeployLogChoice>,
    /// Only this instance (`web.1`) or type (`web`).
    pub only: Option<String>,
    /// Only lines of this time or later; all of them, when nobody says how many.
    pub since: Option<Timestamp>,
    /// All bytes as they are. Without it nothing but text and colours is let through: whatever the output is, in the end it is
    /// read on a terminal.
    pub raw: bool,
}

/// Which deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeployLogChoice {
    /// The last one.
    Last,
    /// The one with this number.
    Number(u64),
}

/// Prints an app's logs. `listener` is the descriptor behind `out`: when its other end is closed, following ends. A closed
/// pipe is no error.
///
/// # Errors
/// When there is no such app or log, or a file cannot be read.
pub fn show(
    app: &AppName,
    dir: &AppDir,
    query: &LogQuery,
    out: &mut dyn Write,
    listener: Option<BorrowedFd<'_>>,
) -> anyhow::Result<()> {
    if !dir.path().is_dir() {
        return Err(UserError::new(format!("there is no app '{app}'")).into());
    }
    let folder = dir.log();
    // Watched before it is read, so that nothing falls in between.
    let watch = if query.follow { watch(&folder)? } else { None };
    let mut reader = LogReader { app, dir, query, since: query.since.map(line::time), sources: Vec::new() };
    let wanted = match query.lines {
        Some(lines) => lines,
        None if query.deploy.is_some() || query.since.is_some() => usize::MAX,
        None => LINES,
    };
    let available = reader.open(wanted)?;
    let mut out = BufWriter::with_capacity(BLOCK, out);
    let shown = reader.run(available.saturating_sub(wanted), &mut out, watch.as_ref().zip(Some(listener)));
    match shown {
        Err(StopReason::Output(err)) => forgive(Err(err)).context("cannot write the log to stdout"),
        Err(StopReason::Input(err)) => {
            Err(err).with_context(|| format!("cannot read the logs in '{}'", folder.display()))
        }
        Ok(()) => Ok(()),
    }
}

/// Why it ends before the end.
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
    /// As it stands in front of a line, to be compared as text.
    since: Option<String>,
    sources: Vec<LogCursor>,
}

impl LogReader<'_> {
    /// Opens what is there, at most the last `wanted` lines of each; how many lines that are.
    fn open(&mut self, wanted: usize) -> anyhow::Result<usize> {
        let folder = self.dir.log();
        let all = instances(self.dir).with_context(|| format!("cannot read '{}'", folder.display()))?;
        let paths = match self.query.deploy {
            Some(deploy) => vec![self.deploy_log(deploy)?],
            None => self.chosen(&all),
        };
        if paths.is_empty() && !(self.query.follow && folder.is_dir() && self.query.only.is_none()) {
            return Err(self.nothing(&all).into());
        }
        let mut available = 0_usize;
        for path in paths {
            let (source, lines) = LogCursor::last(path.clone(), wanted)
                .with_context(|| format!("cannot read '{}'", path.display()))?;
            available = available.saturating_add(lines);
            self.sources.push(source);
        }
        Ok(available)
    }

    fn chosen(&self, all: &[LogName]) -> Vec<PathBuf> {
        let fits = |name: &&LogName| self.query.only.as_ref().is_none_or(|only| name.is(only));
        all.iter().filter(fits).map(|name| self.dir.instance_log(&name.to_string())).collect()
    }

    fn nothing(&self, all: &[LogName]) -> UserError {
        let app = self.app;
        match &self.query.only {
            Some(only) if !all.is_empty() => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                let failure = UserError::new(format!("'{app}' has no log of '{only}'"));
                failure.hint(format!("there are: {}", names.join(", ")))
            }
            _ => {
                let failure = UserError::new(format!("'{app}' has no logs yet"));
                failure.hint(
                    "they begin with the first deploy; 'logs --deploy' shows what the deploy itself said",
                )
            }
        }
    }

    fn deploy_log(&self, deploy: DeployLogChoice) -> anyhow::Result<PathBuf> {
        let folder = self.dir.log();
        let numbers = deploys(self.dir).with_context(|| format!("cannot read '{}'", folder.display()))?;
        let app = self.app;
        let failure = match (deploy, numbers.last()) {
            (_, None) => UserError::new(format!("'{app}' has no log of a deploy yet")),
            (DeployLogChoice::Last, Some(last)) => return Ok(self.dir.deploy_log(*last)),
            (DeployLogChoice::Number(number), Some(_)) if numbers.contains(&number) => {
                return Ok(self.dir.deploy_log(number));
            }
            (DeployLogChoice::Number(number), Some(last)) => {
                let failure = UserError::new(format!("'{app}' has no log of deploy {number}"));
                failure.hint(format!("there are {}, the last one is {last}", numbers.len()))
            }
        };
        Err(failure.into())
    }

    /// Shows the lines but the first `skip`, then those that come.
    fn run(
        &mut self,
        mut skip: usize,
        out: &mut dyn Write,
        follow: Option<(&Inotify, Option<BorrowedFd<'_>>)>,
    ) -> Result<(), StopReason> {
        loop {
            self.drain(&mut skip, out)?;
            let Some((watch, listener)) = follow else { return self.finish(out) };
            out.flush().map_err(StopReason::Output)?;
            if !wait(watch, listener)? {
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
                self.discover()?;
            }
            if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_DELETE)) {
                self.drain(&mut skip, out)?;
                self.sources.iter_mut().for_each(LogCursor::let_go);
            }
            if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) {
                // The folder is gone, and with it the app.
                return self.finish(out);
            }
        }
    }

    /// Shows all whole lines that are there, the oldest first.
    fn drain(&mut self, skip: &mut usize, out: &mut dyn Write) -> Result<(), StopReason> {
        // Lines come in while they are shown.
        let latest = Timestamp::now().saturating_add(SHOWING).unwrap_or(Timestamp::MAX);
        let latest = line::time(latest);
        loop {
            for source in &mut self.sources {
                source.look()?;
                source.place_line(latest.as_bytes());
            }
            let ready = self.sources.iter_mut().filter(|source| source.order().is_some());
            let Some(oldest) = ready.min_by(|a, b| a.order().cmp(&b.order())) else { return Ok(()) };
            let is_old = self.since.as_ref().is_some_and(|since| oldest.order() < Some(since.as_bytes()));
            let line = oldest.take();
            if *skip > 0 {
                *skip -= 1;
            } else if !is_old {
                print(line, self.query.raw, out)?;
            }
        }
    }

    /// Lines without an end are shown too when nobody waits for it.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), StopReason> {
        for source in &self.sources {
            let is_old = self.since.as_ref().is_some_and(|since| source.unfinished() < since.as_bytes());
            if !source.unfinished().is_empty() && !is_old {
                print(source.unfinished(), self.query.raw, out)?;
            }
        }
        out.flush().map_err(StopReason::Output)
    }

    /// Adds the instances that are new since the last look.
    fn discover(&mut self) -> io::Result<()> {
        if self.query.deploy.is_some() {
            return Ok(());
        }
        for path in self.chosen(&instances(self.dir)?) {
            if !self.sources.iter().any(|source| source.path() == path) {
                self.sources.push(LogCursor::start(path));
            }
        }
        Ok(())
    }
}

fn print(text: &[u8], raw: bool, out: &mut dyn Write) -> Result<(), StopReason> {
    let written = if raw { out.write_all(text) } else { out.write_all(coloured_text(text).as_bytes()) };
    written.and_then(|()| out.write_all(b"\n")).map_err(StopReason::Output)
}

/// Watches the folder of the logs; nothing where there is none.
pub(super) fn watch(folder: &std::path::Path) -> anyhow::Result<Option<Inotify>> {
    let events = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE;
    let watched = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .and_then(|watch| watch.add_watch(folder, events).map(|_| watch));
    match watched {
        Ok(watch) => Ok(Some(watch)),
        Err(Errno::ENOENT) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot watch '{}'", folder.display())),
    }
}

/// Waits for something to happen in the folder; false when the listener is gone.
fn wait(watch: &Inotify, listener: Option<BorrowedFd<'_>>) -> Result<bool, StopReason> {
    let mut fds = vec![PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    // Asked for nothing, told of errors and hang-ups.
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

/// The name of an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    kind: ProcessName,
    number: u32,
}

impl LogName {
    /// Whether it is meant by the name of an instance or a type.
    fn is(&self, only: &str) -> bool {
        only == self.kind.as_str() || only == self.to_string()
    }
}

impl std::fmt::Display for LogName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.kind, self.number)
    }
}

/// The instances that have a log, sorted.
pub(super) fn instances(dir: &AppDir) -> io::Result<Vec<LogName>> {
    let mut names = Vec::new();
    for file in files(dir)? {
        // A log that has just been put away has only its number: `web.1.log.1`.
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

/// The numbers of the deploys that have a log, ascending.
fn deploys(dir: &AppDir) -> io::Result<Vec<u64>> {
    let number = |file: String| file.strip_prefix("deploy-")?.strip_suffix(".log")?.parse().ok();
    let mut numbers: Vec<u64> = files(dir)?.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn files(dir: &AppDir) -> io::Result<Vec<String>> {
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
