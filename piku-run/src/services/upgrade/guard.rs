//! A process that outlives the one that upgrades a service, and has the service serve again if that one is killed.

use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

use crate::process::own_program::OwnProgram;

/// The guard of an upgrade. It acts as soon as this process has ended.
pub(super) struct UpgradeGuard {
    child: Child,
    _pipe: Option<ChildStdin>,
}

impl UpgradeGuard {
    pub(super) fn start(root: &PikuRoot, service: &AppName) -> anyhow::Result<Self> {
        let mut command = Command::new(OwnProgram::find()?.path());
        command.args(["service", "upgrade", service.as_str(), "--resume"]);
        command.env(ROOT_VARIABLE, root.path());
        // A signal to the group of this process, or the end of its terminal, does not concern it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the guard of the upgrade")?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    /// Ends the guard: there is nothing left to do.
    pub(super) fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits in the guard until the process that upgrades has ended.
pub(super) fn wait_for_caller() -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).context("cannot wait for the upgrade")?;
    Ok(())
}
