//! Reads an untrusted stream. Each entry is a regular file, directory or link with a path inside the release
//! and ordinary permissions; the total size does not exceed the head's; finally the hash is checked.

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use piku_report::user_error::UserError;
use tar::{Archive, Entry, EntryType};

use super::content_hash::{ContentHash, EntryKind};
use super::head::PackHead;
use super::{HEAD, LONGEST_TEXT, SUM, links};
use crate::step::interrupt;

/// As long as the kernel takes a path.
const LONGEST_PATH: u64 = 4096;
/// Maximum memory of the decompressor: 8 MiB.
const WINDOW_LOG: u32 = 23;
/// First bytes of a zstd stream.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An entry of a stream.
pub(super) struct PackItem<'a> {
    pub(super) path: &'a Path,
    pub(super) kind: EntryKind<'a>,
    /// Permission bits without file type.
    pub(super) mode: u32,
    /// Modification time in seconds since 1970.
    pub(super) time: u64,
}

/// Receiver of a stream's entries.
pub(super) trait PartTaker {
    /// Handles the head; an error refuses the stream.
    fn begin(&mut self, head: &PackHead) -> anyhow::Result<()>;
    /// Handles an entry between the head and the hash. The rest of a file's content is read afterwards.
    fn take(&mut self, item: &PackItem<'_>, content: &mut dyn Read) -> anyhow::Result<()>;
}

/// Reads the stream. Returns an error unless everything matches the hash.
pub(super) fn read_stream(input: impl Read, taker: &mut dyn PartTaker) -> anyhow::Result<PackHead> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut magic = Vec::new();
    input.by_ref().take(4).read_to_end(&mut magic).context("cannot read the stream")?;
    if magic != MAGIC {
        return Err(UserError::new("this is no packed release").hint("piku-build pack makes one").into());
    }
    let mut zstd = zstd::Decoder::with_buffer(magic.chain(input)).context("cannot read the stream")?;
    zstd.window_log_max(WINDOW_LOG).context("cannot read the stream")?;
    let mut tar = Archive::new(zstd);
    let head = read_entries(&mut tar, taker)?;
    // After the hash, the archive must end.
    let mut rest = Vec::new();
    tar.into_inner().take(LONGEST_TEXT).read_to_end(&mut rest).map_err(explain_error)?;
    ensure!(rest.iter().all(|byte| *byte == 0), "the stream goes on behind its end");
    Ok(head)
}

const ENDS_EARLY: &str = "the stream ends early";

fn read_entries(tar: &mut Archive<impl Read>, taker: &mut dyn PartTaker) -> anyhow::Result<PackHead> {
    let mut sum = ContentHash::default();
    let mut head: Option<PackHead> = None;
    let mut left = (0, 0);
    let mut long = LongNames::default();
    // Raw entries: long names are separate entries, whose size is limited here.
    for entry in tar.entries().map_err(explain_error)?.raw(true) {
        interrupt::check()?;
        let mut entry = entry.map_err(explain_error)?;
        if long.take(&mut entry)? {
            continue;
        }
        let (path, target) = long.names(&entry)?;
        let Some(known) = &head else {
            ensure!(path == Path::new(HEAD), "this is no packed release: it does not begin with {HEAD}");
            let text = read_text(&mut entry)?;
            sum.entry(&path, EntryKind::File(text.len() as u64), 0o644, 0);
            io::copy(&mut sum.through(text.as_slice()), &mut io::sink())?;
            let parsed = PackHead::parse(&text)?;
            taker.begin(&parsed)?;
            left = (parsed.bytes.saturating_add(LONGEST_TEXT), parsed.files.saturating_add(1));
            head = Some(parsed);
            continue;
        };
        if path == Path::new(SUM) {
            let said = read_text(&mut entry)?;
            ensure!(
                sum.finish().as_bytes() == said,
                "the stream is damaged: its hash is not that of its content"
            );
            return Ok(known.clone());
        }
        let item = check_entry(&entry, &path, target.as_deref())?;
        let size = if let EntryKind::File(size) = item.kind { size } else { 0 };
        left = left
            .0
            .checked_sub(size)
            .zip(left.1.checked_sub(1))
            .context("the stream holds more than its head says")?;
        sum.entry(item.path, item.kind, item.mode, item.time);
        let mut content = sum.through(&mut entry);
        taker.take(&item, &mut content).with_context(|| format!("'{}'", path.display()))?;
        io::copy(&mut content, &mut io::sink()).map_err(explain_error)?;
        ensure!(content.bytes == size, ENDS_EARLY);
    }
    bail!(ENDS_EARLY)
}

