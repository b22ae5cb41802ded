//! A user namespace that jails of one own user share: see [`JailSpec::user_namespace`].

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::JailSpec;
use crate::fd_channel;

/// Time after which the program that makes one is given up.
const LONGEST: Duration = Duration::from_secs(5);

/// Makes a user namespace for the jails of the user that `name` has in `registry`, in these groups of the host. It
/// lasts as long as its descriptor or a process in it.
///
/// # Errors
/// Fails for the same reasons as a jail of that user.
pub fn make_user_namespace(name: &str, registry: &Path, groups: &[u32]) -> Result<OwnedFd> {
    let (ours, theirs) = fd_channel::open_channel()?;
    set_socket_timeout(&ours, Timeout::Recv, Some(LONGEST)).map_err(io::Error::from)?;
    let jail = groups.iter().fold(JailSpec::default().own_user(name, registry), |jail, gid| jail.group(*gid));
    let none: [(&str, &str); 0] = [];
    let mut command = jail.flag("--make-user-namespace").command(none, &[]);
    let maker = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    // It keeps the other end of the socket open.
    drop(command);
    let mut maker = maker.context("cannot run piku-chroot")?;
    let received = fd_channel::receive_fd(&ours);
    if received.is_err() {
        let _ = maker.kill();
    }
    let ended = maker.wait().context("cannot wait for piku-chroot")?;
    let namespace = received?.context("piku-chroot has made none")?;
    ensure!(ended.success(), "piku-chroot has failed");
    Ok(namespace)
}
