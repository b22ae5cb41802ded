//! Names of an archive's entries that are longer than its headers: GNU tar and pax write them into entries in front.
//! An archive may come from anyone, so that they are read up to a limit.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use tar::{Entry, EntryType};

use super::root_archive::UnreadableArchive;

/// No path is longer, in bytes.
const LONGEST_NAME: u64 = 4096;
/// Longest description of an entry by pax, which also has extended attributes.
const LONGEST_PAX: u64 = 1 << 20;

/// Names for the next entry.
#[derive(Default)]
pub(super) struct EntryNames {
    path: Option<PathBuf>,
    target: Option<PathBuf>,
    /// Size, where the header has no room for it.
    size: Option<u64>,
    is_sparse: bool,
}

impl EntryNames {
    /// Takes an entry that describes the next one; returns false for others.
    ///
    /// # Errors
    /// Fails if the description is damaged or too long.
    pub(super) fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> anyhow::Result<bool> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(path(&read(entry, LONGEST_NAME)?)?),
            EntryType::GNULongLink => self.target = Some(path(&read(entry, LONGEST_NAME)?)?),
            EntryType::XHeader => self.take_pax(&read(entry, LONGEST_PAX)?)?,
            EntryType::XGlobalHeader => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_pax(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let mut left = text;
        while !left.is_empty() {
            let (key, value, behind) = split_record(left).ok_or(UnreadableArchive)?;
            left = behind;
            match key {
                b"path" => self.path = Some(path(value)?),
                b"linkpath" => self.target = Some(path(value)?),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
                    self.size = Some(size.ok_or(UnreadableArchive)?);
                }
                key => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }

    /// Returns the path and the link target of the entry behind the descriptions.
    ///
    /// # Errors
    /// Fails if its content cannot be read as it is there.
    pub(super) fn apply(
        &mut self,
        entry: &Entry<'_, impl Read>,
    ) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
        let Self { path, target, size, is_sparse } = std::mem::take(self);
        let header = entry.header();
        let path =
            path.map_or_else(|| header.path().map(Cow::into_owned), Ok).map_err(|_| UnreadableArchive)?;
        let named = || header.link_name().map(|name| name.map(Cow::into_owned));
        let target = target.map_or_else(named, |target| Ok(Some(target))).map_err(|_| UnreadableArchive)?;
        let is_plain = !is_sparse && header.entry_type() != EntryType::GNUSparse;
        ensure!(is_plain, "'{}' of the base is sparse: make the archive without --sparse", path.display());
        let is_whole = size.is_none_or(|size| size == entry.size());
        ensure!(is_whole, "'{}' of the base has more than 8 GiB", path.display());
        Ok((path, target))
    }
}

/// Splits the first record off: `LENGTH KEY=VALUE` and a newline, of LENGTH bytes in all. A value may be binary.
fn split_record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let digits = text.get(..space).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], text.get(length..)?))
}

fn read(entry: &mut Entry<'_, impl Read>, most: u64) -> anyhow::Result<Vec<u8>> {
    ensure!(entry.size() <= most, "a name in the base is longer than {most} bytes");
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(|_| UnreadableArchive)?;
    Ok(text)
}

fn path(text: &[u8]) -> anyhow::Result<PathBuf> {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = &text[..end];
    let is_path = !text.contains(&0) && text.len() as u64 <= LONGEST_NAME;
    is_path.then(|| OsString::from_vec(text.to_owned()).into()).context("a name in the base is no path")
}
