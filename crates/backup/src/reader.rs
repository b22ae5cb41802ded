//! Reads a backup, which may come from anyone. Anything that [`ArchiveWriter`](crate::ArchiveWriter) does not
//! write is refused.

use std::io::{self, Read};

use anyhow::{Context, anyhow, ensure};
use piku_files::sha256::to_hex;
use piku_report::user_error::UserError;
use sha2::Digest;

use crate::entry_header::{BLOCK, EntryHeader, padding};
use crate::hashed_input::HashedInput;
use crate::head::{BackupHead, BackupPart, PartSum};
use crate::left_out::LeftOut;
use crate::stream_hash::StreamHash;
use crate::writer::piece_name;
use crate::{HEAD, PIECE, SUMS, trailer};

/// Maximum memory of the decompressor: 8 MiB.
const WINDOW_LOG: u32 = 23;
/// First bytes of a zstd stream.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of a file that age has encrypted.
const AGE: &[u8] = b"age-";
/// Longest head and longest list of sums in bytes.
const LONGEST_TEXT: u64 = 8 << 20;

/// Receiver of the parts of a backup. Nothing that it gets is verified before [`read_archive`] returns.
pub trait PartSink {
    /// Handles the head; an error refuses the backup.
    ///
    /// # Errors
    /// As the sink decides.
    fn begin(&mut self, head: &BackupHead) -> anyhow::Result<()>;

    /// Handles a part. What it leaves of the content is read afterwards.
    ///
    /// # Errors
    /// As the sink decides.
    fn take(&mut self, part: &BackupPart, content: &mut dyn Read) -> anyhow::Result<()>;
}

/// Returns true if the bytes are the beginning of a backup.
#[must_use]
pub fn is_backup(begin: &[u8]) -> bool {
    begin.starts_with(&MAGIC)
}

/// Reads a backup to its end.
///
/// # Errors
/// Fails with the place unless every byte is as it was written.
pub fn read_archive(input: impl Read, sink: &mut dyn PartSink) -> anyhow::Result<(BackupHead, Vec<PartSum>)> {
    let mut begin = Vec::new();
    let mut input = input;
    input.by_ref().take(4).read_to_end(&mut begin).context("cannot read the backup")?;
    if !is_backup(&begin) {
        let error = UserError::new(if begin.is_empty() {
            "expected a backup, found nothing"
        } else {
            "this is no backup"
        });
        return Err(if begin == AGE {
            error.hint("it is encrypted: age -d -i KEY FILE | piku restore").into()
        } else {
            error.hint("piku backup makes one").into()
        });
    }
    let mut zstd = zstd::Decoder::with_buffer(HashedInput::new(begin.as_slice().chain(input)))
        .context("cannot read the backup")?
        .single_frame();
    zstd.window_log_max(WINDOW_LOG).context("cannot read the backup")?;
    let mut entries = ArchiveEntries { input: zstd, place: HEAD.to_owned(), next: None };
    let read = entries.read_all(sink);
    let ArchiveEntries { input: zstd, place, .. } = entries;
    let offset = zstd.get_ref().offset();
    let at = || format!("the backup is damaged or cut off at byte {offset}, in '{place}'");
    let result = match read {
        Err(ReadFailure::Damage(err)) => return Err(err.context(at())),
        Err(ReadFailure::Sink(err)) => return Err(err),
        Ok(result) => result,
    };
    check_trailer(zstd.finish()).with_context(|| "the backup is damaged or cut off at its end")?;
    Ok(result)
}

/// Checks the hash of everything, which must be the last of the input.
fn check_trailer(mut input: HashedInput<impl Read>) -> anyhow::Result<()> {
    let expected = trailer::render(input.take_hash());
    let mut found = Vec::new();
    input.by_ref().take(trailer::SIZE as u64 + 1).read_to_end(&mut found).context("cannot read it")?;
    ensure!(found.len() >= trailer::SIZE, "its last {} bytes are missing", trailer::SIZE - found.len());
    ensure!(found.len() == trailer::SIZE, "more follows");
    ensure!(found == expected, "its hash is not that of its content");
    Ok(())
}

