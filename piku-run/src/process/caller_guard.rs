//! A process that outlives the one that changes something, and completes or undoes the change if that one is killed.

use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

use crate::process::own_program::OwnProgram;

/// The guard of a change. It acts as soon as this process has ended, or has dropped it.
#[derive(Debug)]
pub(crate) struct CallerGuard {
    child: Child,
    _pipe: Option<ChildStdin>,
}

impl CallerGuard {
    /// Starts piku-run with these arguments, which waits first with [`wait_for_caller`].
    pub(crate) fn start(root: &PikuRoot, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(OwnProgram::find()?.path());
        command.args(args).env(ROOT_VARIABLE, root.path());
        // A signal to the group of this process, or the end of its terminal, does not concern it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the guard of the change")?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    /// Ends the guard: there is nothing left to do.
    pub(crate) fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits in the guard until the process that it guards has ended.
pub(crate) fn wait_for_caller() -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).context("cannot wait for the end of the change")?;
    Ok(())
}
