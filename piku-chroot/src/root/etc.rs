//! The files of `/etc` that programs need. Small files are copied, large ones and directories are mounted;
//! the list of users is the jail's own.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::errors::quoted;
use crate::hostfiles::leads_to_usr;
use crate::ids::caller::CallerIdentity;
use crate::plan::JailPlan;
use crate::root::base::{self, BaseEntry, OpenedBase};
use crate::root::folder::OpenedFolder;
use crate::root::tree::{HostTree, READ_ONLY};

const FILES: [&str; 19] = [
    "alternatives",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "mime.types",
    "npmrc",
    "nsswitch.conf",
    "os-release",
    "pip.conf",
    "protocols",
    "services",
    "timezone",
];
/// The directory of the base, and the one of its entries of which only [`SSL`] is shown.
const TOP: &str = "etc";
const OF_SSL: &str = "etc/ssl";
/// Entries of the base's `ssl`, which contains private keys too.
const SSL: [&str; 2] = ["certs", "openssl.cnf"];
/// Prefixes of names: interpreters and the like keep their settings in directories with a version.
const FAMILIES: [&str; 9] =
    ["ImageMagick", "gradle", "java", "maven", "node", "perl", "php", "python", "ruby"];
/// Size up to which a file is copied: for larger ones a mount costs less than the memory.
const SMALL: u64 = 4096;

