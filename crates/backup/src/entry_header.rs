//! Headers of the entries. There is one header for each name, size and time: all others are refused.

use std::io;

use tar::{EntryType, Header};

/// Size of a block of a tar archive, and of a header.
pub(crate) const BLOCK: usize = 512;

/// Fields of a header that differ between entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) name: String,
    /// Size of the content in bytes.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) time: u64,
}

impl EntryHeader {
    /// Renders the header of a regular file.
    ///
    /// # Errors
    /// Fails if the name is too long.
    pub(crate) fn render(&self) -> io::Result<[u8; BLOCK]> {
        let mut header = Header::new_ustar();
        header.set_path(&self.name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        header.set_size(self.size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        Ok(*header.as_bytes())
    }

    /// Parses a header; `None` for any that [`Self::render`] does not write.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let header = Header::from_byte_slice(block);
        let name = String::from_utf8(header.path_bytes().into_owned()).ok()?;
        let parsed = Self { name, size: header.size().ok()?, time: header.mtime().ok()? };
        (parsed.render().ok()? == *block).then_some(parsed)
    }
}

/// Returns the number of bytes that fill the last block of a content of this size.
pub(crate) fn padding(size: u64) -> usize {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - used) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rendered_headers_are_parsed() {
        let long = format!("apps/{0}/services/{0}.dump/00000000", "a".repeat(63));
        for name in ["backup.json", &long] {
            let header = EntryHeader { name: name.to_owned(), size: 7, time: 1_800_000_000 };
            let block = header.render().unwrap();
            assert_eq!(EntryHeader::parse(&block), Some(header));
            for at in 0..BLOCK {
                let mut changed = block;
                changed[at] ^= 1;
                assert_eq!(EntryHeader::parse(&changed), None, "byte {at}");
            }
        }
    }

    #[test]
    fn blocks_are_filled() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
