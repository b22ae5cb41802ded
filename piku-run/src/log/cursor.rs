//! Reads one log line by line while it is written and rotated. No line is read twice, and none is skipped as
//! long as its file exists.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::line_format::LineFormat;
use super::rotate::{MAX_AGE, numbered};

const BLOCK: usize = 64 * 1024;
/// A longer line is returned unfinished. piku writes no such lines.
const MAX_LINE: usize = 1 << 20;

/// A reading position in a log and its rotated files.
#[derive(Debug)]
pub(super) struct LogCursor {
    path: PathBuf,
    format: LineFormat,
    file: Option<File>,
    /// Offset in `file` up to which it is read.
    offset: u64,
    /// Bytes from the file; `buffer[taken..]` is not returned yet.
    buffer: Vec<u8>,
    taken: usize,
    /// End of the next line in `buffer`, once found.
    line_end: Option<usize>,
    /// Index in `buffer` up to which there is no line end.
    searched: usize,
    /// Time of the next line.
    time: Vec<u8>,
    /// Sort key of the next line among other logs, see [`LogCursor::update_sort_key`].
    sort_key: Vec<u8>,
    /// True if the file was renamed; it is read to its end before the next newer one.
    rotated: bool,
}

impl LogCursor {
    /// Starts at the beginning of a log, which need not exist yet.
    pub(super) fn at_start(path: PathBuf) -> Self {
        Self {
            path,
            format: LineFormat::default(),
            file: None,
            offset: 0,
            buffer: Vec::new(),
            taken: 0,
            line_end: None,
            searched: 0,
            time: Vec::new(),
            sort_key: Vec::new(),
            rotated: false,
        }
    }

    /// Reads the times of lines in this format.
    pub(super) fn with_format(self, format: LineFormat) -> Self {
        Self { format, ..self }
    }

    /// Starts before the last `count` lines of a log and its rotated files; also returns how many lines there
    /// are.
    pub(super) fn before_last_lines(path: PathBuf, count: usize) -> io::Result<(Self, usize)> {
        let mut cursor = Self::at_start(path);
        let mut found = 0;
        for age in 0..=MAX_AGE {
            let Some(mut file) = open_if_exists(&cursor.path_of_age(age))? else { continue };
            let (offset, lines) = find_last_lines(&mut file, count - found)?;
            // Files without wanted lines are skipped, but with no lines at all, reading continues in the
            // newest.
            if lines > 0 || cursor.file.is_none() {
                cursor.rotated = age > 0;
                cursor.offset = offset;
                cursor.file = Some(file);
            }
            found += lines;
            if found == count {
                break;
            }
        }
        Ok((cursor, found))
    }

    /// Starts at a saved position: see [`LogCursor::position`] and [`LogCursor::last_time`]. If its file is
    /// gone, starts with the oldest file that begins after that time.
    pub(super) fn at_position(path: PathBuf, inode: u64, offset: u64, time: &str) -> io::Result<Self> {
        let mut cursor = Self::at_start(path);
        cursor.time = time.as_bytes().to_vec();
        for age in 0..=MAX_AGE {
            let Some(file) = open_if_exists(&cursor.path_of_age(age))? else { continue };
            if file.metadata()?.ino() == inode {
                (cursor.rotated, cursor.offset, cursor.file) = (age > 0, offset, Some(file));
                return Ok(cursor);
            }
        }
        if let Some((age, file)) =
            cursor.open_first((0..=MAX_AGE).rev(), |first| first >= cursor.time.as_slice())?
        {
            (cursor.rotated, cursor.file) = (age > 0, Some(file));
        }
        Ok(cursor)
    }

    /// Returns the file's inode and the offset up to which its lines were returned; `None` without a file.
    pub(super) fn position(&self) -> Option<(u64, u64)> {
        let file = self.file.as_ref()?;
        let waiting = (self.buffer.len() - self.taken) as u64;
        Some((file.metadata().ok()?.ino(), self.offset.saturating_sub(waiting)))
    }

    /// Returns the time of the last line that was found.
    pub(super) fn last_time(&self) -> &[u8] {
        &self.time
    }