/// Makes all entries but the files of the host that are kept up to date, which have these names.
pub(crate) fn make_entries(
    etc: &OpenedFolder,
    plan: &JailPlan,
    identity: CallerIdentity,
    base: Option<&OpenedBase>,
    host_files: &[&'static str],
) -> Result<()> {
    let make = |name: &str, text: &[u8]| {
        if plan.is_mount_point(&Path::new("/etc").join(name)) {
            Ok(())
        } else {
            etc.write_file(Path::new(name), text)
        }
    };
    make("passwd", format_passwd(identity, &plan.home).as_bytes())?;
    make("group", format_group(identity).as_bytes())?;
    make("hostname", &[plan.hostname.as_bytes(), b"\n"].concat())?;
    if !plan.is_mount_point(Path::new("/etc/mtab")) {
        etc.make_symlink(Path::new("mtab"), Path::new("/proc/self/mounts"))?;
    }
    let Some(base) = base else { return Ok(()) };
    for (from, folder, entries) in list_shown(base, host_files)? {
        let below = Path::new(from).strip_prefix("etc").unwrap_or(Path::new(""));
        show_entries(base, from, &folder, entries, &etc.make_dirs(below)?, plan)?;
    }
    etc.make_dir(Path::new("ssl"))
}

/// Entries of a directory of the base: its path, and the directory itself.
type ShownEntries = (&'static str, OwnedFd, Vec<BaseEntry>);

/// Returns the entries of the base's `/etc` that are shown, without those that `ours` names.
pub(crate) fn list_shown(base: &OpenedBase, ours: &[&str]) -> Result<Vec<ShownEntries>> {
    let wanted = |name: &OsStr| {
        let family = |family: &&str| name.as_bytes().starts_with(family.as_bytes());
        let is_ours = ours.iter().any(|file| name == *file);
        !is_ours && (FILES.iter().any(|file| name == *file) || FAMILIES.iter().any(family))
    };
    let top = base.list(Path::new(TOP), wanted)?.map(|(folder, entries)| (TOP, folder, entries));
    let ssl = base.open_dir(Path::new(OF_SSL))?;
    let ssl = ssl.map(|folder| (OF_SSL, folder, SSL.map(BaseEntry::new).into()));
    Ok(top.into_iter().chain(ssl).collect())
}

/// Returns the one user that exists, and names that programs expect.
fn format_passwd(identity: CallerIdentity, home: &Path) -> String {
    let (uid, gid, home) = (identity.uid, identity.gid, home.display());
    if uid.is_root() {
        return format!("root:x:0:{gid}:root:{home}:/bin/sh\n{NOBODY}");
    }
    format!("app:x:{uid}:{gid}:app:{home}:/bin/sh\nroot:x:0:0:root:/:/usr/sbin/nologin\n{NOBODY}")
}

/// The user that every other one looks like from inside.
const NOBODY: &str = "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";

fn format_group(identity: CallerIdentity) -> String {
    let gid = identity.gid;
    let own = if gid.as_raw() == 0 { String::new() } else { format!("app:x:{gid}:\n") };
    format!("{own}root:x:0:\nnogroup:x:65534:\n")
}

/// Shows those entries of a directory of the base, opened as `folder`, that exist and may be read.
fn show_entries(
    base: &OpenedBase,
    from: &str,
    folder: &OwnedFd,
    entries: impl IntoIterator<Item = BaseEntry>,
    to: &OpenedFolder,
    plan: &JailPlan,
) -> Result<()> {
    for entry in entries {
        let name = Path::new(&entry.name);
        let path = Path::new("/").join(from).join(name);
        if plan.is_mount_point(&path) {
            continue;
        }
        if entry.is_folder {
            let show = || match HostTree::copy_existing(folder, name, true, READ_ONLY)? {
                Some(tree) => show_folder(&tree, to, name),
                None => Ok(()),
            };
            show().with_context(|| format!("cannot mount {}", quoted(&path)))?;
            continue;
        }
        let fd = match open_entry(folder, name).with_context(|| format!("cannot open {}", quoted(&path)))? {
            OpenedFile::Yes(fd) => Some(fd),
            OpenedFile::Refused => None,
            OpenedFile::Link => match base::read_symlink(folder, name)? {
                Some(target) if leads_to_usr(&path, &target) => {
                    to.make_symlink(name, &target)?;
                    None
                }
                _ => base.follow(&path)?,
            },
        };
        if let Some(fd) = fd {
            show_entry(fd, to, name).with_context(|| format!("cannot mount {}", quoted(&path)))?;
        }
    }
    Ok(())
}

/// Shows a file or a directory under this name.
fn show_entry(fd: OwnedFd, to: &OpenedFolder, name: &Path) -> Result<()> {
    let stat = fstat(&fd).map_err(io::Error::from)?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if size <= SMALL => to.write_file(name, &base::read(fd, size)?),
        FileType::RegularFile => {
            to.make_file(name)?;
            to.mount(name, HostTree::copy(fd, false, READ_ONLY)?)
        }
        FileType::Directory => show_folder(&HostTree::copy(fd, true, READ_ONLY)?, to, name),
        _ => Ok(()),
    }
}

fn show_folder(tree: &HostTree, to: &OpenedFolder, name: &Path) -> Result<()> {
    to.make_dir(name)?;
    to.mount(name, tree)
}

/// Result of opening an entry.
enum OpenedFile {
    Yes(OwnedFd),
    Link,
    /// Gone, or not readable.
    Refused,
}

fn open_entry(folder: &OwnedFd, name: &Path) -> io::Result<OpenedFile> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(fd) => Ok(OpenedFile::Yes(fd)),
        Err(Errno::LOOP) => Ok(OpenedFile::Link),
        Err(Errno::NOENT | Errno::ACCESS | Errno::NXIO) => Ok(OpenedFile::Refused),
        Err(err) => Err(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{Gid, Uid};

    #[test]
    fn the_user_is_the_first_of_its_number() {
        let identity = CallerIdentity { uid: Uid::from_raw(65534), gid: Gid::from_raw(7) };
        assert!(format_passwd(identity, Path::new("/app")).starts_with("app:x:65534:7:app:/app:/bin/sh\n"));
        assert!(format_group(identity).starts_with("app:x:7:\nroot:x:0:\n"));
        let root = CallerIdentity { uid: Uid::from_raw(0), gid: Gid::from_raw(0) };
        assert_eq!(format_passwd(root, Path::new("/tmp")).matches(":x:0:").count(), 1);
        assert_eq!(format_group(root), "root:x:0:\nnogroup:x:65534:\n");
    }
}
