//! One log read line by line while it is written and rotated: nothing twice, nothing left out as long as its file is there.

#![expect(clippy::disallowed_methods, reason = "the log folder, which only piku writes")]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rotate::{MAX_AGE, numbered};

/// How much is read at a time.
const BLOCK: usize = 64 * 1024;
/// A line is handed out unfinished when it is longer than this. No writer of ours makes such a line.
const MAX_LINE: usize = 1 << 20;
/// The length of a time in front of a line.
const TIME: usize = "2026-11-22T10:00:00.123Z".len();

/// A place in a log.
#[derive(Debug)]
pub(super) struct LogCursor {
    path: PathBuf,
    file: Option<File>,
    /// How far `file` is read.
    offset: u64,
    /// What is read and not yet handed out; `buffer[taken..]` is.
    buffer: Vec<u8>,
    taken: usize,
    /// Where the first line's end stands in `buffer`, when it is known.
    line_end: Option<usize>,
    /// How far `buffer` has been searched for one.
    searched: usize,
    /// The time of the line at hand.
    time: Vec<u8>,
    /// Its place among the lines of other logs, see [`LogCursor::place_line`].
    order: Vec<u8>,
    /// The file has lost its name to a newer one; it is read to its end, then the next one follows.
    rotated: bool,
}

