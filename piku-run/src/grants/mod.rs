//! Grants: devices, sockets and folders of the machine that the operator lets an app use (`grants:` of
//! `host.yaml`). They are checked when they are granted, and at each start of a process: the file at a path
//! may have changed since.

mod device;
pub(crate) mod hint;
mod policy;
mod symlinks;
pub(crate) mod trial;

use std::fmt;
use std::path::PathBuf;

use nix::unistd::{Gid, geteuid, getgroups};
use piku_chroot::jail::JailSpec;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{AppUsers, GrantedPath};
use piku_nss::UserAccount;

pub(crate) use policy::resolve_grant;

/// Kind of file at a granted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantKind {
    /// A device, or a directory below `/dev`.
    Device,
    Socket,
    Folder,
    File,
}

/// A group of the machine whose rights an app needs for a granted path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededGroup {
    pub(crate) gid: Gid,
    /// Its name, or its number if it has none.
    pub(crate) name: String,
}

/// A granted path as it lies on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedGrant {
    /// Path without symlinks.
    source: PathBuf,
    granted: GrantedPath,
    pub(crate) kind: GrantKind,
    is_folder: bool,
    /// Belongs to the user that runs piku, who needs none of the groups.
    is_ours: bool,
    /// Groups whose rights it needs, of the path and of what lies in it.
    pub(crate) groups: Vec<NeededGroup>,
}

/// Reason why a granted path cannot be used. `Display` prints a part of a sentence that begins with the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantProblem {
    /// It does not exist, such as a device that is not plugged in.
    Missing,
    /// It would break the jail; the reason, and what to do instead.
    Refused { why: String, hint: Option<String> },
}

impl fmt::Display for GrantProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist on this machine"),
            Self::Refused { why, .. } => f.write_str(why),
        }
    }
}

impl ResolvedGrant {
    /// Adds the mount to a jail.
    pub(crate) fn add_to(&self, jail: JailSpec) -> JailSpec {
        let (source, target) = (self.source.as_path(), self.granted.path());
        match self.kind {
            GrantKind::Device => jail.grant_device(source, target),
            _ if self.granted.is_read_only() => jail.grant_ro(source, target),
            _ => jail.grant(source, target),
        }
    }

    /// Returns its name without the directory, without symlinks.
    pub(crate) fn file_name(&self) -> String {
        self.source.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the groups that the app's own user can be put into; with the shared user there are none, since
    /// it keeps its groups.
    pub(crate) fn lent_groups(&self, users: AppUsers) -> impl Iterator<Item = &NeededGroup> {
        let own = users == AppUsers::Own;
        self.groups.iter().filter(move |group| own && piku_chroot::may_lend_group(group.gid))
    }

    /// Returns the first group whose rights the app needs and does not get.
    pub(crate) fn missing_group(&self, users: AppUsers) -> Option<&NeededGroup> {
        let ours = getgroups().unwrap_or_default();
        self.groups.iter().find(|group| match users {
            AppUsers::Own => !piku_chroot::may_lend_group(group.gid),
            AppUsers::Shared => !self.is_ours && !ours.contains(&group.gid),
        })
    }
}

impl NeededGroup {
    /// Returns the command that lets apps have the group's rights on what they are granted.
    pub(crate) fn how_to_lend(&self, users: AppUsers) -> String {
        let user = UserAccount::find_by_uid(geteuid()).ok().flatten();
        let user = user.map_or_else(|| "piku".to_owned(), |user| user.name);
        match users {
            AppUsers::Own => format!("sudo usermod --add-subgids {0}-{0} {user}", self.gid),
            AppUsers::Shared => format!("sudo usermod -aG {} {user}; sudo systemctl restart piku", self.name),
        }
    }
}

/// Returns the grants of an app that can be used now, and a line for the log for each that cannot.
pub(crate) fn resolve_grants(
    root: &PikuRoot,
    granted: &[GrantedPath],
    users: AppUsers,
) -> (Vec<ResolvedGrant>, Vec<String>) {
    let mut usable = Vec::new();
    let mut remarks = Vec::new();
    for path in granted {
        let shown = path.path().display();
        match resolve_grant(root, path) {
            Ok(resolved) => {
                if let Some(group) = resolved.missing_group(users) {
                    let (name, how) = (&group.name, group.how_to_lend(users));
                    remarks
                        .push(format!("{shown} is granted, but not the rights of its group {name}: {how}"));
                }
                usable.push(resolved);
            }
            Err(problem) => remarks.push(format!("{shown} is granted, but {problem}; starting without it")),
        }
    }
    (usable, remarks)
}
