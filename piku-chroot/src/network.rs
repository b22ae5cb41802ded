//! `--net own`: a network of the jail's own, with pasta(1) of Debian's package passt as the way in and out. pasta runs outside
//! beside the monitor, ends with it, and has no right on the host that the caller has not.
//!
//! Out goes everything but what leads to the host's own loopback, of which only its name server is reached, see [`RESOLVER`]. In
//! comes what arrives at 127.0.0.1 on the host at the ports of `--listen`.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, dup2_stderr, dup2_stdin, dup2_stdout, execve, geteuid};
use piku_report::user_error::UserError;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::set_parent_process_death_signal;

use crate::cli::NetworkOption;
use crate::errors::{NOT_FOUND, SETUP_FAILED};
use crate::plan::JailPlan;
use crate::sys;

/// Where it may be. An app has a say in PATH.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// The address inside at which pasta answers for the host's first name server, also for one on the host's loopback, such as that
/// of systemd-resolved. Link-local: no other host has it.
pub(crate) const RESOLVER: &str = "169.254.1.1";

/// The program of that name.
const PROGRAM: &str = "pasta";

/// Returns the path of pasta, where it is installed.
#[must_use]
pub fn find_pasta() -> Option<PathBuf> {
    let programs = PLACES.iter().map(|dir| PathBuf::from(dir).join(PROGRAM));
    programs.into_iter().find(|program| access(program, AccessFlags::X_OK).is_ok())
}

/// The namespaces of a jail that is to be connected. Opened before its process 1 becomes anybody else: the kernel shows them to
/// nobody then.
#[derive(Debug)]
pub(crate) struct JailNamespaces {
    user: File,
    net: File,
}

impl JailNamespaces {
    /// Opens those of `stub`, where the plan wants them connected.
    pub(crate) fn open(plan: &JailPlan, stub: Pid) -> Result<Option<Self>> {
        if plan.net != NetworkOption::Own {
            return Ok(None);
        }
        let open = |name: &str| {
            let path = format!("/proc/{stub}/ns/{name}");
            File::open(&path).with_context(|| format!("--net own: cannot open '{path}'"))
        };
        Ok(Some(Self { user: open("user")?, net: open("net")? }))
    }
}

/// A pasta that serves a jail.
#[derive(Debug)]
pub(crate) struct NetworkLink(Pid);

impl NetworkLink {
    /// Connects the network of a jail. Returns when it is there.
    pub(crate) fn connect(plan: &JailPlan, jail: &JailNamespaces) -> Result<Self> {
        let program = find_pasta().ok_or_else(|| {
            UserError::new("--net own: pasta is not installed")
                .hint("sudo apt install passt")
                .code(SETUP_FAILED)
        })?;
        let options = arguments(plan, knows_loopback(&program));
        let words = std::iter::once(program.clone().into_os_string()).chain(options);
        let argv: Vec<CString> =
            words.map(|word| CString::new(word.into_vec())).collect::<Result<_, _>>().context("--net own")?;
        let (read, write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
        let pid = sys::spawn_and_exec(|| become_pasta(&argv, jail, &write)).context("cannot run pasta")?;
        drop(write);
        let link = Self(pid);
        // It writes its number when all is set up, and ends without where it cannot be.
        let mut word = [0];
        if File::from(read).read(&mut word).unwrap_or(0) == 0 {
            let what = "--net own: pasta cannot connect the network";
            let hint = format!("run it by hand to see why: {} --config-net -- true", program.display());
            return Err(UserError::new(what).hint(hint).code(SETUP_FAILED).into());
        }
        Ok(link)
    }

    /// Returns whether it has ended. The jail must not go on without it.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(waitpid(self.0, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
    }
}

impl Drop for NetworkLink {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = kill(self.0, Signal::SIGKILL);
            let _ = waitpid(self.0, None);
        }
    }
}

/// The option by which what comes to 127.0.0.1 on the host comes to 127.0.0.1 inside, where apps listen. Until October 2024 pasta
/// did so by itself; since then such requests come to the address of the network otherwise.
const TO_LOOPBACK: &str = "--host-lo-to-ns-lo";

/// Returns whether this pasta has [`TO_LOOPBACK`]. Its file names it then. To ask the program is no way: an older one writes all of its
/// options into the system's log when it is given one that it does not know, and of what `--help` says a pipe gets a part.
fn knows_loopback(program: &Path) -> bool {
    let name = TO_LOOPBACK.trim_start_matches('-').as_bytes();
    std::fs::read(program).is_ok_and(|file| file.windows(name.len()).any(|part| part == name))
}

fn arguments(plan: &JailPlan, knows_loopback: bool) -> Vec<OsString> {
    let mut args: Vec<String> =
        ["--foreground", "--quiet", "--config-net", "--no-netns-quit"].map(str::to_owned).into();
    // By default the gateway's address leads to the host's loopback, and each port that is listened on goes through.
    args.push("--no-map-gw".to_owned());
    args.extend(knows_loopback.then(|| TO_LOOPBACK.to_owned()));
    args.extend(["--dns-forward".to_owned(), RESOLVER.to_owned()]);
    for (option, value) in [("--udp-ports", "none"), ("--tcp-ns", "none"), ("--udp-ns", "none")] {
        args.extend([option.to_owned(), value.to_owned()]);
    }
    let ports: Vec<u16> = plan.listen.iter().copied().filter(|port| *port != 0).collect();
    for port in &ports {
        args.extend(["--tcp-ports".to_owned(), format!("127.0.0.1/{port}")]);
    }
    if ports.is_empty() {
        args.extend(["--tcp-ports".to_owned(), "none".to_owned()]);
    }
    if geteuid().is_root() {
        // It would become somebody else, who has no right on the jail.
        args.extend(["--runas".to_owned(), "0:0".to_owned()]);
    }
    // Of what it inherits it keeps these three open. Others' it can no more look at once it is in the jail's user namespace.
    for (option, fd) in [("--netns", 0), ("--pid", 1), ("--userns", 2)] {
        args.extend([option.to_owned(), format!("/proc/self/fd/{fd}")]);
    }
    args.into_iter().map(OsString::from).collect()
}

/// In the new process; returns only when it failed.
fn become_pasta(argv: &[CString], jail: &JailNamespaces, ready: &OwnedFd) -> u8 {
    let prepared = set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).is_ok()
        && dup2_stdin(&jail.net).is_ok()
        && dup2_stdout(ready.as_fd()).is_ok()
        && dup2_stderr(&jail.user).is_ok()
        && sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).is_ok();
    let Some(program) = argv.first().filter(|_| prepared) else { return SETUP_FAILED };
    // Nothing of the caller's environment is its business.
    let Err(_) = execve(program, argv, &[] as &[CString]);
    NOT_FOUND
}

/// Waits inside until the network is connected; the monitor says a word then.
pub(crate) fn wait_until_connected(word: Option<OwnedFd>) -> Result<()> {
    let Some(word) = word else { return Ok(()) };
    let mut heard = [0];
    let count = File::from(word).read(&mut heard).context("--net own")?;
    anyhow::ensure!(count == 1, "--net own: the network was not connected");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pasta_that_names_the_option_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, b"\x7fELF\0--map-host-loopback ADDR\0no-map-gw\0").unwrap();
        std::fs::write(&new, b"\x7fELF\0no-map-gw\0host-lo-to-ns-lo\0").unwrap();
        assert!(knows_loopback(&new) && !knows_loopback(&old));
        assert!(!knows_loopback(Path::new("/nonexistent")));
    }
}
