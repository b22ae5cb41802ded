//! A user namespace that jails of one own user share: see [`JailSpec::user_namespace`].

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStderr, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::JailSpec;
use crate::fd_channel;

/// Time after which the program that makes one is killed.
const LONGEST: Duration = Duration::from_secs(5);

/// Makes a user namespace for the jails of the user that `name` has in `registry`, in these groups of the host. It
/// lasts as long as its descriptor or a process in it.
///
/// # Errors
/// Fails for the same reasons as a jail of that user, and if it takes more than a few seconds.
pub fn make_user_namespace(name: &str, registry: &Path, groups: &[u32]) -> Result<OwnedFd> {
    let deadline = Instant::now() + LONGEST;
    let (ours, theirs) = fd_channel::open_channel()?;
    let jail = groups.iter().fold(JailSpec::default().own_user(name, registry), |jail, gid| jail.group(*gid));
    let none: [(&str, &str); 0] = [];
    let mut command = jail.flag("--make-user-namespace").command(none, &[]);
    let maker = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    // It keeps the other end of the socket open.
    drop(command);
    let mut maker = maker.context("cannot run piku-chroot")?;
    let received = receive_until(&ours, deadline);
    // The socket ends with the last process that has it.
    let has_ended = received.is_ok() && matches!(receive_until(&ours, deadline), Ok(None));
    if !has_ended {
        let _ = maker.kill();
    }
    maker.wait().context("cannot wait for piku-chroot")?;
    received?.ok_or_else(|| anyhow!(maker.stderr.and_then(first_line).unwrap_or_default()))
}

/// Waits for a descriptor, or for the end of the socket.
fn receive_until(channel: &OwnedFd, deadline: Instant) -> Result<Option<OwnedFd>> {
    // A time of 0 would have no end.
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    set_socket_timeout(channel, Timeout::Recv, Some(left)).map_err(io::Error::from)?;
    fd_channel::receive_fd(channel).with_context(|| format!("piku-chroot made none in {LONGEST:?}"))
}

/// Returns the first line that a program which has ended wrote.
fn first_line(mut output: ChildStderr) -> Option<String> {
    // Another process may still have the pipe.
    fcntl_setfl(&output, OFlags::NONBLOCK).ok()?;
    let mut bytes = [0; 1024];
    let length = output.read(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    Some(text.lines().next()?.trim_start_matches("piku-chroot: ").to_owned())
}
