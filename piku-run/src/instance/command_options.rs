//! Options of the jail of a command, which its caller decides.

use std::path::Path;

use piku_chroot::jail::JailSpec;

use crate::grants::ResolvedGrant;

/// Properties of a command beside its environment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommandOptions<'a> {
    /// Allocate a terminal.
    pub(crate) terminal: bool,
    /// Argument of `piku-chroot --limit`. Without a jail, the caller sets limits.
    pub(crate) limits: &'a str,
    /// Argument of `piku-chroot --tmp-size`; `None` for the default.
    pub(crate) tmp_size: Option<&'a str>,
    /// Directory of its `NOTIFY_SOCKET`.
    pub(crate) notify: Option<&'a Path>,
    /// TCP ports that it may bind beside ephemeral ones, if the kernel can enforce that.
    pub(crate) listen: &'a [u16],
    /// Devices, sockets and directories of the machine that it may use.
    pub(crate) grants: &'a [ResolvedGrant],
    /// Port at which it is reached, also from outside its own network namespace.
    pub(crate) port: Option<u16>,
    /// End it when the calling process ends.
    pub(crate) dies_with_caller: bool,
    /// A jail waits at its own gate: see [`crate::instance::launch`].
    pub(crate) gated: bool,
}

impl CommandOptions<'_> {
    /// Adds those to a jail that depend neither on the app nor on its users and network.
    pub(super) fn add_to(&self, mut jail: JailSpec) -> JailSpec {
        if self.terminal {
            jail = jail.tty();
        }
        if self.gated {
            jail = jail.gate();
        }
        if self.dies_with_caller {
            jail = jail.die_with_caller();
        }
        if !self.limits.is_empty() {
            jail = jail.limit(self.limits);
        }
        if let Some(size) = self.tmp_size {
            jail = jail.tmp_size(size);
        }
        jail
    }
}
