//! Writes a backup. Needs the memory of one piece, whatever the sizes of the parts.

use std::io::{self, Read, Write};

use anyhow::{Context, ensure};
use piku_files::sha256::to_hex;
use sha2::{Digest, Sha256};

use crate::entry_header::{BLOCK, EntryHeader, padding};
use crate::head::{BackupHead, BackupPart, PartSum};
use crate::left_out::LeftOut;
use crate::stream_hash::StreamHash;
use crate::{HEAD, PIECE, SUMS, trailer};

/// The best level that a Pi compresses as fast as its disk reads.
const LEVEL: i32 = 3;

/// An output that hashes and counts what was written to it.
struct HashedOutput<W> {
    output: W,
    hash: StreamHash,
    bytes: u64,
}

impl<W: Write> Write for HashedOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A backup that is being written. Without [`ArchiveWriter::finish`] it is one that readers refuse.
pub struct ArchiveWriter<'w, W: Write> {
    zstd: zstd::Encoder<'w, HashedOutput<W>>,
    /// Parts that the head names and that are not written yet.
    left: std::collections::VecDeque<BackupPart>,
    sums: Vec<PartSum>,
    time: u64,
}

impl<W: Write> ArchiveWriter<'_, W> {
    /// Begins a backup with its head.
    ///
    /// # Errors
    /// Fails if the output does.
    pub fn new(head: &BackupHead, output: W) -> anyhow::Result<Self> {
        let output = HashedOutput { output, hash: StreamHash::default(), bytes: 0 };
        let mut zstd = zstd::Encoder::new(output, LEVEL).context("cannot compress")?;
        zstd.include_checksum(true).context("cannot compress")?;
        let time = u64::try_from(head.at.as_second()).unwrap_or(0);
        let left = head.parts.iter().cloned().collect();
        let mut archive = Self { zstd, left, sums: Vec::new(), time };
        archive.write_entry(HEAD, &serde_json::to_vec(head).context("cannot make JSON of it")?)?;
        // The reader learns at once that something comes.
        archive.zstd.flush().context(CANNOT_WRITE)?;
        Ok(archive)
    }

    /// Writes a part that is in memory.
    ///
    /// # Errors
    /// Fails if it is not the next part of the head, or longer than a piece.
    pub fn write_part(&mut self, part: &BackupPart, content: &[u8]) -> anyhow::Result<()> {
        self.begin_part(part, false)?;
        self.write_entry(&part.to_string(), content)?;
        let sha256 = to_hex(&Sha256::digest(content));
        self.sums.push(PartSum { part: part.clone(), bytes: content.len() as u64, sha256, left_out: None });
        Ok(())
    }

    /// Begins a part of any size, which the result writes.
    ///
    /// # Errors
    /// Fails if it is not the next part of the head.
    pub fn stream_part(&mut self, part: &BackupPart) -> anyhow::Result<StreamPart> {
        self.begin_part(part, true)?;
        Ok(StreamPart {
            part: part.clone(),
            hash: StreamHash::default(),
            bytes: 0,
            pieces: 0,
            piece: Vec::new(),
        })
    }

    fn begin_part(&mut self, part: &BackupPart, is_stream: bool) -> anyhow::Result<()> {
        let next = self.left.pop_front();
        ensure!(next.as_ref() == Some(part), "the part '{part}' is not the next one of the head");
        ensure!(part.is_stream() == is_stream, "the part '{part}' is of the other kind");
        Ok(())
    }

    /// Returns the sums of the parts that were written.
    #[must_use]
    pub fn sums(&self) -> &[PartSum] {
        &self.sums
    }

    /// Writes the sums and the hash of everything; returns the output and its size in bytes.
    ///
    /// # Errors
    /// Fails if a part of the head is missing.
    pub fn finish(mut self) -> anyhow::Result<(W, u64)> {
        ensure!(self.left.is_empty(), "the part '{}' is missing", self.left[0]);
        let sums = serde_json::to_vec(&self.sums).context("cannot make JSON of it")?;
        for (number, piece) in sums.chunks(PIECE).enumerate() {
            self.write_entry(&piece_name(SUMS, number as u64), piece)?;
        }
        self.zstd.write_all(&[0; 2 * BLOCK]).context(CANNOT_WRITE)?;
        let HashedOutput { mut output, hash, bytes } = self.zstd.finish().context(CANNOT_WRITE)?;
        output.write_all(&trailer::render(hash.finish())).context(CANNOT_WRITE)?;
        output.flush().context(CANNOT_WRITE)?;
        Ok((output, bytes + trailer::SIZE as u64))
    }

    fn write_entry(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        ensure!(content.len() <= PIECE || name == HEAD, "'{name}' is longer than {PIECE} bytes");
        let size = content.len() as u64;
        let header = EntryHeader { name: name.to_owned(), size, time: self.time };
        let header = header.render().with_context(|| format!("'{name}' is too long a name"))?;
        self.zstd
            .write_all(&header)
            .and_then(|()| self.zstd.write_all(content))
            .and_then(|()| self.zstd.write_all(&[0; BLOCK][..padding(size)]))
            .context(CANNOT_WRITE)
    }
}

const CANNOT_WRITE: &str = "cannot write the backup";

/// Returns the name of a piece.
pub(crate) fn piece_name(part: &str, number: u64) -> String {
    format!("{part}/{number:08}")
}

/// A part that is being written in pieces.
#[derive(Debug)]
pub struct StreamPart {
    part: BackupPart,
    hash: StreamHash,
    bytes: u64,
    pieces: u64,
    piece: Vec<u8>,
}

impl StreamPart {
    /// Copies everything from `content`; returns the number of bytes.
    ///
    /// # Errors
    /// Fails if `content` cannot be read or the output fails.
    pub fn copy_from<W: Write>(
        &mut self,
        content: &mut dyn Read,
        archive: &mut ArchiveWriter<'_, W>,
    ) -> anyhow::Result<u64> {
        let before = self.bytes;
        loop {
            let room = (PIECE - self.piece.len()) as u64;
            let begin = self.piece.len();
            content
                .take(room)
                .read_to_end(&mut self.piece)
                .with_context(|| format!("cannot read '{}'", self.part))?;
            self.hash.update(&self.piece[begin..]);
            self.bytes += (self.piece.len() - begin) as u64;
            if self.piece.len() < PIECE {
                return Ok(self.bytes - before);
            }
            self.write_piece(archive)?;
        }
    }

    /// Ends the part, which lacks what is given.
    ///
    /// # Errors
    /// Fails if the output does.
    pub fn finish<W: Write>(
        mut self,
        archive: &mut ArchiveWriter<'_, W>,
        left_out: LeftOut,
    ) -> anyhow::Result<u64> {
        // Also an empty part has a piece.
        if !self.piece.is_empty() || self.pieces == 0 {
            self.write_piece(archive)?;
        }
        let Self { part, hash, bytes, .. } = self;
        let sha256 = to_hex(&hash.finish().finalize());
        let left_out = Some(left_out).filter(|left_out| !left_out.is_empty());
        archive.sums.push(PartSum { part, bytes, sha256, left_out });
        Ok(bytes)
    }

    fn write_piece<W: Write>(&mut self, archive: &mut ArchiveWriter<'_, W>) -> anyhow::Result<()> {
        archive.write_entry(&piece_name(&self.part.to_string(), self.pieces), &self.piece)?;
        self.pieces += 1;
        self.piece.clear();
        Ok(())
    }
}
