//! Bases of Debian, made by mmdebstrap from the sources of this machine's apt, and kept. Those for another architecture
//! are completed by one of this machine's: [`super::foreign`].
//!
//! `BASES/KEY/layer.tar` is the layer and `base.json` its description; KEY is a hash of the packages, the
//! architecture and the sources. A base is made aside, synced and renamed.

#![expect(clippy::disallowed_methods, reason = "the directory of the bases, which is piku's own")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::unistd::Pid;
use piku_files::free_space::{self, SpaceNeeded};
use piku_files::sha256::{hash_reader, to_hex};
use piku_files::{ReservingWriter, atomic_file};
use piku_release::image_bases::{self, BasesLock, DESCRIPTION, LAYER};
use piku_report::progress;
use serde::{Deserialize, Serialize};

use super::super::blob::{DigestWriter, ImageBlob, PackedFile};
use super::apt_sources::{DebianSources, network_options};
use super::foreign::NativeBase;
use super::packages::{ALWAYS, query};
use super::{BaseLimits, BasePackage, BaseRequest, ImageBase, foreign, root_archive};
use crate::errors::image as errors;
use crate::step::interrupt;

/// Changes with the content of the bases, so that older ones are not used.
const GENERATION: &str = "1";
/// Space that must be free before a layer is made. Most bases have more than 100 MB.
const LAYER_NEED: SpaceNeeded = SpaceNeeded { bytes: 128 << 20, files: 3 };
/// Space for the tree from which it is made, lists and packages.
const TREE_NEED: SpaceNeeded = SpaceNeeded { bytes: 384 << 20, files: 10_000 };
/// Pause between two attempts to lock the bases.
const PAUSE: Duration = Duration::from_millis(200);
/// Hook of mmdebstrap that makes /bin a link to /usr/bin.
const MERGED: &str = "/usr/share/mmdebstrap/hooks/merged-usr";
/// The user of the image's processes.
const ACCOUNT: &str =
    r#"echo 'app:x:1000:1000::/data/home:/bin/sh' >>"$1/etc/passwd"; echo 'app:x:1000:' >>"$1/etc/group""#;
/// Directories with documents for readers, of which only the licences are kept.
const DOCUMENTS: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
];

/// Description of a base.
#[derive(Serialize, Deserialize)]
struct BaseDescription {
    digest: String,
    size: u64,
    packages: Vec<BasePackage>,
}

/// Finds the base of these packages, or makes it.
pub(super) fn find(
    bases: &Path,
    sources: DebianSources,
    packages: &BTreeSet<String>,
    request: &BaseRequest<'_>,
) -> anyhow::Result<ImageBase> {
    fs::create_dir_all(bases).with_context(|| format!("cannot keep a base in '{}'", bases.display()))?;
    let own = query(Command::new("dpkg").arg("--print-architecture"))?;
    let shelf = BaseShelf { bases, sources, own: own.trim(), packages, request };
    let architecture = shelf.sources.architecture(&request.platform.debian);
    let _lock = lock(bases)?;
    let dir = shelf.provide(architecture)?;
    let path = dir.join(DESCRIPTION);
    let description = fs::read(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let BaseDescription { digest, size, packages } = serde_json::from_slice(&description)
        .with_context(|| format!("bad description of a base in '{}'", path.display()))?;
    // The file stays open: another pack may remove or renew the base.
    let layer = PackedFile::open(&dir.join(LAYER))?;
    Ok(ImageBase::of_blob(ImageBlob::known(digest, size, layer, 0), packages))
}

/// The bases of one request. The caller holds their lock.
struct BaseShelf<'a> {
    bases: &'a Path,
    sources: DebianSources,
    /// Debian's name of this machine's architecture.
    own: &'a str,
    packages: &'a BTreeSet<String>,
    request: &'a BaseRequest<'a>,
}

impl BaseShelf<'_> {
    /// Returns the directory of the base for an architecture, which is made if it is missing or to be renewed. One of
    /// another machine is then completed by the one of this machine.
    fn provide(&self, architecture: &str) -> anyhow::Result<PathBuf> {
        let Self { sources, packages, request, .. } = self;
        let dir = self.dir(architecture)?;
        let is_old = request.renew && !request.made.borrow().contains(&dir);
        if is_old || !image_bases::is_complete(&dir) {
            let native = if architecture == self.own { None } else { Some(self.native()?) };
            let native = native.as_ref();
            NewBase { dir: &dir, sources, architecture, packages, limits: request.limits, native }.make()?;
            request.made.borrow_mut().insert(dir.clone());
        }
        image_bases::note_use(&dir);
        Ok(dir)
    }

    fn native(&self) -> anyhow::Result<NativeBase> {
        let dir = self.provide(self.own)?;
        let layer = PackedFile::open(&dir.join(LAYER))?;
        Ok(NativeBase { architecture: self.own.to_owned(), dir, layer })
    }

    fn dir(&self, architecture: &str) -> anyhow::Result<PathBuf> {
        let Self { bases, sources, own, packages, .. } = self;
        let mut text = vec![GENERATION.to_owned(), architecture.to_owned(), sources.suite.clone()];
        text.extend((architecture != *own).then(|| (*own).to_owned()));
        text.extend(sources.lines.iter().cloned());
        text.extend(packages.iter().cloned());
        Ok(bases.join(to_hex(&hash_reader(&mut text.join("\n").as_bytes())?)))
    }
}

