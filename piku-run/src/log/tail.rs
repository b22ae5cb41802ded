//! The logs of all instances of an app, from remembered places on, for whoever sends them elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, Inotify};
use piku_layout::paths::AppDir;
use serde::{Deserialize, Serialize};

use super::cursor::LogCursor;
use super::line;
use super::reader::{instances, watch};
use super::rotate::RotationLimits;

/// How far each instance's log is read.
pub(crate) type LogPositions = BTreeMap<String, LogPosition>;

/// A place in a log that is rotated: a file, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    /// The file's inode.
    pub(crate) file: u64,
    pub(crate) offset: u64,
    /// The time of the last line before, for when the file is gone.
    pub(crate) time: String,
}

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TailLine {
    pub(crate) time: String,
    pub(crate) instance: String,
    /// The supervisor says it, not the worker.
    pub(crate) is_remark: bool,
    pub(crate) text: Vec<u8>,
}

/// Reads on in all of them.
#[derive(Debug)]
pub(crate) struct LogTail {
    dir: AppDir,
    watch: Inotify,
    limits: RotationLimits,
    sources: BTreeMap<String, LogCursor>,
}

impl LogTail {
    /// From these places on. A log without one is read from its begin; without any places, all are read from their ends.
    pub(crate) fn open(
        dir: &AppDir,
        limits: RotationLimits,
        places: Option<&LogPositions>,
    ) -> anyhow::Result<Self> {
        crate::releases::current::make(&dir.log())?;
        let watch = watch(&dir.log())?.ok_or_else(|| anyhow::anyhow!("the folder of the logs is gone"))?;
        let mut tail = Self { dir: dir.clone(), watch, limits, sources: BTreeMap::new() };
        for name in instances(dir)? {
            let name = name.to_string();
            let path = dir.instance_log(&name);
            let source = match places {
                None => LogCursor::last(path, 0)?.0,
                Some(places) => match places.get(&name) {
                    Some(place) => LogCursor::at(path, place.file, place.offset, &place.time)?,
                    None => LogCursor::start(path),
                },
            };
            tail.sources.insert(name, source);
        }
        Ok(tail)
    }

    /// Up to so many lines of each that are there now.
    pub(crate) fn take(&mut self, most: usize) -> io::Result<Vec<TailLine>> {
        let mut lines = Vec::new();
        for (instance, source) in &mut self.sources {
            for _ in 0..most {
                source.look()?;
                let Some(time) = source.time() else { break };
                let time =
                    if time.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(time).into_owned() };
                let (is_remark, text) = line::parts(source.take(), instance);
                lines.push(TailLine { time, instance: instance.clone(), is_remark, text: text.to_vec() });
            }
        }
        Ok(lines)
    }

    /// How far all that was taken goes.
    pub(crate) fn places(&self) -> LogPositions {
        let place = |(name, source): (&String, &LogCursor)| {
            let (file, offset) = source.place()?;
            let time = String::from_utf8_lossy(source.last_time()).into_owned();
            Some((name.clone(), LogPosition { file, offset, time }))
        };
        self.sources.iter().filter_map(place).collect()
    }

    /// Passes over what the next rotation would remove; how many lines that were.
    pub(crate) fn skip_doomed(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        for source in self.sources.values_mut() {
            while source.is_of_age(self.limits.keep)? {
                source.look()?;
                if source.time().is_none() {
                    break;
                }
                source.take();
                skipped += 1;
            }
        }
        Ok(skipped)
    }

    /// Waits until something was written, or `other` has something to tell; whether it has.
    pub(crate) fn wait(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        fds.extend(other.map(|other| PollFd::new(other, PollFlags::POLLIN)));
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let told = fds.get(1).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        match self.watch.read_events() {
            Ok(events) => {
                if events.iter().any(|event| event.mask != AddWatchFlags::IN_MODIFY) {
                    self.discover()?;
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(told)
    }

    fn discover(&mut self) -> io::Result<()> {
        for name in instances(&self.dir)? {
            let path = self.dir.instance_log(&name.to_string());
            self.sources.entry(name.to_string()).or_insert_with(|| LogCursor::start(path));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogWriter;
    use jiff::Timestamp;
    use piku_layout::paths::PikuRoot;

    fn texts(tail: &mut LogTail) -> Vec<String> {
        let lines = tail.take(10_000).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line.text).unwrap()).collect()
    }

    #[test]
    fn goes_on_where_another_has_ended_and_counts_what_it_passes_over() {
        let root = tempfile::tempdir().unwrap();
        let dir = PikuRoot::new(Some(root.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let limits = RotationLimits { bytes: 100, ..RotationLimits::default() };
        let mut log = LogWriter::with_limits(dir.instance_log("web.1"), limits).unwrap();
        log.feed(b"before\n", Timestamp::now());
        let mut tail = LogTail::open(&dir, limits, None).unwrap();
        assert_eq!(texts(&mut tail), [""; 0]);
        log.feed(b"1\n2\n", Timestamp::now());
        log.line("remark", Timestamp::now());
        let lines = tail.take(2).unwrap();
        assert_eq!((lines[0].instance.as_str(), lines[0].is_remark), ("web.1", false));
        assert_eq!(lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), [b"1", b"2"]);
        let places = tail.places();
        drop(tail);
        let mut worker = LogWriter::open(dir.instance_log("worker.1")).unwrap();
        worker.feed(b"new\n", Timestamp::now());
        for number in 3..=9 {
            log.feed(format!("{number}\n").as_bytes(), Timestamp::now());
        }
        let mut tail = LogTail::open(&dir, limits, Some(&places)).unwrap();
        assert_eq!(texts(&mut tail), ["remark", "3", "4", "5", "6", "7", "8", "9", "new"]);
        // Nobody takes anything: the file at hand grows old, and what is left in it is passed over.
        let mut skipped = 0;
        for number in 10..=60 {
            log.feed(format!("{number}\n").as_bytes(), Timestamp::now());
            skipped += tail.skip_doomed().unwrap();
        }
        let left = texts(&mut tail);
        assert_eq!(left.last().map(String::as_str), Some("60"));
        assert_eq!(left.len() as u64 + skipped, 51);
        assert!(skipped > 10, "{skipped}");
        assert_eq!(tail.skip_doomed().unwrap(), 0);
    }
}