    /// Returns true if the current file is the rotated file of this age.
    pub(super) fn is_at_age(&self, age: u32) -> io::Result<bool> {
        self.file.as_ref().map_or(Ok(false), |file| is_same_file(file, &self.path_of_age(age)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads until the next line is complete or nothing is left to read.
    pub(super) fn find_line(&mut self) -> io::Result<()> {
        if self.line_end.is_some() {
            return Ok(());
        }
        self.line_end = self.read_to_line_end()?;
        if let Some(end) = self.line_end {
            if let Some(time) = self.format.parse_time(&self.buffer[self.taken..end]) {
                self.time.clear();
                self.time.extend_from_slice(&time);
            }
        }
        Ok(())
    }

    /// Returns the time of the line that [`LogCursor::find_line`] found; times compare as text. A line
    /// without a time has that of the line before it.
    pub(super) fn line_time(&self) -> Option<&[u8]> {
        self.line_end.map(|_| self.time.as_slice())
    }

    /// Updates the sort key for the found line. The key is the line's time as long as the clock goes forward.
    /// A time before that of an earlier line, or later than `latest`, comes from a wrong clock: the line
    /// keeps the earlier key.
    pub(super) fn update_sort_key(&mut self, latest: &[u8]) {
        if self.line_end.is_some() && self.time > self.sort_key && self.time.as_slice() <= latest {
            self.sort_key.clone_from(&self.time);
        }
    }

    /// Returns the sort key of the found line.
    pub(super) fn sort_key(&self) -> Option<&[u8]> {
        self.line_end.map(|_| self.sort_key.as_slice())
    }

    /// Returns the line that [`LogCursor::find_line`] found, without its line end, and moves past it.
    pub(super) fn take_line(&mut self) -> &[u8] {
        let Some(end) = self.line_end.take() else { return &[] };
        let begin = self.taken;
        self.taken = end;
        self.searched = end;
        let line = &self.buffer[begin..end];
        line.strip_suffix(b"\n").unwrap_or(line)
    }

    /// Returns the last line if it has no line end yet.
    pub(super) fn unfinished_line(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Closes the file if all files of the log are removed; an open file would keep its directory alive.
    pub(super) fn close_removed(&mut self) {
        if (0..=MAX_AGE).all(|age| !self.path_of_age(age).exists()) {
            self.file = None;
            self.rotated = false;
        }
    }

    /// Reads until a line is complete; returns the index of its end in the buffer.
    fn read_to_line_end(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                return Ok(Some(self.searched + at + 1));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() - self.taken > MAX_LINE {
                return Ok(Some(self.buffer.len()));
            }
            if self.read_block()? {
                continue;
            }
            // The end of a rotated file ends its last line.
            let moved = self.rotated && self.open_next_file()?;
            if moved && self.taken < self.buffer.len() {
                return Ok(Some(self.buffer.len()));
            }
            if !moved {
                return Ok(None);
            }
        }
    }

    /// Reads a block; returns false at the end of the file.
    fn read_block(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = open_if_exists(&self.path)?;
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
                // An operator emptied the file.
                self.offset = 0;
            } else if self.rotated || is_same_file(file, &self.path)? {
                return Ok(false);
            } else {
                // Rotated since the last read: read what was written in between before moving on.
                self.rotated = true;
            }
        }
    }

    /// Opens the next newer file; returns false if it does not exist yet.
    fn open_next_file(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        loop {
            let mut age = None;
            for candidate in 1..=MAX_AGE {
                if is_same_file(file, &self.path_of_age(candidate))? {
                    age = Some(candidate);
                    break;
                }
            }
            let next = match age {
                Some(age) => self.open_first((0..age).rev(), |_| true)?,
                // The current file was removed. Continue with the oldest that begins after its last line;
                // older files were read already, or are from before the start position.
                None => match self.open_first((0..=MAX_AGE).rev(), |time| time >= self.time.as_slice())? {
                    // The clock was set back.
                    None => self.open_first(std::iter::once(0), |_| true)?,
                    found => found,
                },
            };
            // A rotation in between renamed the files: look again.
            if age.is_some_and(|age| !is_same_file(file, &self.path_of_age(age)).unwrap_or(false)) {
                continue;
            }
            let Some((age, next)) = next else { return Ok(false) };
            self.rotated = age > 0;
            self.file = Some(next);
            self.offset = 0;
            return Ok(true);
        }
    }

    /// Opens the first of these files that exists and whose first line's time fits. An empty file always
    /// fits.
    fn open_first(
        &self,
        ages: impl Iterator<Item = u32>,
        fits: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<(u32, File)>> {
        for age in ages {
            let Some(mut file) = open_if_exists(&self.path_of_age(age))? else { continue };
            let mut begin = Vec::new();
            file.by_ref().take(self.format.prefix_length() as u64 + 1).read_to_end(&mut begin)?;
            if self.format.parse_time(&begin).is_none_or(|time| fits(&time)) {
                return Ok(Some((age, file)));
            }
        }
        Ok(None)
    }

    fn path_of_age(&self, age: u32) -> PathBuf {
        if age == 0 { self.path.clone() } else { numbered(&self.path, age) }
    }
}

fn open_if_exists(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// Returns true if the path names this file; false if the path does not exist.
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// Returns the offset of the last `count` lines of a file, and how many there are. An unfinished line counts.
fn find_last_lines(file: &mut File, count: usize) -> io::Result<(u64, usize)> {
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
        let Ok(size) = usize::try_from(size) else { break };
        let block = &mut block[..size];
        if file.read_exact(block).is_err() {
            // Only an operator who empties the file makes it shorter.
            return Ok((0, 0));
        }
        for (at, byte) in block.iter().enumerate().rev() {
            let offset = begin + at as u64;
            // The last line end starts no further line.
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
