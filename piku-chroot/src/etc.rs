//! The files of `/etc` that programs need. Small ones are copied, large ones and folders shown; the list of users is the
//! jail's own.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Dir, FileType};

use crate::caller::Identity;
use crate::place::Places;
use crate::plan::Plan;
use crate::root::Placed;
use crate::tree::{self, READ_ONLY, Tree};

/// Taken from the base.
const FILES: [&str; 27] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
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
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pip.conf",
    "protocols",
    "rpc",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];
/// Taken from the base: everything whose name begins so. Interpreters keep their settings in folders with a version.
const FAMILIES: [&str; 8] = ["gradle", "java", "maven", "node", "perl", "php", "python", "ruby"];
/// Taken from the host, whatever the base is: they belong to the network.
const NETWORK: &str = "resolv.conf";
/// Larger files are shown, not copied: memory is dearer than a mount.
const SMALL: u64 = 4096;

/// Makes the files, and hands back what is to be shown.
pub(crate) fn write(
    plan: &Plan,
    identity: Identity,
    places: &Places,
    base: Option<&OwnedFd>,
) -> Result<Vec<Placed>> {
    places.file(Path::new("etc/passwd"), passwd(identity, &plan.home).as_bytes())?;
    places.file(Path::new("etc/group"), group(identity).as_bytes())?;
    places.file(Path::new("etc/hostname"), &[plan.hostname.as_bytes(), b"\n"].concat())?;
    let mut trees = Vec::new();
    let Some(base) = base else { return Ok(trees) };
    let host = tree::open(Path::new("/"))?;
    places.file(Path::new("etc/hosts"), &hosts(&host, plan)?)?;
    trees.extend(take(places, &host, NETWORK)?);
    for name in FILES {
        trees.extend(take(places, base, name)?);
    }
    for name in families(base)? {
        trees.extend(take(places, base, &name)?);
    }
    Ok(trees)
}

/// The one user there is, and the names that programs expect to find.
fn passwd(identity: Identity, home: &Path) -> String {
    let (uid, gid, home) = (identity.uid, identity.gid, home.display());
    if uid.is_root() {
        return format!("root:x:0:{gid}:root:{home}:/bin/sh\n{NOBODY}");
    }
    format!("app:x:{uid}:{gid}:app:{home}:/bin/sh\nroot:x:0:0:root:/:/usr/sbin/nologin\n{NOBODY}")
}

/// Who everybody else is, seen from inside.
const NOBODY: &str = "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";

fn group(identity: Identity) -> String {
    let gid = identity.gid;
    let own = if gid.as_raw() == 0 { String::new() } else { format!("app:x:{gid}:\n") };
    format!("{own}root:x:0:\nnogroup:x:65534:\n")
}

/// The host's, and the jail's own name where the host has not that.
fn hosts(host: &OwnedFd, plan: &Plan) -> Result<Vec<u8>> {
    let mut text = match tree::read(host, Path::new("etc/hosts"))? {
        Some(text) => text,
        None => b"127.0.0.1 localhost\n::1 localhost\n".to_vec(),
    };
    let name = plan.hostname.as_bytes();
    if !text.split(u8::is_ascii_whitespace).any(|word| word == name) {
        text.extend([b"\n127.0.1.1 ", name, b"\n"].concat());
    }
    Ok(text)
}

/// One file or folder of `/etc`, when the base has it and we may read it.
fn take(places: &Places, base: &OwnedFd, name: &str) -> Result<Option<Placed>> {
    let path = Path::new("etc").join(name);
    if !places.is_free(&path) {
        return Ok(None);
    }
    if let Some(target) = tree::link(base, &path)? {
        if leads_to_usr(&path, &target) {
            places.link(&path, &target)?;
            return Ok(None);
        }
    }
    let Some(fd) = tree::find(base, &path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&fd).map_err(io::Error::from)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if u64::try_from(stat.st_size).is_ok_and(|size| size <= SMALL) => {
            if let Some(content) = tree::read(base, &path)? {
                places.file(&path, &content)?;
            }
            return Ok(None);
        }
        FileType::RegularFile => places.file(&path, b"")?,
        FileType::Directory => drop(places.folder(&path)?),
        _ => return Ok(None),
    }
    let tree = Tree::copy(fd, READ_ONLY).with_context(|| format!("cannot let in '/{}'", path.display()))?;
    Ok(Some((Path::new("/").join(path), tree)))
}

/// Whether a link at `path` leads into `/usr`, where it leads to the same file in the jail.
fn leads_to_usr(path: &Path, target: &Path) -> bool {
    let mut whole = PathBuf::from("/");
    for part in path.parent().unwrap_or(Path::new("")).join(target).components() {
        match part {
            Component::RootDir => whole = PathBuf::from("/"),
            Component::ParentDir => drop(whole.pop()),
            Component::Normal(name) => whole.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    whole.starts_with("/usr")
}

/// The names in the base's `/etc` that belong to an interpreter.
fn families(base: &OwnedFd) -> Result<Vec<String>> {
    let Some(etc) = tree::open_folder(base, Path::new("etc"))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in Dir::new(etc).map_err(io::Error::from)? {
        let entry = entry.map_err(io::Error::from).context("cannot read /etc")?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if FAMILIES.iter().any(|family| name.starts_with(family)) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{Gid, Uid};

    #[test]
    fn links_into_usr_stay_links() {
        let leads = |path: &str, target: &str| leads_to_usr(Path::new(path), Path::new(target));
        assert!(leads("etc/localtime", "/usr/share/zoneinfo/UTC"));
        assert!(leads("etc/os-release", "../usr/lib/os-release"));
        assert!(leads("etc/ssl/certs", "../../usr/share/certs"));
        assert!(!leads("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"));
        assert!(!leads("etc/x", "../usr/../root/x"));
        assert!(!leads("etc/x", "y"));
    }

    #[test]
    fn the_user_is_the_first_of_its_number() {
        let identity = Identity { uid: Uid::from_raw(65534), gid: Gid::from_raw(7) };
        assert!(passwd(identity, Path::new("/app")).starts_with("app:x:65534:7:app:/app:/bin/sh\n"));
        assert!(group(identity).starts_with("app:x:7:\nroot:x:0:\n"));
        let root = Identity { uid: Uid::from_raw(0), gid: Gid::from_raw(0) };
        assert_eq!(passwd(root, Path::new("/tmp")).matches(":x:0:").count(), 1);
        assert_eq!(group(root), "root:x:0:\nnogroup:x:65534:\n");
    }
}
