//! Writer of one instance's log. Output is in the file as soon as it arrives, an unfinished line too, so a
//! supervisor killed in the middle of a line loses nothing: the next one continues where the file ends.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

mod last_lines;
mod recovery;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::checkpoint::SpoolCheckpoint;
use super::dropped_lines::DroppedLines;
use super::line;
use super::line_buffer::LineBuffer;
use super::render::{LogEnd, render_lines, split_index};
use super::rotate::{RotationLimits, rotate};

/// Writes one instance's log. It never fails and never waits: lines that do not fit on the disk are dropped
/// and counted, and a remark in the log reports them once there is space again.
///
/// Several writers may share a file if they live in one thread: lines are then cut, never mixed.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    instance: String,
    limits: RotationLimits,
    file: Option<File>,
    inode: u64,
    /// Length of the file after this writer's last write; another length means that another writer wrote.
    end: u64,
    at: LogEnd,
    /// Length of the file when this writer opened it; the part before is not its own.
    begin: u64,
    /// True once the file that `begin` refers to has become `path.1`.
    rotated: bool,
    dropped: Option<DroppedLines>,
    /// Output that is not written yet, if buffering is on.
    buffer: Option<LineBuffer>,
}

impl LogWriter {
    /// Opens the log, or creates it (mode 0600) and the directories above it (0700). The instance's name is
    /// the file's name without `.log`. If the file ends inside a line, the first output continues that line.
    ///
    /// # Errors
    /// Fails if the file cannot be opened. A full disk is not an error.
    pub(crate) fn open(path: PathBuf, limits: RotationLimits) -> io::Result<Self> {
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
            dropped: None,
            buffer: None,
        };
        writer.reopen()?;
        if writer.at == LogEnd::Foreign {
            writer.at = LogEnd::Text(writer.unfinished_length());
        }
        writer.begin = writer.end;
        Ok(writer)
    }

    /// Buffers output in memory for up to this long from now on.
    pub(crate) fn enable_buffer(&mut self, delay: Duration) {
        self.buffer = Some(LineBuffer::new(delay));
    }

    /// Returns true if output is buffered. Buffered output is lost when this process is killed.
    pub(super) fn is_buffered(&self) -> bool {
        self.buffer.is_some()
    }

    /// Appends output of the instance, in pieces of any size. The bytes stay as they are; each line gets the
    /// time at which its first byte arrived. A line of more than 64 KiB is split.
    ///
    /// Before each write `note` gets a checkpoint of what is about to be written where. Buffered output has
    /// none.
    pub(super) fn append_output(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        match &mut self.buffer {
            None => self.write_output(bytes, 0, now, note),
            Some(buffer) => {
                if buffer.push(bytes, now) {
                    self.write_buffered();
                }
            }
        }
    }

    /// Returns the time at which the buffer must be [flushed](LogWriter::flush); `None` while it is empty.
    #[must_use]
    pub(crate) fn flush_due(&self) -> Option<Instant> {
        self.buffer.as_ref()?.flush_due()
    }

    fn write_buffered(&mut self) {
        for (time, bytes) in self.buffer.as_mut().map(LineBuffer::drain).unwrap_or_default() {
            self.write_output(&bytes, 0, time, &mut |_| {});
        }
    }

    /// Writes `bytes[from..]` without buffering, and calls `note` before each write.
    pub(super) fn write_output(
        &mut self,
        bytes: &[u8],
        from: usize,
        now: Timestamp,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        for from in (from..bytes.len()).step_by(line::MAX_TEXT) {
            let to = bytes.len().min(from + line::MAX_TEXT);
            self.refresh_file();
            let mut begin = from;
            if self.is_full() {
                // The unfinished line ends in the file in which it began.
                begin += self.rest_of_line(&bytes[from..to]);
                self.write_piece(bytes, from..begin, now, note);
                if begin < to || self.at == LogEnd::Start {
                    self.rotate();
                }
            }
            self.write_piece(bytes, begin..to, now, note);
        }
    }

    /// Returns the text length of the unfinished line at the end of the file.
    fn unfinished_length(&mut self) -> usize {
        let prefix = line::format_prefix(Timestamp::UNIX_EPOCH, &self.instance).len();
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
            // If the file cannot be read, the line may grow longer than the limit, which is harmless.
            _ => 0,
        }
    }

    /// Returns how many of the bytes belong to the unfinished line.
    fn rest_of_line(&self, bytes: &[u8]) -> usize {
        let LogEnd::Text(length) = self.at else { return 0 };
        let end = bytes.iter().position(|b| *b == b'\n');
        let fits = split_index(&bytes[..end.unwrap_or(bytes.len())], length);
        if end == Some(fits) { fits + 1 } else { fits }
    }

    /// Writes a remark of the supervisor as one line, after ending an unfinished line.
    pub(crate) fn write_remark(&mut self, text: &str, now: Timestamp) {
        self.write_buffered();
        self.refresh_file();
        if self.is_full() {
            self.rotate();
        }
        let mut out = Vec::new();
        self.push_line_end(&mut out);
        self.push_dropped(&mut out, now);
        out.extend_from_slice(line::format_remark(now, &self.instance, text).as_bytes());
        match self.write(&out) {
            Ok(()) => {
                self.at = LogEnd::Start;
                self.dropped = None;
            }
            Err(err) => DroppedLines::add(&mut self.dropped, format!("{text}\n").as_bytes(), &err, now),
        }
    }

    /// Writes the buffer, and the remark on dropped lines if there is space for it now.
    pub(crate) fn flush(&mut self) {
        self.write_buffered();
        self.refresh_file();
        if self.dropped.is_some() {
            self.write_piece(b"", 0..0, Timestamp::now(), &mut |_| {});
        }
    }

    /// Appends a piece of the instance's output, each line with its prefix.
    fn write_piece(
        &mut self,
        bytes: &[u8],
        piece: Range<usize>,
        now: Timestamp,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        let text = &bytes[piece.clone()];
        let mut out = Vec::with_capacity(text.len() * 2 + 64);
        if self.at == LogEnd::Foreign || self.dropped.is_some() {
            self.push_line_end(&mut out);
        }
        self.push_dropped(&mut out, now);
        let lead = out.len() as u64;
        let at = if out.is_empty() { self.at } else { LogEnd::Start };
        let at = render_lines(text, at, &line::format_prefix(now, &self.instance), &mut out);
        if out.is_empty() {
            return;
        }
        let (from, to) = (piece.start, piece.end);
        note(&SpoolCheckpoint { file: self.inode, end: self.end, lead, at: self.at, from, to, now });
        match self.write(&out) {
            Ok(()) => {
                self.at = at;
                self.dropped = None;
            }
            Err(err) => DroppedLines::add(&mut self.dropped, text, &err, now),
        }
    }

    fn push_line_end(&self, out: &mut Vec<u8>) {
        if self.at != LogEnd::Start {
            out.push(b'\n');
        }
    }

    fn push_dropped(&self, out: &mut Vec<u8>, now: Timestamp) {
        if let Some(dropped) = &self.dropped {
            out.extend_from_slice(line::format_remark(now, &self.instance, &dropped.to_string()).as_bytes());
        }
    }

    /// Writes all of it or nothing.
    fn write(&mut self, out: &[u8]) -> io::Result<()> {
        // An unfinished line may exceed the limit; a file this long means that rotation fails.
        if self.end >= self.limits.bytes.saturating_mul(2) + 2 * line::MAX_TEXT as u64 {
            return Err(io::Error::other("the log is over its size and cannot be rotated"));
        }
        let Some(file) = &mut self.file else { return Err(io::Error::other("the log cannot be opened")) };
        if let Err(err) = file.write_all(out) {
            // If this fails too, `refresh_file` sees the unexpected length and ends the torn line.
            let _ = file.set_len(self.end);
            return Err(err);
        }
        self.end += out.len() as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.end >= self.limits.bytes
    }

    /// Rotates the log. If that fails, the old file grows on, to about twice its limit.
    fn rotate(&mut self) {
        // Ends a line of another writer, or one that is too long.
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
        // Without a file nothing can be written; each write tries again to open one.
        let _ = self.reopen();
    }

    /// Reopens the file if the path names another one, and updates the position in it: an operator may have
    /// removed, moved or emptied it, and another writer may have rotated it or added a line.
    fn refresh_file(&mut self) {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path).ok();
        match (ours, there) {
            (Some(ours), Some(there)) if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) => {
                if ours.len() != self.end {
                    self.end = ours.len();
                    self.at = self.file.as_mut().map_or(LogEnd::Start, read_end);
                    self.begin = self.begin.min(self.end);
                }
            }
            _ => {
                // The next write tries again.
                let _ = self.reopen();
                self.begin = 0;
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.end = 0;
        self.at = LogEnd::Start;
        if let Some(dir) = self.path.parent().filter(|dir| !dir.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        let metadata = file.metadata()?;
        (self.inode, self.end) = (metadata.ino(), metadata.len());
        self.at = read_end(&mut file);
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
impl LogWriter {
    /// Appends output as [`LogWriter::append_output`] does, without buffering and without checkpoints.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Timestamp) {
        self.write_buffered();
        self.write_output(bytes, 0, now, &mut |_| {});
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.write_buffered();
    }
}

/// Reads the last byte of a file to learn how it ends. An empty or unreadable file counts as ended.
fn read_end(file: &mut File) -> LogEnd {
    let mut last = [b'\n'];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read(&mut last));
    if read.is_ok() && last != [b'\n'] { LogEnd::Foreign } else { LogEnd::Start }
}

#[cfg(test)]
mod tests;
