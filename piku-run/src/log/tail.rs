//! Reads the logs of all instances of an app from saved positions on, for log forwarding.

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
use super::log_names::{list_instances, watch_directories};
use super::rotate::RotationLimits;

pub(crate) type LogPositions = BTreeMap<String, LogPosition>;

/// A position in a log, stored as JSON. It stays valid through rotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    /// Inode of the log file.
    pub(crate) file: u64,
    pub(crate) offset: u64,
    /// Time of the last line before the position, used if the file is removed.
    pub(crate) time: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TailLine {
    pub(crate) time: String,
    pub(crate) instance: String,
    /// True for a remark of the supervisor.
    pub(crate) is_remark: bool,
    pub(crate) text: Vec<u8>,
}

/// Reads all logs of an app as they grow.
#[derive(Debug)]
pub(crate) struct LogTail {
    dir: AppDir,
    watch: Inotify,
    limits: RotationLimits,
    cursors: BTreeMap<String, LogCursor>,
}

impl LogTail {
    /// Starts at these positions. A log without one is read from its beginning; without any positions, all
    /// logs are read from their ends.
    pub(crate) fn open(
        dir: &AppDir,
        limits: RotationLimits,
        positions: Option<&LogPositions>,
    ) -> anyhow::Result<Self> {
        crate::releases::current::create_dir(&dir.log())?;
        let watch = watch_directories([dir.log().as_path()].into_iter())?;
        let watch = watch.ok_or_else(|| anyhow::anyhow!("the log directory is gone"))?.inotify;
        let mut tail = Self { dir: dir.clone(), watch, limits, cursors: BTreeMap::new() };
        for name in list_instances(dir)? {
            let name = name.to_string();
            let path = dir.instance_log(&name);
            let cursor = match positions {
                None => LogCursor::before_last_lines(path, 0)?.0,
                Some(positions) => match positions.get(&name) {
                    Some(saved) => LogCursor::at_position(path, saved.file, saved.offset, &saved.time)?,
                    None => LogCursor::at_start(path),
                },
            };
            tail.cursors.insert(name, cursor);
        }
        Ok(tail)
    }

    /// Reads up to `limit` available lines of each log.
    pub(crate) fn read_lines(&mut self, limit: usize) -> io::Result<Vec<TailLine>> {
        let mut lines = Vec::new();
        for (instance, cursor) in &mut self.cursors {
            for _ in 0..limit {
                cursor.find_line()?;
                let Some(time) = cursor.line_time() else { break };
                let time =
                    if time.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(time).into_owned() };
                let (is_remark, text) = line::split_line(cursor.take_line(), instance);
                lines.push(TailLine { time, instance: instance.clone(), is_remark, text: text.to_vec() });
            }
        }
        Ok(lines)
    }

    /// Returns the positions after all lines that were read.
    pub(crate) fn positions(&self) -> LogPositions {
        let position = |(name, cursor): (&String, &LogCursor)| {
            let (file, offset) = cursor.position()?;
            let time = String::from_utf8_lossy(cursor.last_time()).into_owned();
            Some((name.clone(), LogPosition { file, offset, time }))
        };
        self.cursors.iter().filter_map(position).collect()
    }

    /// Skips the lines that the next rotation would remove; returns their number.
    pub(crate) fn skip_expiring(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        for cursor in self.cursors.values_mut() {
            while cursor.is_at_age(self.limits.keep)? {
                cursor.find_line()?;
                if cursor.line_time().is_none() {
                    break;
                }
                cursor.take_line();
                skipped += 1;
            }
        }
        Ok(skipped)
    }

    /// Waits until a log changes or `other` becomes readable; returns true for the latter.
    pub(crate) fn wait_for_change(
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
        let is_readable = fds.get(1).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        match self.watch.read_events() {
            Ok(events) => {
                if events.iter().any(|event| event.mask != AddWatchFlags::IN_MODIFY) {
                    self.add_new_logs()?;
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(is_readable)
    }

    fn add_new_logs(&mut self) -> io::Result<()> {
        for name in list_instances(&self.dir)? {
            let path = self.dir.instance_log(&name.to_string());
            self.cursors.entry(name.to_string()).or_insert_with(|| LogCursor::at_start(path));
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
        let lines = tail.read_lines(10_000).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line.text).unwrap()).collect()
    }

    #[test]
    fn reading_resumes_at_a_saved_position_and_skipped_lines_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let dir = PikuRoot::new(Some(root.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let limits = RotationLimits { bytes: 100, ..RotationLimits::default() };
        let mut log = LogWriter::open(dir.instance_log("web.1"), limits).unwrap();
        log.feed(b"before\n", Timestamp::now());
        let mut tail = LogTail::open(&dir, limits, None).unwrap();
        assert_eq!(texts(&mut tail), [""; 0]);
        log.feed(b"1\n2\n", Timestamp::now());
        log.write_remark("remark", Timestamp::now());
        let lines = tail.read_lines(2).unwrap();
        assert_eq!((lines[0].instance.as_str(), lines[0].is_remark), ("web.1", false));
        assert_eq!(lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), [b"1", b"2"]);
        let positions = tail.positions();
        drop(tail);
        let mut worker = LogWriter::open(dir.instance_log("worker.1"), RotationLimits::default()).unwrap();
        worker.feed(b"new\n", Timestamp::now());
        for number in 3..=9 {
            log.feed(format!("{number}\n").as_bytes(), Timestamp::now());
        }
        let mut tail = LogTail::open(&dir, limits, Some(&positions)).unwrap();
        assert_eq!(texts(&mut tail), ["remark", "3", "4", "5", "6", "7", "8", "9", "new"]);
        // Nothing is read: the current file gets older, and its remaining lines are skipped.
        let mut skipped = 0;
        for number in 10..=60 {
            log.feed(format!("{number}\n").as_bytes(), Timestamp::now());
            skipped += tail.skip_expiring().unwrap();
        }
        let left = texts(&mut tail);
        assert_eq!(left.last().map(String::as_str), Some("60"));
        assert_eq!(left.len() as u64 + skipped, 51);
        assert!(skipped > 10, "{skipped}");
        assert_eq!(tail.skip_expiring().unwrap(), 0);
    }
}