/// Checks that an entry is one that `pack` writes.
fn check_entry<'a>(
    entry: &Entry<'_, impl Read>,
    path: &'a Path,
    target: Option<&'a Path>,
) -> anyhow::Result<PackItem<'a>> {
    let shown = path.display();
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && path.components().next().is_some(), "'{shown}' leads out of the release");
    let header = entry.header();
    let mode = header.mode().context("bad mode")?;
    ensure!(mode & !0o777 == 0, "'{shown}' is set-uid, set-gid or sticky (mode {mode:o})");
    let size = entry.size();
    let kind = match (header.entry_type(), target) {
        (EntryType::Regular, None) => EntryKind::File(size),
        (EntryType::Directory, None) if size == 0 => EntryKind::Folder,
        (EntryType::Symlink, Some(target)) if size == 0 => {
            let top = if path.starts_with(super::LAYERS) { 2 } else { 1 };
            let below: PathBuf = path.components().skip(top).collect();
            ensure!(
                links::may_lead(&below, target),
                "'{shown}' is a link out of the release, to '{}'",
                target.display()
            );
            EntryKind::Link(target)
        }
        (other, _) => bail!(
            "'{shown}' is neither a file nor a folder nor a link (type {:?})",
            char::from(other.as_byte())
        ),
    };
    Ok(PackItem { path, kind, mode, time: header.mtime().context("bad time")? })
}

/// GNU tar's way to write names that are longer than its header's: entries in front.
#[derive(Default)]
struct LongNames {
    path: Option<PathBuf>,
    target: Option<PathBuf>,
}

impl LongNames {
    /// Takes such an entry; whether it was one.
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> anyhow::Result<bool> {
        let slot = match entry.header().entry_type() {
            EntryType::GNULongName => &mut self.path,
            EntryType::GNULongLink => &mut self.target,
            _ => return Ok(false),
        };
        ensure!(entry.size() <= LONGEST_PATH, "a path is longer than {LONGEST_PATH} bytes");
        let mut name = Vec::new();
        entry.read_to_end(&mut name).map_err(explain_error)?;
        while name.last() == Some(&0) {
            name.pop();
        }
        ensure!(!name.contains(&0), "a path has a NUL in it");
        *slot = Some(OsString::from_vec(name).into());
        Ok(true)
    }

    /// Reads the path and the link target of the next entry.
    fn names(&mut self, entry: &Entry<'_, impl Read>) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
        let path = match self.path.take() {
            Some(path) => path,
            None => entry.header().path().context("bad path")?.into_owned(),
        };
        let target = match self.target.take() {
            Some(target) => Some(target),
            None => entry.header().link_name().context("bad link")?.map(std::borrow::Cow::into_owned),
        };
        Ok((path, target))
    }
}

fn read_text(entry: &mut Entry<'_, impl Read>) -> anyhow::Result<Vec<u8>> {
    ensure!(entry.header().entry_type() == EntryType::Regular, "it is not a file");
    ensure!(entry.size() <= LONGEST_TEXT, "it is longer than {LONGEST_TEXT} bytes");
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(explain_error)?;
    Ok(text)
}

/// Explains an error of zstd or tar.
fn explain_error(err: io::Error) -> anyhow::Error {
    if err.kind() == io::ErrorKind::UnexpectedEof {
        return anyhow::anyhow!(ENDS_EARLY);
    }
    anyhow::Error::new(err).context("the stream is damaged")
}
