//! Whom piku runs as in these tests. Tests as root use an unprivileged account when there is one, since that is how piku
//! is meant to run; `scripts/test` makes it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, chown};

/// The account that `scripts/test` makes for tests that start as root.
pub const NAME: &str = "piku-test";

/// An account of this machine.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its login name.
    pub name: String,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// The tests' own account, or the one that root uses in its place.
    #[must_use]
    pub fn of_tests() -> Self {
        let me = User::from_uid(Uid::current()).expect("user database").expect("an entry for this user");
        let user =
            if me.uid.is_root() { User::from_name(NAME).expect("user database").unwrap_or(me) } else { me };
        Self { name: user.name, uid: user.uid, gid: user.gid }
    }

    /// Lets `command` run as this account.
    pub fn runs<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if Uid::current().is_root() && !self.uid.is_root() {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Gives `path` to this account.
    pub fn owns(&self, path: &Path) {
        if Uid::current().is_root() {
            chown(path, Some(self.uid), Some(self.gid)).expect("chown");
        }
    }

    /// Whether this account can reach `path`: every folder above it lets others pass.
    #[must_use]
    pub fn reaches(&self, path: &Path) -> bool {
        let mut probe = Command::new("test");
        self.runs(probe.arg("-x").arg(path)).status().is_ok_and(|status| status.success())
    }
}
