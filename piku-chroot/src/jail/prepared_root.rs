//! A prepared root for the jails of an app: see [`JailSpec::prepared`].

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::{GIVE_BACK, JailSpec, OWN_USER};
use crate::fd_channel;

/// Time after which the program that makes one is killed.
const LONGEST: Duration = Duration::from_secs(5);

/// The options of a jail by which a prepared root is made, and the home directory in its list of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedSpec {
    jail: JailSpec,
    home: Option<String>,
}

impl JailSpec {
    /// Returns the spec of the prepared root for this jail, whose command has the variable HOME as `home`; `None` if the
    /// jail cannot use one.
    #[must_use]
    pub fn to_prepared(&self, home: Option<&str>) -> Option<PreparedSpec> {
        let jail = Self { options: self.common.clone(), ..Self::default() };
        let can_use = !self.options.iter().any(|option| option == GIVE_BACK);
        can_use.then(|| PreparedSpec { jail, home: home.map(str::to_owned) })
    }
}

impl PreparedSpec {
    /// Returns whether the commands run as their own user.
    #[must_use]
    pub fn has_own_user(&self) -> bool {
        self.jail.options.iter().any(|option| option.as_bytes().starts_with(OWN_USER.as_bytes()))
    }

    /// Returns the command that sends one on its stdin.
    pub(crate) fn command(&self) -> Command {
        let home = self.home.iter().map(|home| ("HOME", home));
        self.jail.clone().flag("--prepare").command(home, &[])
    }

    /// Makes a prepared root. It lasts as long as its descriptor; its user namespace also as long as a process in it.
    ///
    /// # Errors
    /// Fails for the same reasons as a jail with these options, and if it takes more than a few seconds.
    pub fn make(&self) -> Result<OwnedFd> {
        let deadline = Instant::now() + LONGEST;
        let (ours, theirs) = fd_channel::open_channel()?;
        let mut command = self.command();
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
        let status = maker.wait().context("cannot wait for piku-chroot")?;
        received?.ok_or_else(|| {
            let reason = maker.stderr.and_then(first_line);
            anyhow!(reason.unwrap_or_else(|| format!("piku-chroot ended without a reason: {status}")))
        })
    }
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
