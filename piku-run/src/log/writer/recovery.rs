//! Finishes a write in which a supervisor was killed.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::LogWriter;
use crate::log::checkpoint::SpoolCheckpoint;
use crate::log::line;
use crate::log::render::{LogEnd, render_lines};
use crate::log::rotate::numbered;

impl LogWriter {
    /// Writes what a killed supervisor had in the spool. The file may hold a part of the piece of `bytes`
    /// that the checkpoint describes, and nothing after it. Without a checkpoint it holds none of `bytes`.
    pub(in crate::log) fn resume(
        &mut self,
        bytes: &[u8],
        checkpoint: Option<&SpoolCheckpoint>,
        note: &mut dyn FnMut(&SpoolCheckpoint),
    ) {
        let done = checkpoint.and_then(|checkpoint| self.finish_piece(bytes, checkpoint));
        self.write_output(bytes, done.unwrap_or(0), Timestamp::now(), note);
    }

    /// Writes the rest of a piece; its text and its time determine exactly what the file must hold. Returns
    /// the number of `bytes` written then, or `None` if it cannot be determined.
    fn finish_piece(&mut self, bytes: &[u8], checkpoint: &SpoolCheckpoint) -> Option<usize> {
        let (from, to) = (checkpoint.from.min(bytes.len()), checkpoint.to.min(bytes.len()));
        let is_its_file = |path: &Path| fs::metadata(path).is_ok_and(|there| there.ino() == checkpoint.file);
        if !is_its_file(&self.path) {
            // A file is rotated only after the whole piece is written.
            return Some(if is_its_file(&numbered(&self.path, 1)) { to } else { from });
        }
        let begin = checkpoint.end + checkpoint.lead;
        if self.end < begin {
            // Nothing was written, or a torn remark on dropped lines.
            let file = self.file.as_ref()?;
            file.set_len(checkpoint.end.min(self.end)).ok()?;
            self.refresh_file();
            self.at = checkpoint.at;
            return Some(from);
        }
        let mut out = Vec::new();
        let at = if checkpoint.lead == 0 { checkpoint.at } else { LogEnd::Start };
        let prefix = line::format_prefix(checkpoint.now, &self.instance);
        let at = render_lines(&bytes[from..to], at, &prefix, &mut out);
        let mut written = Vec::new();
        let file = self.file.as_mut()?;
        file.seek(SeekFrom::Start(begin)).and_then(|_| file.read_to_end(&mut written)).ok()?;
        let rest = out.strip_prefix(written.as_slice())?;
        self.write(rest).ok()?;
        self.at = at;
        Some(to)
    }
}
