//! Files of the host's `/etc` that change while a machine runs: it gets its network late, its resolver
//! replaces `/etc/resolv.conf` by a symlink into /run, it moves to another time zone. They are read on the
//! host's side by the monitor, which writes the jail's copies and keeps them up to date; see [`follow`].

pub(crate) mod follow;
mod resolver;
mod trust;
mod walk;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use piku_report::user_error::tell;

use crate::cli::NetworkOption;
use crate::errors::quoted;
use crate::hostfiles::trust::TrustedIdentities;
use crate::hostfiles::walk::{PathWalk, WalkEnd};
use crate::ids::caller::CallerIdentity;
use crate::plan::JailPlan;

/// Files from the host with any base, since the network is the host's.
const NETWORK_FILES: [&str; 2] = ["resolv.conf", "hosts"];
/// Files from the host if the programs are the host's too.
pub(crate) const HOST_FILES: [&str; 5] = ["nsswitch.conf", "localtime", "timezone", "host.conf", "gai.conf"];
/// Bytes read of a file: some hosts block a million host names in /etc/hosts.
const MAX_SIZE: u64 = 65536;

/// The files of the host that one jail gets.
#[derive(Debug)]
pub(crate) struct HostFiles {
    /// Names of the files, without those that an option replaces.
    names: Vec<&'static str>,
    /// Identities that must not be able to write the files.
    trust: TrustedIdentities,
    /// The jail has the host's `/usr`.
    same_usr: bool,
    /// Host name of the jail, which goes into its list of hosts.
    hostname: Vec<u8>,
    /// The jail cannot reach the host's loopback, but its name server.
    own_network: bool,
}

/// Content of one of the files in the jail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// No file.
    Absent,
    Text(Vec<u8>),
    /// A symlink into /usr, which leads to the same file in the jail.
    Link(PathBuf),
}

/// The files at one moment, and the directories in which a change of them would show.
#[derive(Debug)]
pub(crate) struct HostSnapshot {
    pub(crate) files: Vec<(&'static str, FileContent)>,
    /// Directories on the paths to the files. The kernel reports changes in them as long as they are open.
    pub(crate) folders: Vec<OwnedFd>,
    /// Set if it does so for all of them.
    pub(crate) fully_watched: bool,
}

impl HostFiles {
    /// Returns the files that this jail needs: none without a base.
    pub(crate) fn new(plan: &JailPlan, caller: CallerIdentity) -> Self {
        let same_usr = plan.base.as_deref() == Some(Path::new("/"));
        let names: &[&[&'static str]] = match &plan.base {
            None => &[],
            Some(_) if same_usr => &[&NETWORK_FILES, &HOST_FILES],
            Some(_) => &[&NETWORK_FILES],
        };
        let free = |name: &&str| !plan.is_mount_point(&Path::new("/etc").join(name));
        Self {
            names: names.iter().copied().flatten().copied().filter(free).collect(),
            trust: TrustedIdentities::new(caller),
            same_usr,
            hostname: plan.hostname.as_bytes().to_vec(),
            own_network: plan.net == NetworkOption::Own,
        }
    }

    /// Returns the names of the files.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Reads the files. With `watches`, the kernel reports later changes by [`follow::CHANGED`]; with
    /// `warns`, a path that an app can write causes a warning.
    pub(crate) fn read(&self, watches: bool, warns: bool) -> io::Result<HostSnapshot> {
        let mut walk = PathWalk::new(&self.trust, watches)?;
        let mut files = Vec::new();
        for name in &self.names {
            let content = self.read_one(&mut walk, name, warns)?;
            let content = match (*name, content) {
                ("hosts", content) => self.with_own_name(content),
                ("resolv.conf", FileContent::Text(text)) if self.own_network => {
                    FileContent::Text(resolver::without_loopback(&text))
                }
                (_, content) => content,
            };
            files.push((*name, content));
        }
        let (folders, fully_watched) = walk.into_folders();
        Ok(HostSnapshot { files, folders, fully_watched })
    }

    fn read_one(&self, walk: &mut PathWalk, name: &str, warns: bool) -> io::Result<FileContent> {
        let path = Path::new("/etc").join(name);
        // A symlink into the jail's own /usr is shown as it is. Nothing in /usr has to be watched for it.
        Ok(match walk.follow(&path, |target| self.same_usr && leads_to_usr(&path, target))? {
            WalkEnd::Nothing => FileContent::Absent,
            WalkEnd::Link(target) => FileContent::Link(target),
            WalkEnd::File { file, size } => FileContent::Text(read_start(file, size)?),
            WalkEnd::Writable(what) => {
                if warns {
                    tell(&format!(
                        "piku-chroot: warning: {} leads through {}, which an app can write to: the jail has no {}",
                        quoted(&path),
                        quoted(&what),
                        quoted(&path)
                    ));
                }
                FileContent::Absent
            }
        })
    }

    /// Adds the jail's own name to the host's list of hosts.
    fn with_own_name(&self, content: FileContent) -> FileContent {
        let mut text = match content {
            FileContent::Text(text) => text,
            FileContent::Absent | FileContent::Link(_) => b"127.0.0.1 localhost\n::1 localhost\n".to_vec(),
        };
        if !text.split(u8::is_ascii_whitespace).any(|word| word == self.hostname) {
            text.extend([b"\n127.0.1.1 ", self.hostname.as_slice(), b"\n"].concat());
        }
        FileContent::Text(text)
    }
}

/// Reads the first bytes of a file of this size: in one call if the file is small, since every start does
/// this.
fn read_start(mut file: File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size.min(MAX_SIZE)).map_err(io::Error::other)?;
    let mut text = vec![0; size];
    let count = file.read(&mut text)?;
    text.truncate(count);
    if count == size && count > 0 {
        return Ok(text);
    }
    // The file is being written right now, or does not know its size.
    file.take(MAX_SIZE - count as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// Returns whether a symlink at `path` leads into `/usr`, where it leads to the same file in the jail.
pub(crate) fn leads_to_usr(path: &Path, target: &Path) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_usr_stay_links() {
        let leads = |path: &str, target: &str| leads_to_usr(Path::new(path), Path::new(target));
        assert!(leads("/etc/localtime", "/usr/share/zoneinfo/UTC"));
        assert!(leads("/etc/os-release", "../usr/lib/os-release"));
        assert!(leads("/etc/ssl/certs", "../../usr/share/certs"));
        assert!(!leads("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"));
        assert!(!leads("/etc/x", "../usr/../root/x"));
        assert!(!leads("/etc/x", "y"));
    }
}
