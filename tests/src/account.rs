//! The account that piku runs as in these tests. Tests that start as root use the unprivileged account that
//! `scripts/test` creates, because piku is meant to run without root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, chown};

/// Account that `scripts/test` creates for tests that start as root.
pub const NAME: &str = "piku-test";

/// An account of this machine.
#[derive(Debug, Clone)]
pub struct Account {
    /// Login name.
    pub name: String,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Returns the account of this process, or [`NAME`] if that is root and the account exists.
    #[must_use]
    pub fn for_tests() -> Self {
        let me = User::from_uid(Uid::current()).expect("user database").expect("an entry for this user");
        let user =
            if me.uid.is_root() { User::from_name(NAME).expect("user database").unwrap_or(me) } else { me };
        Self { name: user.name, uid: user.uid, gid: user.gid }
    }

    /// Makes `command` run as this account.
    pub fn apply_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if Uid::current().is_root() && !self.uid.is_root() {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Makes this account the owner of `path`.
    pub fn take_ownership(&self, path: &Path) {
        if Uid::current().is_root() {
            chown(path, Some(self.uid), Some(self.gid)).expect("chown");
        }
    }

    /// Returns whether this account may search every directory above `path`.
    #[must_use]
    pub fn can_reach(&self, path: &Path) -> bool {
        let mut probe = Command::new("test");
        self.apply_to(probe.arg("-x").arg(path)).status().is_ok_and(|status| status.success())
    }
}
