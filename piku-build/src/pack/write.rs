//! `pack`: a release, or a part of it, to stdout.

use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use piku_files::{FileStat, TreeFile, TreeHandle};
use piku_report::output;
use piku_report::progress;
use piku_report::user_error::UserError;
use tar::{Builder, EntryType, Header};

use super::content_hash::{ContentHash, EntryKind};
use super::head::{FORMAT, PackHead, PackedFacts, PackedLayer};
use super::release_needs::NeedsSearch;
use super::{HEAD, LAYERS, LONGEST_TEXT, SUM, links};
use crate::app::app_source::AppSource;
use crate::errors::pack as errors;
use crate::native::native_search::NativeSearch;
use crate::step::interrupt;
use crate::store::layer::LayerStore;
use piku_layout::jail::APP;
use piku_release::folded;
use piku_release::machine::TargetMachine;
use piku_release::manifest::{self, BuiltRelease, TREE};

/// The best that a Pi compresses as fast as its disk reads.
const LEVEL: i32 = 3;

/// Request to pack a release.
pub(crate) struct PackSource {
    /// Directory of the release.
    pub(crate) release: PathBuf,
    /// Directory of its layers.
    pub(crate) layers: Option<PathBuf>,
    pub(crate) part: PackScope,
}

/// Part of a release that is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PackScope {
    /// The release with all its layers.
    Whole,
    /// The head, as JSON, and nothing else.
    Head,
    /// The release without its layers.
    Release,
    /// The layer with this key: the same bytes whichever release it is packed from.
    Layer(String),
}

/// A tree to be packed, and below which name.
pub(super) struct PackTree {
    pub(super) handle: TreeHandle,
    pub(super) name: PathBuf,
    /// True for a layer, whose links count as requirements.
    layer: bool,
}

/// Writes the stream to stdout.
pub(crate) fn run(pack: &PackSource) -> anyhow::Result<()> {
    interrupt::watch_signals()?;
    let release = BuiltRelease::read(&pack.release)?;
    let (layers, trees) = choose(pack, &release)?;
    let with_release = !matches!(pack.part, PackScope::Layer(_));
    let head = head(&release, with_release, layers, &trees)?;
    if pack.part == PackScope::Head {
        return output::write(format!("{}\n", serde_json::to_string(&head)?).as_bytes());
    }
    let stdout = io::stdout().lock();
    if stdout.is_terminal() {
        let failure = UserError::new("a packed release is nothing for a terminal");
        return Err(failure.hint("piku-build pack RELEASE > FILE").into());
    }
    forgive_closed(write(pack, &head, &trees, BufWriter::with_capacity(1 << 16, stdout)))
}

/// Returns success for a reader that has closed the pipe early.
pub(super) fn forgive_closed(written: anyhow::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(err) if is_closed(&err) => Ok(()),
        other => other,
    }
}

