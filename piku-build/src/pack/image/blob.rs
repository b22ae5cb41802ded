//! Blobs of an image, named by the SHA-256 of their content.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use piku_files::free_space;
use piku_files::sha256::to_hex;
use sha2::{Digest, Sha256};

use super::base::root_archive;
use super::layer_content::LayerContent;

/// A blob whose content is written later.
pub(super) struct ImageBlob {
    /// SHA-256 of the content in hex digits.
    pub(super) digest: String,
    /// Size in bytes.
    pub(super) size: u64,
    source: BlobSource,
}

/// Origin of a blob's content.
pub(super) enum BlobSource {
    Bytes(Vec<u8>),
    /// Part of a file that belongs to piku or to the operator.
    Part {
        file: PackedFile,
        offset: u64,
    },
    /// Part of a file of the operator that is decompressed, up to `most` bytes.
    Zstd {
        file: PackedFile,
        offset: u64,
        size: u64,
        most: u64,
    },
    /// Trees and files of the release.
    Content(LayerContent),
    /// Archive of the operator with the files of a base.
    RootArchive(PathBuf),
}

/// An open file of which blobs are parts.
#[derive(Clone)]
pub(super) struct PackedFile {
    file: Arc<File>,
    path: PathBuf,
}

/// Reader of a part of a file. Others may read the same file at the same time.
pub(super) struct PartReader {
    file: Arc<File>,
    offset: u64,
    /// Bytes that are left.
    left: u64,
}

impl PackedFile {
    /// Opens a file of piku's or of the operator.
    #[expect(clippy::disallowed_methods, reason = "a base of piku's own or of the operator")]
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        Ok(Self { file: Arc::new(file), path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a reader of all of it.
    pub(super) fn reader(&self) -> BufReader<&File> {
        BufReader::new(&self.file)
    }

    /// Returns a reader of `size` bytes from `offset`.
    pub(super) fn part(&self, offset: u64, size: u64) -> PartReader {
        PartReader { file: Arc::clone(&self.file), offset, left: size }
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Passes content on while it is hashed and counted.
pub(super) struct DigestWriter<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), bytes: 0 }
    }

    /// Returns the digest in hex digits and the size of what was written.
    pub(super) fn finish(self) -> (String, u64) {
        let (_, digest, size) = self.into_parts();
        (digest, size)
    }

    /// Returns the writer, and digest and size of what was written.
    pub(super) fn into_parts(self) -> (W, String, u64) {
        (self.out, to_hex(&self.hash.finalize()), self.bytes)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl ImageBlob {
    /// Reads the content for its digest and size.
    pub(super) fn measure(source: BlobSource) -> anyhow::Result<Self> {
        let blob = Self { digest: String::new(), size: u64::MAX, source };
        let mut sink = DigestWriter::new(io::sink());
        blob.copy(&mut sink)?;
        let (digest, size) = sink.finish();
        Ok(Self { digest, size, ..blob })
    }

    /// Returns the blob of a file's part whose digest is known. It is checked when the blob is written.
    pub(super) fn known(digest: String, size: u64, file: PackedFile, offset: u64) -> Self {
        Self { digest, size, source: BlobSource::Part { file, offset } }
    }

    /// Writes the content.
    ///
    /// # Errors
    /// Fails if it is no longer what was measured.
    pub(super) fn write(&self, out: impl Write) -> anyhow::Result<()> {
        let mut out = DigestWriter::new(out);
        self.copy(&mut out)?;
        let (digest, size) = out.finish();
        ensure!(
            (&digest, size) == (&self.digest, self.size),
            "{} changed while it was packed, or does not match its digest sha256:{}",
            self.source.name(),
            self.digest
        );
        Ok(())
    }

    fn copy(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match &self.source {
            BlobSource::Bytes(bytes) => out.write_all(bytes).context("cannot write the image"),
            BlobSource::Part { file, offset } => {
                let mut part = file.part(*offset, self.size);
                io::copy(&mut part, out).map(drop).context("cannot write the image")
            }
            BlobSource::Zstd { file, offset, size, most } => {
                let decoder =
                    zstd::Decoder::new(file.part(*offset, *size)).context("cannot decompress it")?;
                let written = io::copy(&mut decoder.take(most.saturating_add(1)), out)?;
                ensure!(written <= *most, "it has more than {}", free_space::size(*most));
                Ok(())
            }
            BlobSource::Content(content) => content.write(out),
            BlobSource::RootArchive(path) => root_archive::rewrite_file(path, out).map(drop),
        }
    }
}

impl BlobSource {
    fn name(&self) -> String {
        match self {
            Self::Bytes(_) => "a description".to_owned(),
            Self::Part { file, .. } | Self::Zstd { file, .. } => format!("'{}'", file.path().display()),
            Self::RootArchive(path) => format!("'{}'", path.display()),
            Self::Content(content) => content.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_not_what_was_measured_is_an_error() {
        let mut blob = ImageBlob::measure(BlobSource::Bytes(b"abc".to_vec())).unwrap();
        assert_eq!((&blob.digest[..8], blob.size), ("ba7816bf", 3));
        blob.write(io::sink()).unwrap();
        blob.source = BlobSource::Bytes(b"abd".to_vec());
        assert!(blob.write(io::sink()).unwrap_err().to_string().contains("changed"));
    }
}
