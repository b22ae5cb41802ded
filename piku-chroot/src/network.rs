//! `--net own`: the jail's own network, connected by pasta(1) of Debian's package passt. pasta runs outside
//! beside the monitor, ends with it, and has no more rights on the host than the caller.
//!
//! The command reaches everything but the host's loopback, of which it reaches only the name server; see
//! [`RESOLVER`], and the ports of `--connect`. Connections to the ports of `--listen` at 127.0.0.1 on the host arrive in the jail.

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

/// Directories in which pasta is searched for. Not PATH: an app may influence it.
const PROGRAM_DIRS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Address in the jail at which pasta answers for the host's first name server, even for one on the host's
/// loopback such as that of systemd-resolved. It is link-local, so no other host has it.
pub(crate) const RESOLVER: &str = "169.254.1.1";

const PROGRAM: &str = "pasta";

/// Returns the path of pasta if it is installed.
#[must_use]
pub fn find_pasta() -> Option<PathBuf> {
    let programs = PROGRAM_DIRS.iter().map(|dir| PathBuf::from(dir).join(PROGRAM));
    programs.into_iter().find(|program| access(program, AccessFlags::X_OK).is_ok())
}

/// Namespaces of a jail that is to be connected. They have to be opened before its init becomes another user:
/// the kernel then shows them to no process.
#[derive(Debug)]
pub(crate) struct JailNamespaces {
    user: File,
    net: File,
}

impl JailNamespaces {
    /// Opens those of `init` if the plan has its own network.
    pub(crate) fn open(plan: &JailPlan, init: Pid) -> Result<Option<Self>> {
        if plan.net != NetworkOption::Own {
            return Ok(None);
        }
        let open = |name: &str| {
            let path = format!("/proc/{init}/ns/{name}");
            File::open(&path).with_context(|| format!("--net own: cannot open '{path}'"))
        };
        Ok(Some(Self { user: open("user")?, net: open("net")? }))
    }
}

/// A pasta process that serves a jail.
#[derive(Debug)]
pub(crate) struct NetworkLink(Pid);

impl NetworkLink {
    /// Connects the network of a jail. Returns once it works.
    pub(crate) fn connect(plan: &JailPlan, jail: &JailNamespaces) -> Result<Self> {
        let program = find_pasta().ok_or_else(|| {
            UserError::new("--net own: pasta is not installed")
                .hint("sudo apt install passt")
                .code(SETUP_FAILED)
        })?;
        let options = pasta_options(plan, has_loopback_option(&program));
        let words = std::iter::once(program.clone().into_os_string()).chain(options);
        let argv: Vec<CString> =
            words.map(|word| CString::new(word.into_vec())).collect::<Result<_, _>>().context("--net own")?;
        let (read, write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
        let pid = sys::spawn_and_exec(|| become_pasta(&argv, jail, &write)).context("cannot run pasta")?;
        drop(write);
        let link = Self(pid);
        // It writes its process id once everything is set up, and just ends if that fails.
        let mut word = [0];
        if File::from(read).read(&mut word).unwrap_or(0) == 0 {
            let what = "--net own: pasta cannot connect the network";
            let hint = format!("to see why, run: {} --config-net -- true", program.display());
            return Err(UserError::new(what).hint(hint).code(SETUP_FAILED).into());
        }
        Ok(link)
    }

    /// Returns whether pasta has ended. The jail must not go on without it.
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

/// Option that sends connections to 127.0.0.1 on the host to 127.0.0.1 inside, where apps listen. Until
/// October 2024 pasta always did so; newer versions send them to the address of the network by default.
const TO_LOOPBACK: &str = "--host-lo-to-ns-lo";

/// Returns whether this pasta has [`TO_LOOPBACK`], in which case its file contains the name. Asking the
/// program does not work: an older one writes all its options to the system's log for an unknown option, and
/// `--help` reaches a pipe only in part.
fn has_loopback_option(program: &Path) -> bool {
    let name = TO_LOOPBACK.trim_start_matches('-').as_bytes();
    std::fs::read(program).is_ok_and(|file| file.windows(name.len()).any(|part| part == name))
}

fn pasta_options(plan: &JailPlan, has_loopback_option: bool) -> Vec<OsString> {
    let mut args: Vec<String> =
        ["--foreground", "--quiet", "--config-net", "--no-netns-quit"].map(str::to_owned).into();
    // By default the gateway's address leads to the host's loopback, and every listening port is forwarded.
    args.push("--no-map-gw".to_owned());
    args.extend(has_loopback_option.then(|| TO_LOOPBACK.to_owned()));
    args.extend(["--dns-forward".to_owned(), RESOLVER.to_owned()]);
    let connect: Vec<String> = plan.connect.iter().map(ToString::to_string).collect();
    let connect = if connect.is_empty() { "none".to_owned() } else { connect.join(",") };
    for (option, value) in [("--udp-ports", "none"), ("--tcp-ns", &connect), ("--udp-ns", "none")] {
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
        // Otherwise it becomes another user without rights on the jail.
        args.extend(["--runas".to_owned(), "0:0".to_owned()]);
    }
    // It keeps only these three descriptors. Others it cannot look at once it is in the jail's user
    // namespace.
    for (option, fd) in [("--netns", 0), ("--pid", 1), ("--userns", 2)] {
        args.extend([option.to_owned(), format!("/proc/self/fd/{fd}")]);
    }
    args.into_iter().map(OsString::from).collect()
}

/// Becomes pasta, in the new process; returns only on failure.
fn become_pasta(argv: &[CString], jail: &JailNamespaces, ready: &OwnedFd) -> u8 {
    let prepared = set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).is_ok()
        && dup2_stdin(&jail.net).is_ok()
        && dup2_stdout(ready.as_fd()).is_ok()
        && dup2_stderr(&jail.user).is_ok()
        && sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).is_ok();
    let Some(program) = argv.first().filter(|_| prepared) else { return SETUP_FAILED };
    // pasta needs nothing of the caller's environment.
    let Err(_) = execve(program, argv, &[] as &[CString]);
    NOT_FOUND
}

/// Waits, in the jail, for the monitor's word that the network is connected.
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
        assert!(has_loopback_option(&new) && !has_loopback_option(&old));
        assert!(!has_loopback_option(Path::new("/nonexistent")));
    }
}