/// Waits for the lock on the bases.
fn lock(bases: &Path) -> anyhow::Result<BasesLock> {
    let mut is_told = false;
    loop {
        let lock = image_bases::try_lock(bases);
        if let Some(lock) = lock.with_context(|| format!("cannot lock '{}'", bases.display()))? {
            return Ok(lock);
        }
        if !is_told {
            progress::detail("waiting for the base of another image, which is being made");
            is_told = true;
        }
        interrupt::check()?;
        thread::sleep(PAUSE);
    }
}

/// A base that is to be made.
struct NewBase<'a> {
    dir: &'a Path,
    sources: &'a DebianSources,
    architecture: &'a str,
    packages: &'a BTreeSet<String>,
    limits: BaseLimits,
    /// This machine's base with the same packages, if it is for another one.
    native: Option<&'a NativeBase>,
}

impl NewBase<'_> {
    /// Makes the base, and removes those that are not needed.
    fn make(&self) -> anyhow::Result<()> {
        let Self { dir, sources, architecture, packages, limits, .. } = self;
        progress::step(&format!("Making the base of the image: {} {architecture}", sources.suite));
        progress::detail(&packages.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        self.remove_unneeded()?;
        let bases = dir.parent().unwrap_or(dir);
        check_space(bases, &temporary_folder(), limits.reserve)?;
        let aside = image_bases::begin(dir)?;
        let made = self.fill(&aside).and_then(|()| {
            image_bases::remove(dir)?;
            fs::rename(&aside, dir)?;
            Ok(atomic_file::sync_parent(dir)?)
        });
        if made.is_err() {
            // Report the first error.
            let _ = image_bases::remove(&aside);
            return made;
        }
        self.remove_unneeded()
    }

    fn remove_unneeded(&self) -> anyhow::Result<()> {
        let bases = self.dir.parent().unwrap_or(self.dir);
        // The next architecture of the image needs the one of this machine, too.
        let ours: Vec<&Path> =
            std::iter::once(self.dir).chain(self.native.map(|native| native.dir.as_path())).collect();
        let unneeded = image_bases::list_unneeded(bases, self.limits.most, &ours);
        let unneeded = unneeded.with_context(|| format!("cannot read '{}'", bases.display()))?;
        unneeded.iter().try_for_each(|dir| image_bases::remove(dir))
    }

    fn fill(&self, aside: &Path) -> anyhow::Result<()> {
        let Self { sources, architecture, packages, limits, native, .. } = self;
        let path = aside.join(LAYER);
        let cannot = || format!("cannot write '{}'", path.display());
        let messages = tempfile::tempfile().context("cannot make a temporary file")?;
        let mut command = mmdebstrap(sources, architecture, packages, native.is_some());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        command.stderr(messages.try_clone().context("cannot make a temporary file")?);
        let mut child = match command.spawn() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Err(errors::no_mmdebstrap().into()),
            child => child.context("cannot run 'mmdebstrap'")?,
        };
        interrupt::set_group(i32::try_from(child.id()).ok().map(Pid::from_raw));
        let output = child.stdout.take().context("no output of 'mmdebstrap'")?;
        let file = File::create(&path).with_context(cannot)?;
        let file = ReservingWriter::new(file, aside.to_owned(), limits.reserve, "the base of the image");
        let mut out = DigestWriter::new(BufWriter::with_capacity(1 << 16, file));
        let output = BufReader::with_capacity(1 << 16, output);
        let rewritten = match native {
            Some(native) => foreign::rewrite(output, &mut out, is_kept, native, architecture),
            None => root_archive::rewrite(output, &mut out, is_kept),
        };
        let status = child.wait();
        interrupt::set_group(None);
        interrupt::check()?;
        let status = status.context("cannot wait for 'mmdebstrap'")?;
        let facts = match rewritten {
            // A full disk, of which mmdebstrap only sees a closed pipe.
            Err(err) if !root_archive::is_unreadable(&err) => return Err(err.context(cannot())),
            _ if !status.success() => {
                let foreign = native.map(|_| *architecture);
                return Err(errors::mmdebstrap_failed(&last_lines(messages), foreign).into());
            }
            rewritten => rewritten?,
        };
        ensure!(facts.has_shell, "mmdebstrap has made no base");
        let installed = facts.packages();
        ensure!(!installed.is_empty(), "mmdebstrap has made a base without a list of its packages");
        out.flush().with_context(cannot)?;
        let (out, digest, size) = out.into_parts();
        out.get_ref().file().sync_all().with_context(cannot)?;
        if size > limits.most {
            progress::warning(&format!(
                "the base has {}, and all bases may have {} (image_bases in host.yaml): no other one is kept",
                free_space::size(size),
                free_space::size(limits.most)
            ));
        }
        let description = BaseDescription { digest, size, packages: installed };
        warn_of_other_versions(packages, &description.packages);
        atomic_file::write(&aside.join(DESCRIPTION), &serde_json::to_vec(&description)?, 0o644)
            .with_context(cannot)
    }
}

