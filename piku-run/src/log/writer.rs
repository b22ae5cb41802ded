//! The writer of one instance's log. What a worker says is in the file as soon as it is fed, an unfinished line too, so
//! that a supervisor killed in the middle of a line loses nothing of it: the next one goes on where the file ends.

#![expect(clippy::disallowed_methods, reason = "the log folder, which only piku writes")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use piku_report::terminal::plain_text;

use super::checkpoint::SpoolCheckpoint;
use super::dropped_lines::DroppedLines;
use super::line;
use super::line_buffer::LineBuffer;
use super::render::{LogEnd, fitting, render};
use super::rotate::{RotationLimits, numbered, rotate};

/// How much of a log's end is looked through for the last lines.
const TAIL_BYTES: u64 = 256 * 1024;
/// The longest line that [`LogWriter::tail`] hands out, in characters.
const TAIL_LINE: usize = 1000;
/// Writes one instance's log. It never fails and never waits: what does not fit on the disk is dropped and counted, and
/// the log says so when there is room again.
///
/// More than one may write to the same file, as long as they live in one thread: lines are then cut, never mixed.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    instance: String,
    limits: RotationLimits,
    file: Option<File>,
    /// Its number on its disk.
    inode: u64,
    /// The file's length as this writer left it; when it is another, somebody else wrote.
    end: u64,
    at: LogEnd,
    /// The file's length when this writer came; what stands before is not its own.
    begin: u64,
    /// Whether the file that `begin` is about has become `path.1`.
    rotated: bool,
    lost: Option<DroppedLines>,
    /// What waits to be written, where lines are gathered.
    gather: Option<LineBuffer>,
}

