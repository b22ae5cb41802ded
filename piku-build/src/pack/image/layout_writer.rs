//! The archive around an image: entries whose content is written, not read.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use tar::EntryType;

use super::blob::ImageBlob;
use super::layer_content::owned;

/// Size of a block of a tar archive in bytes.
const BLOCK: usize = 512;

/// Writer of a tar archive of blobs and descriptions.
pub(super) struct LayoutWriter<W: Write> {
    out: W,
    /// Digests of the blobs so far.
    blobs: BTreeSet<String>,
}

impl<W: Write> LayoutWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, blobs: BTreeSet::new() }
    }

    /// Writes a file.
    pub(super) fn file(&mut self, name: &str, text: &[u8]) -> anyhow::Result<()> {
        self.begin(name, text.len() as u64)?;
        self.out.write_all(text).context("cannot write the image")?;
        self.end(text.len() as u64)
    }

    /// Writes a blob, once.
    pub(super) fn blob(&mut self, blob: &ImageBlob) -> anyhow::Result<()> {
        if self.blobs.is_empty() {
            // skopeo gives directories that are missing in an archive to root, which only root may do.
            for name in ["blobs/", "blobs/sha256/"] {
                self.header(EntryType::Directory, name, 0o755, 0)?;
            }
        }
        if !self.blobs.insert(blob.digest.clone()) {
            return Ok(());
        }
        self.begin(&blob_path(&blob.digest), blob.size)?;
        blob.write(&mut self.out)?;
        self.end(blob.size)
    }

    /// Writes the end of the archive.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let blocks = [0; 2 * BLOCK];
        self.out.write_all(&blocks).and_then(|()| self.out.flush()).context("cannot write the image")
    }

    fn begin(&mut self, name: &str, size: u64) -> anyhow::Result<()> {
        self.header(EntryType::Regular, name, 0o644, size)
    }

    fn header(&mut self, kind: EntryType, name: &str, mode: u32, size: u64) -> anyhow::Result<()> {
        let mut header = owned(kind, mode, 0, size, 0);
        header.set_path(Path::new(name)).context("cannot write the image")?;
        header.set_cksum();
        self.out.write_all(header.as_bytes()).context("cannot write the image")
    }

    /// Fills the last block.
    fn end(&mut self, size: u64) -> anyhow::Result<()> {
        let block = BLOCK as u64;
        let rest = usize::try_from(size.next_multiple_of(block) - size).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..rest]).context("cannot write the image")
    }
}

/// Returns the path of a blob in the layout.
pub(super) fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}