impl LogCursor {
    /// The beginning of a log, which need not be there yet.
    pub(super) fn start(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            offset: 0,
            buffer: Vec::new(),
            taken: 0,
            line_end: None,
            searched: 0,
            time: Vec::new(),
            order: Vec::new(),
            rotated: false,
        }
    }

    /// The place before the last `count` lines of a log and its older files, and how many there really are.
    pub(super) fn last(path: PathBuf, count: usize) -> io::Result<(Self, usize)> {
        let mut source = Self::start(path);
        let mut found = 0;
        for age in 0..=MAX_AGE {
            let Some(mut file) = open(&source.aged(age))? else { continue };
            let (offset, lines) = last_lines(&mut file, count - found)?;
            // An empty or skipped file is passed over, but the newest is the place to go on from.
            if lines > 0 || source.file.is_none() {
                source.rotated = age > 0;
                source.offset = offset;
                source.file = Some(file);
            }
            found += lines;
            if found == count {
                break;
            }
        }
        Ok((source, found))
    }

    /// A place that was remembered, see [`LogCursor::place`] and [`LogCursor::last_time`]. When its file is gone, the oldest that goes
    /// on after that time.
    pub(super) fn at(path: PathBuf, inode: u64, offset: u64, time: &str) -> io::Result<Self> {
        let mut source = Self::start(path);
        source.time = time.as_bytes().to_vec();
        for age in 0..=MAX_AGE {
            let Some(file) = open(&source.aged(age))? else { continue };
            if file.metadata()?.ino() == inode {
                (source.rotated, source.offset, source.file) = (age > 0, offset, Some(file));
                return Ok(source);
            }
        }
        if let Some((age, file)) =
            source.first_of((0..=MAX_AGE).rev(), |first| first >= source.time.as_slice())?
        {
            (source.rotated, source.file) = (age > 0, Some(file));
        }
        Ok(source)
    }

    /// The file's inode, and how much of it was handed out. Nothing while there is no file.
    pub(super) fn place(&self) -> Option<(u64, u64)> {
        let file = self.file.as_ref()?;
        let waiting = (self.buffer.len() - self.taken) as u64;
        Some((file.metadata().ok()?.ino(), self.offset.saturating_sub(waiting)))
    }

    /// The time of the last line that was looked at.
    pub(super) fn last_time(&self) -> &[u8] {
        &self.time
    }

    /// Whether the file at hand is the one of this age.
    pub(super) fn is_of_age(&self, age: u32) -> io::Result<bool> {
        self.file.as_ref().map_or(Ok(false), |file| is_at(file, &self.aged(age)))
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on until there is a whole line or no more to read.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if self.line_end.is_some() {
            return Ok(());
        }
        self.line_end = self.find_line()?;
        if let Some(end) = self.line_end {
            if let Some(time) = time_of(&self.buffer[self.taken..end]) {
                self.time.clear();
                self.time.extend_from_slice(time);
            }
        }
        Ok(())
    }

    /// The time of the next line, when [`LogCursor::look`] has found one, to be compared as text. A line without a time has
    /// that of the line before.
    pub(super) fn time(&self) -> Option<&[u8]> {
        self.line_end.map(|_| self.time.as_slice())
    }

    /// LogPositions the next line among those of other logs. That is its time, as long as the clock goes forward; a line whose time is
    /// before that of a line above it, or later than `latest`, was written by a clock that was wrong, and stays behind that line.
    pub(super) fn place_line(&mut self, latest: &[u8]) {
        if self.line_end.is_some() && self.time > self.order && self.time.as_slice() <= latest {
            self.order.clone_from(&self.time);
        }
    }

    /// Its place, when [`LogCursor::look`] has found a line, to be compared as text.
    pub(super) fn order(&self) -> Option<&[u8]> {
        self.line_end.map(|_| self.order.as_slice())
    }

    /// The next line without its end; only after [`LogCursor::look`] has found one.
    pub(super) fn take(&mut self) -> &[u8] {
        let Some(end) = self.line_end.take() else { return &[] };
        let begin = self.taken;
        self.taken = end;
        self.searched = end;
        let line = &self.buffer[begin..end];
        line.strip_suffix(b"\n").unwrap_or(line)
    }

    /// The line at the end that has no end yet.
    pub(super) fn unfinished(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Closes a file that is removed with all that came after it; an open one would keep its folder from ending.
    pub(super) fn let_go(&mut self) {
        if (0..=MAX_AGE).all(|age| !self.aged(age).exists()) {
            self.file = None;
            self.rotated = false;
        }
    }

    /// Reads until there is a whole line; its end in the buffer.
    fn find_line(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                return Ok(Some(self.searched + at + 1));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() - self.taken > MAX_LINE {
                return Ok(Some(self.buffer.len()));
            }
            if self.fill()? {
                continue;
            }
            // The end of a file that is not the newest any more ends its last line.
            let moved = self.rotated && self.next_file()?;
            if moved && self.taken < self.buffer.len() {
                return Ok(Some(self.buffer.len()));
            }
            if !moved {
                return Ok(None);
            }
        }
    }

    /// Reads a block; says whether anything came.
    fn fill(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = open(&self.path)?;
            self.offset = 0;
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        loop {
            file.seek(SeekFrom::Start(self.offset))?;
            let before = self.buffer.len();
            let count = file.take(BLOCK as u64).read_to_end(&mut self.buffer)?;
            self.offset += count as u64;
            if count > 0 {
                return Ok(true);
            }
            debug_assert_eq!(before, self.buffer.len());
            if file.metadata()?.len() < self.offset {
                // Somebody emptied it.
                self.offset = 0;
            } else if self.rotated || is_at(file, &self.path)? {
                return Ok(false);
            } else {
                // It has lost its name since the read before. What was written until then is read first.
                self.rotated = true;
            }
        }
    }

    /// Goes on to the file after this one, when there is one yet.
    fn next_file(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        loop {
            let mut age = None;
            for candidate in 1..=MAX_AGE {
                if is_at(file, &self.aged(candidate))? {
                    age = Some(candidate);
                    break;
                }
            }
            let next = match age {
                Some(age) => self.first_of((0..age).rev(), |_| true)?,
                // Its file is gone: the oldest that goes on where it ended. Older ones have been read, or are from before
                // the place where reading began.
                None => match self.first_of((0..=MAX_AGE).rev(), |time| time >= self.time.as_slice())? {
                    // The clock was set back.
                    None => self.first_of(std::iter::once(0), |_| true)?,
                    found => found,
                },
            };
            // While a rotation was under way the files were not yet, or no more, what their names said.
            if age.is_some_and(|age| !is_at(file, &self.aged(age)).unwrap_or(false)) {
                continue;
            }
            let Some((age, next)) = next else { return Ok(false) };
            self.rotated = age > 0;
            self.file = Some(next);
            self.offset = 0;
            return Ok(true);
        }
    }

    /// Opens the first of these files that is there and whose first line's time fits. An empty file always fits.
    fn first_of(
        &self,
        ages: impl Iterator<Item = u32>,
        fits: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<(u32, File)>> {
        for age in ages {
            let Some(mut file) = open(&self.aged(age))? else { continue };
            let mut begin = Vec::new();
            file.by_ref().take(TIME as u64 + 1).read_to_end(&mut begin)?;
            if time_of(&begin).is_none_or(&fits) {
                return Ok(Some((age, file)));
            }
        }
        Ok(None)
    }

    fn aged(&self, age: u32) -> PathBuf {
        if age == 0 { self.path.clone() } else { numbered(&self.path, age) }
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// Whether the file has this name. A missing name is somebody else's.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// The time in front of a line, if there is one.
fn time_of(line: &[u8]) -> Option<&[u8]> {
    let (time, rest) = line.split_at_checked(TIME)?;
    let good = time.ends_with(b"Z") && time[10] == b'T' && time[0].is_ascii_digit() && rest.starts_with(b" ");
    good.then_some(time)
}

/// Where the last `count` lines of a file begin, and how many there are. An unfinished line counts.
fn last_lines(file: &mut File, count: usize) -> io::Result<(u64, usize)> {
    let length = file.seek(SeekFrom::End(0))?;
    if count == 0 || length == 0 {
        return Ok((length, 0));
    }
    let mut block = vec![0; BLOCK];
    let mut begin = length;
    let mut lines = 0;
    while begin > 0 {
        let size = begin.min(BLOCK as u64);
        begin -= size;
        file.seek(SeekFrom::Start(begin))?;
        // A file of a log only grows, but for an operator who empties it.
        let Ok(size) = usize::try_from(size) else { break };
        let block = &mut block[..size];
        if file.read_exact(block).is_err() {
            return Ok((0, 0));
        }
        for (at, byte) in block.iter().enumerate().rev() {
            let offset = begin + at as u64;
            // The end of the last line begins no line.
            if *byte == b'\n' && offset + 1 < length {
                lines += 1;
                if lines == count {
                    return Ok((offset + 1, lines));
                }
            }
        }
    }
    Ok((0, lines + 1))
}

#[cfg(test)]
mod tests;
