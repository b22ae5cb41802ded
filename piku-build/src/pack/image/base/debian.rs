//! Bases of Debian, made by mmdebstrap from the sources of this machine's apt, and kept.
//!
//! `BASES/KEY/layer.tar` is the layer and `base.json` its description; KEY is a hash of the packages, the
//! architecture and the sources. A base is made aside, synced and renamed.

#![expect(clippy::disallowed_methods, reason = "the directory of the bases, which is piku's own")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use nix::unistd::Pid;
use piku_files::sha256::{hash_reader, to_hex};
use piku_files::{FileLock, atomic_file, remove_all};
use piku_layout::clock;
use piku_report::progress;
use serde::{Deserialize, Serialize};

use super::super::blob::{DigestWriter, ImageBlob};
use super::packages::{ALWAYS, query};
use super::{BasePackage, BaseRequest, ImageBase, root_archive};
use crate::errors::image as errors;
use crate::step::interrupt;

const LAYER: &str = "layer.tar";
const DESCRIPTION: &str = "base.json";
/// Changes with the content of the bases, so that older ones are not used.
const GENERATION: &str = "1";
/// Time for which an unused base is kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Distributions whose sources make a base, with the keys that sign them.
const ORIGINS: [(&str, &str); 4] = [
    ("Debian", "debian-archive-keyring"),
    ("Raspbian", "raspbian-archive-keyring"),
    ("Raspberry Pi Foundation", "raspberrypi-archive-keyring"),
    ("Ubuntu", "ubuntu-archive-keyring"),
];
/// Directory in which packages install these keys.
const KEYRINGS: &str = "/usr/share/keyrings";
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

/// Sources of a base.
struct DebianSources {
    suite: String,
    /// Lines of sources.list(5).
    lines: Vec<String>,
}

/// Finds the base of these packages, or makes it.
pub(super) fn find(
    bases: &Path,
    packages: &BTreeSet<String>,
    request: &BaseRequest<'_>,
) -> anyhow::Result<ImageBase> {
    let sources = DebianSources::read()?;
    let architecture = &request.platform.debian;
    let mut text = vec![GENERATION.to_owned(), architecture.clone(), sources.suite.clone()];
    text.extend(sources.lines.iter().cloned());
    text.extend(packages.iter().cloned());
    let key = to_hex(&hash_reader(&mut text.join("\n").as_bytes())?);
    let cannot = || format!("cannot keep a base in '{}'", bases.display());
    fs::create_dir_all(bases).with_context(cannot)?;
    let _lock = FileLock::exclusive(File::open(bases).with_context(cannot)?).with_context(cannot)?;
    let dir = bases.join(&key);
    if request.renew || !dir.join(DESCRIPTION).is_file() {
        make(&dir, &sources, architecture, packages)?;
    }
    let path = dir.join(DESCRIPTION);
    let description = fs::read(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let BaseDescription { digest, size, packages } = serde_json::from_slice(&description)
        .with_context(|| format!("bad description of a base in '{}'", path.display()))?;
    // The time of the last use. Where it cannot be noted, the base may be made again.
    let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(ImageBase::of_blob(ImageBlob::known(digest, size, dir.join(LAYER), 0), packages))
}

/// Makes a base, and removes those that were not used for long.
fn make(
    dir: &Path,
    sources: &DebianSources,
    architecture: &str,
    packages: &BTreeSet<String>,
) -> anyhow::Result<()> {
    progress::step(&format!("Making the base of the image: {} {architecture}", sources.suite));
    progress::detail(&packages.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    let bases = dir.parent().unwrap_or(dir);
    remove_unused(bases, dir)?;
    let aside = dir.with_extension("new");
    remove_all(&aside).with_context(|| format!("cannot remove '{}'", aside.display()))?;
    fs::create_dir(&aside).with_context(|| format!("cannot make '{}'", aside.display()))?;
    let made = fill(&aside, sources, architecture, packages).and_then(|()| {
        remove_all(dir)?;
        fs::rename(&aside, dir)?;
        Ok(atomic_file::sync_parent(dir)?)
    });
    if made.is_err() {
        // Report the first error.
        let _ = remove_all(&aside);
    }
    made
}

fn fill(
    aside: &Path,
    sources: &DebianSources,
    architecture: &str,
    packages: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let path = aside.join(LAYER);
    let cannot = || format!("cannot write '{}'", path.display());
    let messages = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut command = mmdebstrap(sources, architecture, packages);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    command.stderr(messages.try_clone().context("cannot make a temporary file")?);
    let mut child = match command.spawn() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Err(errors::no_mmdebstrap().into()),
        child => child.context("cannot run 'mmdebstrap'")?,
    };
    interrupt::set_group(i32::try_from(child.id()).ok().map(Pid::from_raw));
    let output = child.stdout.take().context("no output of 'mmdebstrap'")?;
    let file = File::create(&path).with_context(cannot)?;
    let mut out = DigestWriter::new(BufWriter::with_capacity(1 << 16, &file));
    let rewritten = root_archive::rewrite(BufReader::with_capacity(1 << 16, output), &mut out, is_kept);
    let status = child.wait();
    interrupt::set_group(None);
    interrupt::check()?;
    let status = status.context("cannot wait for 'mmdebstrap'")?;
    let facts = match rewritten {
        // A full disk, of which mmdebstrap only sees a closed pipe.
        Err(err) if !root_archive::is_unreadable(&err) => return Err(err.context(cannot())),
        _ if !status.success() => {
            let own = query(Command::new("dpkg").arg("--print-architecture")).unwrap_or_default();
            let foreign = Some(architecture).filter(|architecture| own.trim() != *architecture);
            return Err(errors::mmdebstrap_failed(&last_lines(messages), foreign).into());
        }
        rewritten => rewritten?,
    };
    ensure!(facts.has_shell, "mmdebstrap has made no base");
    out.flush().with_context(cannot)?;
    let (digest, size) = out.finish();
    file.sync_all().with_context(cannot)?;
    let description = BaseDescription { digest, size, packages: facts.packages() };
    warn_of_other_versions(packages, &description.packages);
    atomic_file::write(&aside.join(DESCRIPTION), &serde_json::to_vec(&description)?, 0o644)
        .with_context(cannot)
}

fn mmdebstrap(sources: &DebianSources, architecture: &str, packages: &BTreeSet<String>) -> Command {
    let mut include: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut command = Command::new("mmdebstrap");
    // Dates of packages would be those of now, and Python's bytecode would have them.
    command.env("SOURCE_DATE_EPOCH", "0").env("LC_ALL", "C.UTF-8");
    command.args(["--variant=essential", "--format=tar"]);
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
    command.arg(format!("--customize-hook={ACCOUNT}"));
    command.args([sources.suite.as_str(), "-"]).args(&sources.lines);
    command
}

/// Returns the settings of this machine's apt for its network.
fn network_options() -> Vec<String> {
    let wanted = ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"];
    let dump = query(Command::new("apt-config").arg("dump")).unwrap_or_default();
    let lines = dump.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start)));
    lines.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