/// Fails unless there is space for the layer and for the tree, which may be on the same disk.
fn check_space(bases: &Path, temporary: &Path, reserve: u64) -> anyhow::Result<()> {
    let device = |dir: &Path| {
        fs::metadata(dir).map(|dir| dir.dev()).with_context(|| format!("cannot read '{}'", dir.display()))
    };
    let mut need = LAYER_NEED;
    if device(bases)? == device(temporary)? {
        need += TREE_NEED;
    } else {
        free_space::check_keeping(temporary, TREE_NEED, reserve, "the base of the image")?;
    }
    free_space::check_keeping(bases, need, reserve, "the base of the image")
}

/// Returns the command that writes a base as an archive. One that is `foreign` has the unpacked packages only, and the
/// list of them.
fn mmdebstrap(
    sources: &DebianSources,
    architecture: &str,
    packages: &BTreeSet<String>,
    foreign: bool,
) -> Command {
    let mut include: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut command = Command::new("mmdebstrap");
    // Dates of packages would be those of now, and Python's bytecode would have them.
    command.env("SOURCE_DATE_EPOCH", "0").env("LC_ALL", "C.UTF-8").env("TMPDIR", temporary_folder());
    command.arg("--format=tar");
    if foreign {
        let hook = format!("--extract-hook={}", foreign::LIST_PACKAGES);
        command.args(["--variant=extract", "--include=?essential", &hook]);
    } else {
        command.args(["--variant=essential", &format!("--customize-hook={ACCOUNT}")]);
    }
    command.arg(format!("--architectures={architecture}"));
    command.args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
    command.args(network_options().iter().map(|line| format!("--aptopt={line}")));
    command.arg("--dpkgopt=force-unsafe-io");
    // Without it, Debian 12 installs a program in Perl that merges /bin and /usr/bin.
    if Path::new(MERGED).is_dir() && sources.has_package("usr-is-merged") {
        command.arg(format!("--hook-dir={MERGED}"));
        include.push("usr-is-merged");
    }
    command.arg(format!("--include={}", include.join(",")));
    command.args([sources.suite.as_str(), "-"]).args(&sources.lines);
    command
}

/// Returns the directory in which mmdebstrap makes a tree: one on a disk, where `/tmp` is in memory.
fn temporary_folder() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| Path::new("/var/tmp").to_owned(), PathBuf::from)
}

/// Returns whether a base keeps the file.
fn is_kept(path: &Path) -> bool {
    let is_document = DOCUMENTS.iter().any(|folder| path.starts_with(folder) && path != Path::new(folder));
    !is_document || path.file_name().is_some_and(|name| name == "copyright")
}

/// Warns of packages of which this machine has another version than the distribution: the app was built and
/// tried with that one.
fn warn_of_other_versions(packages: &BTreeSet<String>, installed: &[BasePackage]) {
    for name in packages.iter().filter(|name| !ALWAYS.contains(&name.as_str())) {
        let ours = query(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", name]));
        let ours = ours.unwrap_or_default();
        let there = installed.iter().find(|package| package.name == *name);
        if let Some(there) = there.filter(|there| !ours.is_empty() && series(&there.version) != series(&ours))
        {
            progress::warning(&format!("the base has {name} {}, this machine {ours}", there.version));
        }
    }
}

/// Returns the first two numbers of a package's version: fixes of a distribution change only later ones.
fn series(version: &str) -> Vec<&str> {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['.', '-', '+', '~']).take(2).collect()
}

/// Returns the last messages of a program.
fn last_lines(mut messages: File) -> String {
    const MOST: usize = 12;
    let mut text = Vec::new();
    let read = messages.seek(SeekFrom::Start(0)).and_then(|_| messages.take(1 << 20).read_to_end(&mut text));
    let text = read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(MOST)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_of_a_distribution_are_the_same_series() {
        assert_eq!(series("3.11.2-6+deb12u9"), series("3.11.2-6+deb12u6"));
        assert_ne!(series("18.20.4+dfsg-1"), series("20.19.4-1nodesource1"));
        assert_eq!(series("2:1.17-1"), series("2:1.17.3-2"));
    }

    #[test]
    fn licences_are_kept() {
        assert!(is_kept(Path::new("usr/share/doc/dash/copyright")) && is_kept(Path::new("usr/share/man")));
        assert!(!is_kept(Path::new("usr/share/doc/dash/changelog.gz")) && is_kept(Path::new("usr/bin/sh")));
    }
}