fn is_closed(err: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    err.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// Returns the layers that the head names and the trees that are packed.
pub(super) fn choose(
    pack: &PackSource,
    release: &BuiltRelease,
) -> anyhow::Result<(Vec<PackedLayer>, Vec<PackTree>)> {
    let mut layers: Vec<PackedLayer> = release
        .layers
        .iter()
        .map(|layer| PackedLayer { name: layer.name.clone(), key: layer.key.clone(), packed: false })
        .collect();
    layers.sort_by(|one, other| one.key.cmp(&other.key));
    if let PackScope::Layer(key) = &pack.part {
        layers.retain(|layer| layer.key == *key);
        ensure!(!layers.is_empty(), "the release has no layer '{key}'");
    }
    let mut trees = Vec::new();
    if let (Some(first), wanted) = (layers.first(), &pack.part) {
        let Some(dir) = &pack.layers else {
            let failure = UserError::new(format!("the release needs the layer '{}'", first.name));
            return Err(failure.hint("say with --layers where the layers are kept").into());
        };
        let store = LayerStore::new(dir)?;
        for layer in &mut layers {
            layer.packed = *wanted != PackScope::Release;
            ensure!(
                store.is_complete(&layer.key),
                "the layer '{}' ({}) is not in '{}'",
                layer.name,
                layer.key,
                dir.display()
            );
            trees.push(PackTree {
                handle: store.tree(&layer.key)?,
                name: Path::new(LAYERS).join(&layer.key),
                layer: true,
            });
        }
    }
    if !matches!(pack.part, PackScope::Layer(_)) {
        ensure!(!folded::is_folded(&pack.release), errors::folded(release.number, &release.app));
        let handle = TreeHandle::open_following(&pack.release)?.subtree(TREE)?;
        trees.push(PackTree { handle, name: TREE.into(), layer: false });
    }
    Ok((layers, trees))
}

/// Returns whether a release has the file that a process finds at this path.
pub(super) fn brings(release: &BuiltRelease, trees: &[PackTree], path: &Path) -> bool {
    let layer = release
        .layers
        .iter()
        .find_map(|layer| Some((Path::new(LAYERS).join(&layer.key), path.strip_prefix(&layer.mount).ok()?)));
    let app = || Some((PathBuf::from(TREE), path.strip_prefix(APP).ok()?));
    let Some((name, below)) = layer.or_else(app) else { return false };
    trees.iter().any(|tree| tree.name == name && tree.handle.symlink_metadata(below).is_ok())
}

/// Examines all files once: their requirements and their total size.
pub(super) fn head(
    release: &BuiltRelease,
    with_release: bool,
    layers: Vec<PackedLayer>,
    trees: &[PackTree],
) -> anyhow::Result<PackHead> {
    let machine = TargetMachine::parse(&release.architecture).context("the release names no architecture")?;
    let mut natives = NativeSearch::new(&machine);
    let mut search = NeedsSearch::new(&release.architecture);
    if with_release {
        let tree = trees.iter().find(|tree| !tree.layer).context("no tree")?;
        let source = AppSource::open_tree(tree.handle.clone(), None)?;
        let path = source.variable("PATH").map(|(path, _)| path);
        search.interpreters(release, path, &|path| brings(release, trees, path));
    }
    let (mut bytes, mut files) = (0, 0);
    for tree in trees {
        // A layer that is not packed adds requirements, but no size.
        let counts =
            !tree.layer || layers.iter().any(|layer| layer.packed && tree.name.ends_with(&layer.key));
        walk(&tree.handle, |below, stat| {
            if stat.is_file() {
                let file = tree.handle.open_file_nofollow(below)?;
                let cannot = || format!("cannot read '{}'", tree.handle.path().join(below).display());
                search.add_file(&file.file).with_context(cannot)?;
                if !with_release {
                    natives.add_file(below, &file.file).with_context(cannot)?;
                }
            } else if stat.is_symlink() {
                let target = tree.handle.read_link(below)?;
                if !links::may_lead(below, &target) {
                    return Err(errors::link_out(&tree.name.join(below), &target).into());
                }
                if tree.layer {
                    search.add_link(&target);
                }
            }
            if counts {
                bytes += if stat.is_file() { stat.len } else { 0 };
                files += 1;
            }
            Ok(())
        })?;
    }
    let (architecture, native) = if with_release {
        (release.architecture.clone(), release.native.clone())
    } else {
        (natives.architecture().to_string(), natives.shown())
    };
    Ok(PackHead {
        format: FORMAT,
        release: with_release.then(|| PackedFacts {
            app: release.app.clone(),
            commit: release.commit.clone(),
            jailed: release.jailed,
        }),
        architecture,
        native,
        needs: search.needs,
        layers,
        bytes,
        files,
    })
}

/// Stream that is being written.
struct PackStream<W: Write> {
    tar: Builder<W>,
    sum: ContentHash,
}

fn write(pack: &PackSource, head: &PackHead, trees: &[PackTree], out: impl Write) -> anyhow::Result<()> {
    let mut zstd = zstd::Encoder::new(out, LEVEL).context("cannot compress")?;
    zstd.include_checksum(true).context("cannot compress")?;
    let mut stream = PackStream { tar: Builder::new(zstd), sum: ContentHash::default() };
    stream.write_text(HEAD, &serde_json::to_vec(head)?)?;
    for tree in trees {
        if !tree.layer {
            let text =
                TreeHandle::open_following(&pack.release)?.read_bounded(manifest::FILE, LONGEST_TEXT)?;
            stream.write_text(manifest::FILE, &text)?;
        } else if head.layers.iter().any(|layer| !layer.packed && tree.name.ends_with(&layer.key)) {
            continue;
        }
        walk(&tree.handle, |below, stat| {
            let name = if below == Path::new("") { tree.name.clone() } else { tree.name.join(below) };
            stream
                .entry(&tree.handle, below, &name, stat)
                .with_context(|| format!("cannot pack '{}'", tree.handle.path().join(below).display()))
        })?;
    }
    let PackStream { mut tar, sum } = stream;
    let sum = sum.finish();
    append(&mut tar, &mut header(EntryType::Regular, 0o644, 0, 64), Path::new(SUM), sum.as_bytes())?;
    let zstd = tar.into_inner().context("cannot write the stream")?;
    zstd.finish().and_then(|mut out| out.flush()).context("cannot write the stream")
}

impl<W: Write> PackStream<W> {
    fn write_text(&mut self, name: &str, text: &[u8]) -> anyhow::Result<()> {
        self.file(Path::new(name), text, text.len() as u64, 0o644, 0)
    }

    fn entry(&mut self, tree: &TreeHandle, below: &Path, name: &Path, stat: &FileStat) -> anyhow::Result<()> {
        let mode = portable_mode(stat);
        if stat.is_dir() {
            let (mode, time) = (mode | 0o700, seconds(stat));
            self.sum.entry(name, EntryKind::Folder, mode, time);
            append(&mut self.tar, &mut header(EntryType::Directory, mode, time, 0), name, io::empty())
        } else if stat.is_symlink() {
            let target = tree.read_link(below)?;
            self.sum.entry(name, EntryKind::Link(&target), 0o777, 0);
            let mut header = header(EntryType::Symlink, 0o777, 0, 0);
            self.tar.append_link(&mut header, name, &target).context("cannot write the stream")
        } else {
            let TreeFile { file, stat } = tree.open_file_nofollow(below)?;
            let file = BufReader::with_capacity(1 << 16, file);
            self.file(name, file, stat.len, portable_mode(&stat) | 0o400, seconds(&stat))
        }
    }

    fn file(
        &mut self,
        name: &Path,
        content: impl Read,
        size: u64,
        mode: u32,
        time: u64,
    ) -> anyhow::Result<()> {
        self.sum.entry(name, EntryKind::File(size), mode, time);
        let mut content = self.sum.through(content.take(size));
        append(&mut self.tar, &mut header(EntryType::Regular, mode, time, size), name, &mut content)?;
        ensure!(content.bytes == size, "it became shorter while it was packed");
        Ok(())
    }
}

/// Returns the mode of an entry with the rights of others also for the group: the first start of a release
/// gives the app's own group the rights of the owner, which must not change the hash.
fn portable_mode(stat: &FileStat) -> u32 {
    stat.mode & 0o707 | (stat.mode & 0o007) << 3
}

pub(super) fn append<W: Write>(
    tar: &mut Builder<W>,
    header: &mut Header,
    name: &Path,
    content: impl Read,
) -> anyhow::Result<()> {
    tar.append_data(header, name, content).context("cannot write the stream")
}

pub(super) fn header(kind: EntryType, mode: u32, time: u64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Returns the modification time in seconds since 1970.
pub(super) fn seconds(stat: &FileStat) -> u64 {
    stat.modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Calls `visit` for everything in the tree, sorted by name. Entries that are neither files, directories nor
/// links are skipped with a warning.
fn walk(
    tree: &TreeHandle,
    mut visit: impl FnMut(&Path, &FileStat) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    tree.walk_sorted(Path::new(""), |below, stat| {
        interrupt::check()?;
        if stat.is_dir() || stat.is_file() || stat.is_symlink() {
            return visit(below, stat);
        }
        let path = tree.path().join(below);
        progress::warning(&format!("'{}' is left out: it is {}", path.display(), stat.kind.name()));
        Ok(())
    })
}
