//! `--gate`: holds a jail until its caller has written down which process it is. If the caller ends first,
//! nothing is made and the command never runs.

use std::fs::File;
use std::io;

use anyhow::{Context, Result, ensure};
use nix::unistd::setsid;
use rustix::stdio::{dup2_stdin, stdin};

/// Waits for a byte on stdin. Then stdin is `/dev/null`, and this process leads its own session, unless it leads
/// a process group already.
pub(super) fn wait_until_open() -> Result<()> {
    let mut byte = [0];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut byte));
    let count = count.map_err(io::Error::from).context("--gate: cannot read stdin")?;
    ensure!(count > 0, "--gate: stdin has ended, so nothing was started");
    let null = File::open("/dev/null").context("--gate: cannot open /dev/null")?;
    dup2_stdin(null).map_err(io::Error::from).context("--gate: cannot set stdin")?;
    let _ = setsid();
    Ok(())
}