impl DebianSources {
    /// Reads the sources of this machine's apt.
    fn read() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let listed = query(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        let suite = suite.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default();
        let lines = Self::parse(&listed, &suite, &|path| path.exists());
        if suite.is_empty() || lines.is_empty() {
            return Err(errors::no_sources().into());
        }
        Ok(Self { suite, lines })
    }

    /// Returns the sources of the distribution itself.
    fn parse(listed: &str, suite: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for line in listed.lines() {
            let mut fields = line.split('|');
            let mut field = || fields.next().unwrap_or_default();
            let (origin, codename, uri, component) = (field(), field(), field(), field());
            let Some((_, keyring)) = ORIGINS.iter().find(|(name, _)| *name == origin) else { continue };
            let is_of_suite =
                codename.strip_prefix(suite).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            if !is_of_suite {
                continue;
            }
            let keyrings =
                ["gpg", "pgp", "asc"].map(|kind| Path::new(KEYRINGS).join(format!("{keyring}.{kind}")));
            let signed = keyrings.iter().find(|path| exists(path));
            let signed = signed.map_or_else(String::new, |path| format!("[signed-by={}] ", path.display()));
            lines.insert(format!("deb {signed}{uri} {codename} {component}"));
        }
        lines.into_iter().collect()
    }

    /// Returns whether apt knows the package.
    #[expect(clippy::unused_self, reason = "the sources are apt's")]
    fn has_package(&self, name: &str) -> bool {
        query(Command::new("apt-cache").args(["show", "--no-all-versions", name]))
            .is_ok_and(|text| !text.is_empty())
    }
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

/// Removes bases that were not used for long, and what an ended process left.
fn remove_unused(bases: &Path, ours: &Path) -> anyhow::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(bases).with_context(|| format!("cannot read '{}'", bases.display()))? {
        let dir: PathBuf = entry.with_context(|| format!("cannot read '{}'", bases.display()))?.path();
        let used = fs::metadata(dir.join(DESCRIPTION)).and_then(|description| description.modified());
        let is_old = used.map_or(true, |used| clock::age(used, now).is_some_and(|age| age > KEPT));
        if is_old && dir != ours {
            remove_all(&dir).with_context(|| format!("cannot remove '{}'", dir.display()))?;
        }
    }
    Ok(())
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
    fn sources_are_those_of_the_distribution() {
        let listed = "Debian|trixie|http://deb.example/debian/|main\n\
                      Debian|trixie-security|http://deb.example/security/|main\n\
                      Node Source|nodistro|https://node.example/|main\n\
                      Debian|sid|http://deb.example/debian/|main\n\
                      Debian|trixie|http://deb.example/debian/|main\n";
        let signed =
            DebianSources::parse(listed, "trixie", &|path| path.ends_with("debian-archive-keyring.gpg"));
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            signed,
            [
                format!("deb {key} http://deb.example/debian/ trixie main"),
                format!("deb {key} http://deb.example/security/ trixie-security main"),
            ]
        );
        assert_eq!(
            DebianSources::parse(listed, "sid", &|_| false),
            ["deb http://deb.example/debian/ sid main"]
        );
    }

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
