//! Blobs of an image, named by the SHA-256 of their content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
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
        path: PathBuf,
        offset: u64,
    },
    /// Trees and files of the release.
    Content(LayerContent),
    /// Archive of the operator with the files of a base.
    RootArchive(PathBuf),
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
        (to_hex(&self.hash.finalize()), self.bytes)
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
    pub(super) fn known(digest: String, size: u64, path: PathBuf, offset: u64) -> Self {
        Self { digest, size, source: BlobSource::Part { path, offset } }
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

    #[expect(clippy::disallowed_methods, reason = "a base of piku's own or of the operator")]
    fn copy(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match &self.source {
            BlobSource::Bytes(bytes) => out.write_all(bytes).context("cannot write the image"),
            BlobSource::Part { path, offset } => {
                let cannot = || format!("cannot read '{}'", path.display());
                let mut file = File::open(path).with_context(cannot)?;
                file.seek(SeekFrom::Start(*offset)).with_context(cannot)?;
                io::copy(&mut file.take(self.size), out).map(drop).context("cannot write the image")
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
            Self::Part { path, .. } | Self::RootArchive(path) => format!("'{}'", path.display()),
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