impl LogWriter {
    /// Opens the log of a worker that runs already, or makes it (mode 0600) and the folders above it (0700). The instance's
    /// name is the file's name without `.log`. When the file ends inside a line, the first thing fed goes on with that line.
    ///
    /// # Errors
    /// When the file cannot be opened. A full disk is no error.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Self::with_limits(path, RotationLimits::default())
    }

    /// The same for a worker that is about to begin: a line at the file's end is somebody else's, the one before it or
    /// the one it is to replace, and is ended.
    ///
    /// # Errors
    /// When the file cannot be opened. A full disk is no error.
    pub fn begin(path: PathBuf) -> io::Result<Self> {
        let mut writer = Self::open(path)?;
        if writer.at != LogEnd::Start {
            writer.at = LogEnd::Foreign;
        }
        Ok(writer)
    }

    /// As [`LogWriter::open`], with other limits.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn with_limits(path: PathBuf, limits: RotationLimits) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let instance = name.strip_suffix(".log").unwrap_or(&name).to_owned();
        let mut writer = Self {
            path,
            instance,
            limits,
            file: None,
            inode: 0,
            end: 0,
            at: LogEnd::Start,
            begin: 0,
            rotated: false,
            lost: None,
            gather: None,
        };
        writer.reopen()?;
        if writer.at == LogEnd::Foreign {
            writer.at = LogEnd::Text(writer.open_length());
        }
        writer.begin = writer.end;
        Ok(writer)
    }

    /// Takes what the worker wrote, in pieces of any size. Its bytes are kept as they are; each line gets the time at which
    /// its first byte came. A line of more than 64 KiB becomes several.
    pub fn feed(&mut self, bytes: &[u8], now: Timestamp) {
        self.write_gathered();
        self.feed_marked(bytes, 0, now, &mut |_| {});
    }

    /// Gathers for this long from now on what [`LogWriter::take_in`] is given.
    pub fn gather(&mut self, pause: Duration) {
        self.gather = Some(LineBuffer::new(pause));
    }

    /// Returns whether lines are gathered: what is gathered is lost with this process when it is killed.
    pub(super) fn gathers(&self) -> bool {
        self.gather.is_some()
    }

    /// As [`LogWriter::feed`], where lines are not gathered; before each write `note` is told what is about to be written where.
    pub(super) fn take_in(&mut self, bytes: &[u8], now: Timestamp, note: &mut dyn FnMut(&SpoolCheckpoint)) {
        match &mut self.gather {
            None => self.feed_marked(bytes, 0, now, note),
            Some(gather) => {
                if gather.add(bytes, now) {
                    self.write_gathered();
                }
            }
        }
    }

    /// Returns when what was gathered is to be [flushed](LogWriter::flush); `None` while there is nothing.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.gather.as_ref()?.due()
    }

    fn write_gathered(&mut self) {
        for (time, bytes) in self.gather.as_mut().map(LineBuffer::take).unwrap_or_default() {
            self.feed_marked(&bytes, 0, time, &mut |_| {});
        }
    }

    /// The same with `bytes[from..]`, and before each write `note` is told what is about to be written where.
    pub(super) fn feed_marked(
        &mut self,
        bytes: &[u8],
        from: usize,
        now: Timestamp,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        for from in (from..bytes.len()).step_by(line::MAX_TEXT) {
            let to = bytes.len().min(from + line::MAX_TEXT);
            self.settle();
            let mut begin = from;
            if self.is_full() {
                // The line that is open ends in the file it began in.
                begin += self.to_line_end(&bytes[from..to]);
                self.say(bytes, from..begin, now, note);
                if begin < to || self.at == LogEnd::Start {
                    self.put_away();
                }
            }
            self.say(bytes, begin..to, now, note);
        }
    }

    /// Ends what a supervisor was killed in the middle of: the piece of `bytes` that `mark` tells of may be in the file in
    /// part, and everything after it is not. Without a mark nothing is.
    pub(super) fn resume(
        &mut self,
        bytes: &[u8],
        mark: Option<&SpoolCheckpoint>,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        let done = mark.and_then(|mark| self.complete(bytes, mark));
        self.feed_marked(bytes, done.unwrap_or(0), Timestamp::now(), note);
    }

    /// Writes the rest of a piece, whose text and time tell exactly what is to stand there; how much of `bytes` is done then.
    fn complete(&mut self, bytes: &[u8], mark: &SpoolCheckpoint) -> Option<usize> {
        let (from, to) = (mark.from.min(bytes.len()), mark.to.min(bytes.len()));
        let is_ours = |path: &Path| fs::metadata(path).is_ok_and(|there| there.ino() == mark.file);
        if !is_ours(&self.path) {
            // Only when the piece is whole its file is put away.
            return Some(if is_ours(&numbered(&self.path, 1)) { to } else { from });
        }
        let begin = mark.end + mark.lead;
        if self.end < begin {
            // Nothing of it, or a torn remark on what was lost.
            let file = self.file.as_ref()?;
            file.set_len(mark.end.min(self.end)).ok()?;
            self.settle();
            self.at = mark.at;
            return Some(from);
        }
        let mut out = Vec::new();
        let at = if mark.lead == 0 { mark.at } else { LogEnd::Start };
        let at = render(&bytes[from..to], at, &line::prefix(mark.now, &self.instance), &mut out);
        let mut there = Vec::new();
        let file = self.file.as_mut()?;
        file.seek(SeekFrom::Start(begin)).and_then(|_| file.read_to_end(&mut there)).ok()?;
        let rest = out.strip_prefix(there.as_slice())?;
        self.write(rest).ok()?;
        self.at = at;
        Some(to)
    }

    /// How long the text of the line at the file's end is.
    fn open_length(&mut self) -> usize {
        let prefix = line::prefix(Timestamp::UNIX_EPOCH, &self.instance).len();
        let longest = (prefix + line::MAX_TEXT) as u64;
        let begin = self.end.saturating_sub(longest);
        let mut bytes = Vec::new();
        let read = self.file.as_mut().map(|file| {
            file.seek(SeekFrom::Start(begin))?;
            file.take(longest).read_to_end(&mut bytes)
        });
        match (read, bytes.iter().rposition(|b| *b == b'\n')) {
            (Some(Ok(_)), Some(at)) => (bytes.len() - at - 1).saturating_sub(prefix),
            (Some(Ok(_)), None) => bytes.len().saturating_sub(prefix),
            // A line too long by what cannot be read is no harm.
            _ => 0,
        }
    }

    /// How much of it belongs to the line that is open.
    fn to_line_end(&self, bytes: &[u8]) -> usize {
        let LogEnd::Text(length) = self.at else { return 0 };
        let end = bytes.iter().position(|b| *b == b'\n');
        let fits = fitting(&bytes[..end.unwrap_or(bytes.len())], length);
        if end == Some(fits) { fits + 1 } else { fits }
    }

    /// Adds a remark of the supervisor's own, one line. A line that the worker has not ended is ended.
    pub fn line(&mut self, text: &str, now: Timestamp) {
        self.write_gathered();
        self.settle();
        if self.is_full() {
            self.put_away();
        }
        let mut out = Vec::new();
        self.end_line(&mut out);
        self.tell_lost(&mut out, now);
        out.extend_from_slice(line::remark(now, &self.instance, text).as_bytes());
        match self.write(&out) {
            Ok(()) => {
                self.at = LogEnd::Start;
                self.lost = None;
            }
            Err(err) => DroppedLines::add(&mut self.lost, format!("{text}\n").as_bytes(), &err, now),
        }
    }

    /// Writes what is outstanding: what was gathered, and the remark on what was lost, when there is room for it now.
    pub fn flush(&mut self) {
        self.write_gathered();
        self.settle();
        if self.lost.is_some() {
            self.say(b"", 0..0, Timestamp::now(), &mut |_| {});
        }
    }

    /// The worker's last `n` lines since this writer was opened, oldest first, without time and name and without
    /// anything that is not plain text; what did not fit on the disk is among them. Empty lines are left out, long
    /// ones are cut.
    #[must_use]
    pub fn tail(&self, n: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if self.rotated {
            lines.extend(self.texts(&numbered(&self.path, 1), self.begin));
            lines.extend(self.texts(&self.path, 0));
        } else {
            lines.extend(self.texts(&self.path, self.begin));
        }
        if let Some(lost) = &self.lost {
            lines.extend(lost.lines().map(cut));
        }
        lines.split_off(lines.len().saturating_sub(n))
    }

    /// The worker's lines at the end of a file, of those after `begin`.
    fn texts(&self, path: &Path, begin: u64) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            let end = file.metadata()?.len();
            let mut bytes = Vec::new();
            let from = begin.max(end.saturating_sub(TAIL_BYTES));
            file.seek(SeekFrom::Start(from))?;
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            if from > begin {
                // It begins somewhere inside a line.
                bytes = bytes.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default().to_vec();
            }
            Ok(bytes)
        };
        let Ok(bytes) = read() else { return Vec::new() };
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let texts = lines.filter_map(|line| line::text_of(line, &self.instance));
        texts.filter(|text| !text.is_empty()).map(cut).collect()
    }

    /// Appends a piece of the worker's text, each line with its prefix.
    fn say(
        &mut self,
        bytes: &[u8],
        piece: Range<usize>,
        now: Timestamp,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        let text = &bytes[piece.clone()];
        let mut out = Vec::with_capacity(text.len() * 2 + 64);
        if self.at == LogEnd::Foreign || self.lost.is_some() {
            self.end_line(&mut out);
        }
        self.tell_lost(&mut out, now);
        let lead = out.len() as u64;
        let at = if out.is_empty() { self.at } else { LogEnd::Start };
        let at = render(text, at, &line::prefix(now, &self.instance), &mut out);
        if out.is_empty() {
            return;
        }
        note(&SpoolCheckpoint {
            file: self.inode,
            end: self.end,
            lead,
            at: self.at,
            from: piece.start,
            to: piece.end,
            now,
        });
        match self.write(&out) {
            Ok(()) => {
                self.at = at;
                self.lost = None;
            }
            Err(err) => DroppedLines::add(&mut self.lost, text, &err, now),
        }
    }

    fn end_line(&self, out: &mut Vec<u8>) {
        if self.at != LogEnd::Start {
            out.push(b'\n');
        }
    }

    fn tell_lost(&self, out: &mut Vec<u8>, now: Timestamp) {
        if let Some(lost) = &self.lost {
            out.extend_from_slice(line::remark(now, &self.instance, &lost.to_string()).as_bytes());
        }
    }

    /// Writes all or nothing.
    fn write(&mut self, out: &[u8]) -> io::Result<()> {
        // A line that is open may make it longer than its limit; beyond this, rotating has failed.
        if self.end >= self.limits.bytes.saturating_mul(2) + 2 * line::MAX_TEXT as u64 {
            return Err(io::Error::other("the log is over its size and cannot be rotated"));
        }
        let Some(file) = &mut self.file else { return Err(io::Error::other("the log cannot be opened")) };
        if let Err(err) = file.write_all(out) {
            // Where this fails too, `settle` finds the file longer than it was left and ends the torn line.
            let _ = file.set_len(self.end);
            return Err(err);
        }
        self.end += out.len() as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.end >= self.limits.bytes
    }

    /// Rotates. When that fails the log goes on in the old file, up to about twice its size.
    fn put_away(&mut self) {
        // A line of another writer, or one that is too long, ends here.
        if self.at != LogEnd::Start && self.write(b"\n").is_ok() {
            self.at = LogEnd::Start;
        }
        if rotate(&self.path, self.limits.keep).is_err() {
            return;
        }
        if self.rotated {
            self.begin = 0;
        }
        self.rotated = true;
        // Failing means that nothing can be written at all; each feed tries again.
        let _ = self.reopen();
    }

    /// Sees to it that the file being written is the one that has the name, and where in a line it ends: the operator may
    /// have removed, moved or emptied it, and another writer may have rotated it or added a line.
    fn settle(&mut self) {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path).ok();
        match (ours, there) {
            (Some(ours), Some(there)) if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) => {
                if ours.len() != self.end {
                    self.end = ours.len();
                    self.at = self.file.as_mut().map_or(LogEnd::Start, end_of);
                    self.begin = self.begin.min(self.end);
                }
            }
            _ => {
                // Tried again with each feed.
                let _ = self.reopen();
                self.begin = 0;
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.end = 0;
        self.at = LogEnd::Start;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        let about = file.metadata()?;
        (self.inode, self.end) = (about.ino(), about.len());
        self.at = end_of(&mut file);
        self.file = Some(file);
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.write_gathered();
    }
}

/// Whether a file that somebody else wrote ends at a line's start.
fn end_of(file: &mut File) -> LogEnd {
    let mut last = [b'\n'];
    // An empty file has no byte before its end, and one that cannot be read is taken for ended: at worst there is an
    // empty line less.
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read(&mut last));
    if read.is_ok() && last != [b'\n'] { LogEnd::Foreign } else { LogEnd::Start }
}

/// A line as text, not longer than a person reads.
fn cut(text: &[u8]) -> String {
    let text = plain_text(text);
    match text.char_indices().nth(TAIL_LINE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
