//! Those files of the host's `/etc` that change while a machine runs: it gets its network late, its resolver manages
//! `/etc/resolv.conf` as a link into /run, it moves to another time zone. They are read on the host's side, before
//! anything covers its root, and kept up to date in the jail by the monitor, see [`follow`].

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

/// Taken from the host wherever the jail's programs come from: the network is the host's.
const OF_THE_NETWORK: [&str; 2] = ["resolv.conf", "hosts"];
/// Taken from the host when the jail's programs are the host's.
const OF_THE_HOST: [&str; 5] = ["nsswitch.conf", "localtime", "timezone", "host.conf", "gai.conf"];
/// More of a file is not taken: some hosts have a list of a million names that they do not want to reach.
const LARGEST: u64 = 65536;

/// The files of one jail, as the host has them.
#[derive(Debug)]
pub(crate) struct HostFiles {
    /// The names of the files, but for those that the caller puts something else at.
    names: Vec<&'static str>,
    /// The identities that must not be able to write to them.
    trust: TrustedIdentities,
    /// True if what lies in `/usr` is the same in the jail.
    same_usr: bool,
    /// The jail's own name, which its list of hosts has.
    hostname: Vec<u8>,
    /// True if the host's loopback cannot be reached from the jail's network, though the host's name server can.
    own_network: bool,
}

/// The content of one of the files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// Nothing that may be shown is there.
    Absent,
    /// This.
    Text(Vec<u8>),
    /// It is a link into /usr, which leads to the same file in the jail.
    Link(PathBuf),
}

/// The files that are on the host now, and the folders where a change of them would show.
#[derive(Debug)]
pub(crate) struct HostSnapshot {
    pub(crate) files: Vec<(&'static str, FileContent)>,
    /// Folders of the host on the ways to the files; as long as they are open, the kernel tells of changes in them.
    pub(crate) folders: Vec<OwnedFd>,
    /// True if it does so for all of them.
    pub(crate) told: bool,
}

impl HostFiles {
    /// Returns those that this jail needs: none without a tree of programs.
    pub(crate) fn new(plan: &JailPlan, caller: CallerIdentity) -> Self {
        let same_usr = plan.base.as_deref() == Some(Path::new("/"));
        let names: &[&[&'static str]] = match &plan.base {
            None => &[],
            Some(_) if same_usr => &[&OF_THE_NETWORK, &OF_THE_HOST],
            Some(_) => &[&OF_THE_NETWORK],
        };
        let free = |name: &&str| !plan.takes(&Path::new("/etc").join(name));
        Self {
            names: names.iter().copied().flatten().copied().filter(free).collect(),
            trust: TrustedIdentities::new(caller),
            same_usr,
            hostname: plan.hostname.as_bytes().to_vec(),
            own_network: plan.net == NetworkOption::Own,
        }
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Reads them, and where `watches` is said makes the kernel tell of each later change by [`follow::CHANGED`].
    pub(crate) fn read(&self, watches: bool, warns: bool) -> io::Result<HostSnapshot> {
        let mut walk = PathWalk::begin(&self.trust, watches)?;
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
        let (folders, told) = walk.into_folders();
        Ok(HostSnapshot { files, folders, told })
    }

    /// Reads one; `warns` when it leads to what an app could write.
    fn read_one(&self, walk: &mut PathWalk, name: &str, warns: bool) -> io::Result<FileContent> {
        let path = Path::new("/etc").join(name);
        Ok(match walk.follow(&path)? {
            WalkEnd::Nothing => FileContent::Absent,
            WalkEnd::File { first_link: Some(target), .. }
                if self.same_usr && leads_to_usr(&path, &target) =>
            {
                FileContent::Link(target)
            }
            WalkEnd::File { file, size, .. } => FileContent::Text(read(file, size)?),
            WalkEnd::Writable(what) => {
                if warns {
                    tell(&format!(
                        "piku-chroot: warning: {} leads through {}, which others than the machine's owner can \
                         write to: the jail has no {}",
                        quoted(&path),
                        quoted(&what),
                        quoted(&path)
                    ));
                }
                FileContent::Absent
            }
        })
    }

    /// The host's list of hosts, and the jail's own name where that is not in it.
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

/// The first bytes of a file that has `size`. One call for what is small: this is done at each start.
fn read(mut file: File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size.min(LARGEST)).map_err(io::Error::other)?;
    let mut text = vec![0; size];
    let count = file.read(&mut text)?;
    text.truncate(count);
    if count == size && count > 0 {
        return Ok(text);
    }
    // It is being written right now, or does not know its size.
    file.take(LARGEST - count as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// Returns whether a link at `path` leads into `/usr`, where it leads to the same file in the jail.
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
