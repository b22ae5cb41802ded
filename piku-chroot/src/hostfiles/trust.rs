//! The rule for files of the host that a jail may show: no app can write them.

use nix::unistd::{Gid, Uid};
use rustix::fs::{FileType, Stat};

use crate::ids::caller::{CallerIdentity, groups};

/// First id of containers and of apps with their own user.
const SUBORDINATE: u32 = 65536;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// Identities that an app may have.
#[derive(Debug)]
pub(crate) struct TrustedIdentities {
    caller: Uid,
    groups: Vec<Gid>,
}

impl TrustedIdentities {
    /// Apps run as the caller, with its groups, or with one of its subordinate ids.
    pub(crate) fn new(caller: CallerIdentity) -> Self {
        let mut groups = groups();
        groups.push(caller.gid);
        Self { caller: caller.uid, groups }
    }

    /// Returns whether no app can change the file. Root's own jails cannot write files of the host's root.
    pub(crate) fn is_safe(&self, stat: &Stat) -> bool {
        let (owner, group) = (stat.st_uid, stat.st_gid);
        let is_of_app = owner != 0 && (owner == self.caller.as_raw() || owner >= SUBORDINATE);
        let settled = match FileType::from_raw_mode(stat.st_mode) {
            // The mode of a symlink means nothing.
            FileType::Symlink => true,
            // Only the owner of an entry can replace it, and that owner is checked next.
            FileType::Directory => stat.st_mode & STICKY != 0,
            _ => false,
        };
        if is_of_app || settled {
            return !is_of_app;
        }
        let own_group = self.groups.iter().any(|own| own.as_raw() == group) && !self.caller.is_root();
        let by_group = stat.st_mode & WRITABLE_BY_GROUP != 0 && (own_group || group >= SUBORDINATE);
        stat.st_mode & WRITABLE_BY_OTHERS == 0 && !by_group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_app_can_write_to() {
        let user = TrustedIdentities {
            caller: Uid::from_raw(990),
            groups: vec![Gid::from_raw(990), Gid::from_raw(27)],
        };
        let root = TrustedIdentities { caller: Uid::from_raw(0), groups: vec![Gid::from_raw(0)] };
        let mut stat = rustix::fs::stat("/").unwrap();
        for (uid, gid, mode, by_user, by_root) in [
            (0, 0, 0o100_644, true, true),
            (0, 0, 0o040_755, true, true),
            // systemd-resolved's own.
            (991, 991, 0o100_644, true, true),
            (0, 0, 0o100_664, true, true),
            (0, 27, 0o100_664, false, true),
            (0, 990, 0o040_775, false, true),
            (0, 0, 0o041_777, true, true),
            (0, 0, 0o040_777, false, false),
            (990, 990, 0o041_777, false, true),
            (0, 0, 0o101_666, false, false),
            (0, 0, 0o100_666, false, false),
            (990, 990, 0o100_600, false, true),
            (990, 990, 0o120_777, false, true),
            (0, 0, 0o120_777, true, true),
            (100_000, 100_000, 0o100_644, false, false),
            (0, 100_000, 0o100_664, false, false),
            // Root outside of a user namespace, seen from inside.
            (65534, 65534, 0o100_644, true, true),
        ] {
            (stat.st_uid, stat.st_gid, stat.st_mode) = (uid, gid, mode);
            assert_eq!(
                (user.is_safe(&stat), root.is_safe(&stat)),
                (by_user, by_root),
                "{uid} {gid} {mode:o}"
            );
        }
    }
}