/// Reason why a backup was not read to its end.
enum ReadFailure {
    Damage(anyhow::Error),
    /// The sink has refused it.
    Sink(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for ReadFailure {
    fn from(err: E) -> Self {
        Self::Damage(err.into())
    }
}

/// The entries of the archive, read one after the other.
struct ArchiveEntries<R> {
    input: R,
    /// Name of the entry that is being read.
    place: String,
    /// Header that was read and belongs to the next part.
    next: Option<EntryHeader>,
}

impl<R: Read> ArchiveEntries<R> {
    fn read_all(&mut self, sink: &mut dyn PartSink) -> Result<(BackupHead, Vec<PartSum>), ReadFailure> {
        let text = self.read_head()?;
        // Its messages are for people who have a backup of another piku.
        let head = BackupHead::parse(&text).map_err(ReadFailure::Sink)?;
        sink.begin(&head).map_err(ReadFailure::Sink)?;
        let mut sums = Vec::new();
        for part in &head.parts {
            self.place = part.to_string();
            sums.push(self.read_part(part, sink)?);
        }
        SUMS.clone_into(&mut self.place);
        self.check_sums(&mut sums)?;
        Ok((head, sums))
    }

    fn read_head(&mut self) -> anyhow::Result<Vec<u8>> {
        let header = self.read_header()?.context("it has no head")?;
        ensure!(header.name == HEAD && header.size <= LONGEST_TEXT, "it has no head");
        self.read_content(header.size)
    }

    /// Reads the sums and the end of the archive.
    fn check_sums(&mut self, sums: &mut [PartSum]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        PartContent::new(self, SUMS, true).take(LONGEST_TEXT).read_to_end(&mut text)?;
        let expected: Vec<PartSum> = serde_json::from_slice(&text)?;
        ensure!(sums.len() == expected.len(), "its sums are of other parts");
        for (found, expected) in sums.iter_mut().zip(expected) {
            // Only its writer knows what could not be read.
            found.left_out.clone_from(&expected.left_out);
            ensure!(*found == expected, "'{}' is not what was written", found.part);
            found.left_out.iter().try_for_each(LeftOut::check)?;
        }
        ensure!(self.next.is_none(), "it goes on behind its sums");
        self.read_end()
    }

    fn read_part(&mut self, part: &BackupPart, sink: &mut dyn PartSink) -> Result<PartSum, ReadFailure> {
        let name = part.to_string();
        let mut content = PartContent::new(self, &name, part.is_stream());
        let taken = sink.take(part, &mut content);
        // Damage explains why a sink has failed.
        if let Some(damage) = content.damage.take() {
            return Err(ReadFailure::Damage(damage));
        }
        taken.map_err(ReadFailure::Sink)?;
        io::copy(&mut content, &mut io::sink())?;
        Ok(PartSum {
            part: part.clone(),
            bytes: content.bytes,
            sha256: to_hex(&content.hash.finish().finalize()),
            left_out: None,
        })
    }

    /// Reads the next header; `None` for a block of zeros, which ends the archive.
    fn read_header(&mut self) -> anyhow::Result<Option<EntryHeader>> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(explain_error)?;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        EntryHeader::parse(&block).map(Some).context("bad entry")
    }

    fn read_content(&mut self, size: u64) -> anyhow::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.input.by_ref().take(size).read_to_end(&mut content).map_err(explain_error)?;
        ensure!(content.len() as u64 == size, "it ends early");
        self.skip_padding(size)?;
        Ok(content)
    }

    fn skip_padding(&mut self, size: u64) -> anyhow::Result<()> {
        let mut rest = [0; BLOCK];
        let rest = &mut rest[..padding(size)];
        self.input.read_exact(rest).map_err(explain_error)?;
        ensure!(rest.iter().all(|byte| *byte == 0), "an entry is longer than its header says");
        Ok(())
    }

    /// Reads the second block of zeros, and checks that it is the last.
    fn read_end(&mut self) -> anyhow::Result<()> {
        ensure!(self.read_header()?.is_none(), "it goes on behind its end");
        let mut more = [0];
        let count = self.input.read(&mut more).map_err(explain_error)?;
        ensure!(count == 0, "it goes on behind its end");
        Ok(())
    }
}

/// The content of a part, put together from its pieces.
struct PartContent<'a, R> {
    entries: &'a mut ArchiveEntries<R>,
    name: String,
    is_stream: bool,
    /// Number of pieces that were begun.
    pieces: u64,
    /// Bytes of the current piece that were not read yet, and its size.
    left: u64,
    size: u64,
    is_over: bool,
    hash: StreamHash,
    bytes: u64,
    damage: Option<anyhow::Error>,
}

impl<'a, R: Read> PartContent<'a, R> {
    fn new(entries: &'a mut ArchiveEntries<R>, name: &str, is_stream: bool) -> Self {
        let name = name.to_owned();
        let hash = StreamHash::default();
        let (pieces, left, size, bytes) = (0, 0, 0, 0);
        Self { entries, name, is_stream, pieces, left, size, is_over: false, hash, bytes, damage: None }
    }

    /// Begins the next piece, or ends the part.
    fn begin_piece(&mut self) -> anyhow::Result<()> {
        if self.pieces > 0 {
            self.entries.skip_padding(self.size)?;
            // Only the last piece is shorter.
            if !self.is_stream || self.size < PIECE as u64 {
                self.is_over = true;
                // The end of the archive is found where the sums end.
                if self.name == SUMS {
                    self.entries.next = self.entries.read_header()?;
                }
                return Ok(());
            }
        }
        let header = match self.entries.next.take() {
            Some(header) => Some(header),
            None => self.entries.read_header()?,
        };
        let expected = if self.is_stream { piece_name(&self.name, self.pieces) } else { self.name.clone() };
        match header {
            Some(header) if header.name == expected && header.size <= PIECE as u64 => {
                self.pieces += 1;
                (self.left, self.size) = (header.size, header.size);
            }
            // The last piece was a full one.
            header if self.pieces > 0 => {
                self.is_over = true;
                self.entries.next = header;
                ensure!(self.name == SUMS || self.entries.next.is_some(), "it ends early");
            }
            Some(header) => return Err(anyhow!("found '{}' instead", header.name.escape_debug())),
            None => return Err(anyhow!("it ends early")),
        }
        Ok(())
    }

    fn read_piece(&mut self, into: &mut [u8]) -> anyhow::Result<usize> {
        while self.left == 0 && !self.is_over {
            self.begin_piece()?;
        }
        if self.is_over {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.entries.input.read(&mut into[..most]).map_err(explain_error)?;
        ensure!(count > 0 || most == 0, "it ends early");
        self.hash.update(&into[..count]);
        self.left -= count as u64;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<R: Read> Read for PartContent<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.read_piece(into).map_err(|err| {
            let told = io::Error::other(format!("{err:#}"));
            self.damage.get_or_insert(err);
            told
        })
    }
}

/// Explains an error of the decompressor.
fn explain_error(err: io::Error) -> anyhow::Error {
    if err.kind() == io::ErrorKind::UnexpectedEof { anyhow!("it ends early") } else { err.into() }
}
