//! The last steps before the command runs: drop everything that it must not inherit, then exec.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{execve, fchdir, getcwd, setsid};
use piku_report::user_error::UserError;
use rustix::fs::{CWD, OFlags, ResolveFlags, openat2};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::confinement::protections::ProtectionLayers;
use crate::confinement::{keyring, landlock, seccomp};
use crate::errors::{CANNOT_RUN, NOT_FOUND, SETUP_FAILED, print_error, quoted};
use crate::limits::rlimits::CommandRlimits;
use crate::plan::JailPlan;
use crate::{scratch, sys, terminal};

/// Becomes the command; returns only if that fails.
pub(crate) fn exec_command(
    plan: &JailPlan,
    rlimits: &CommandRlimits,
    layers: ProtectionLayers,
    terminal: Option<&OwnedFd>,
) -> u8 {
    if let Err(err) = drop_inherited(plan, rlimits, layers, terminal) {
        print_error(&err);
        return SETUP_FAILED;
    }
    let (code, err) = execute(plan);
    print_error(&err);
    code
}

fn drop_inherited(
    plan: &JailPlan,
    rlimits: &CommandRlimits,
    layers: ProtectionLayers,
    terminal: Option<&OwnedFd>,
) -> Result<()> {
    setsid().context("cannot begin a session")?;
    terminal.map(terminal::attach_terminal).transpose()?;
    if !layers.seccomp {
        keyring::join_new_session(plan.strict)?;
    }
    let core = core_limit(&piku_procfs::read_file(CORE_PATTERN).unwrap_or_default());
    setrlimit(Resource::Core, Rlimit { current: Some(core), maximum: Some(core) })
        .map_err(io::Error::from)
        .context("cannot set the limits")?;
    rlimits.set()?;
    umask(Mode::from_bits_truncate(0o022));
    // First: a directory of the host that the caller left open must not be reachable when the path is
    // resolved.
    sys::close_from(3).context("cannot close the inherited descriptors")?;
    change_directory(&plan.chdir)
        .with_context(|| format!("--chdir: cannot go to {}", quoted(&plan.chdir)))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("cannot unblock signals")?;
    scratch::make_home(plan);
    landlock::restrict(plan, layers.landlock)?;
    // Last: it refuses system calls that the lines above need.
    if layers.seccomp { seccomp::install(Path::new(SHELL)) } else { Ok(()) }
}

/// Program that shows the architecture of the programs in the jail.
pub(crate) const SHELL: &str = "/bin/sh";
/// Names the file or the program that gets a core dump.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// Returns the maximum size of a core dump in bytes. A program that gets dumps by a pipe or a socket runs as
/// root outside of the jail, and the kernel starts it whatever the limit is, except for 1, which means no
/// dump.
fn core_limit(pattern: &[u8]) -> u64 {
    u64::from(matches!(pattern.first(), Some(b'|' | b'@') | None))
}

/// Changes to a directory of the jail. A magic link of the kernel (`/proc/self/fd/9`, `/proc/1/root`) would
/// lead anywhere.
fn change_directory(dir: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let folder = openat2(CWD, dir, flags, rustix::fs::Mode::empty(), resolve).map_err(io::Error::from)?;
    fchdir(&folder)?;
    // The kernel returns "(unreachable)" for a directory that is not below the root.
    let here = getcwd().context("it has no path")?;
    ensure!(here.is_absolute(), "it is outside of the jail");
    Ok(())
}

/// Executes the command, which is searched for in its own PATH as execvp does.
fn execute(plan: &JailPlan) -> (u8, Error) {
    let name = OsStr::from_bytes(plan.argv[0].as_bytes());
    let mut denied = None;
    for file in candidates(name, &plan.search) {
        let Ok(path) = CString::new(file.into_vec()) else { continue };
        let Err(err) = execve(&path, &plan.argv, &plan.env);
        match err {
            Errno::ENOENT | Errno::ENOTDIR if !file_exists(&path) => {}
            // Another directory of PATH may have one that can be run.
            Errno::EACCES => denied = Some(err),
            err => return exec_error(name, err),
        }
    }
    if let Some(err) = denied {
        return exec_error(name, err);
    }
    let error = UserError::new(format!("{}: no such command in the jail", quoted(Path::new(name))));
    if plan.base.is_some() {
        return (NOT_FOUND, error.into());
    }
    (NOT_FOUND, error.hint("without --root-from-host or --root, the jail is empty").into())
}

/// Returns the files that a command's name may mean.
fn candidates(name: &OsStr, search: &OsStr) -> Vec<OsString> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    std::env::split_paths(search).map(|folder| folder.join(name).into_os_string()).collect()
}

fn file_exists(path: &CString) -> bool {
    Path::new(OsStr::from_bytes(path.as_bytes())).exists()
}

/// Returns the exit code and the error of a command that exists and cannot be run.
fn exec_error(name: &OsStr, err: Errno) -> (u8, Error) {
    let name = quoted(Path::new(name));
    if err == Errno::ENOENT {
        // The file exists, so the program that its first line or its ELF header names is missing.
        return (NOT_FOUND, Error::msg(format!("{name}: its interpreter is not in the jail")));
    }
    (CANNOT_RUN, Error::new(io::Error::from(err)).context(format!("cannot run {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_handler_of_crashes_is_started() {
        assert_eq!(core_limit(b"core\n"), 0);
        assert_eq!(core_limit(b"/var/cores/%p\n"), 0);
        assert_eq!(core_limit(b"|/usr/lib/systemd/systemd-coredump %P\n"), 1);
        assert_eq!(core_limit(b"@@/run/coredump.socket\n"), 1);
        // Unknown; 1 byte is too little for a file as well.
        assert_eq!(core_limit(b""), 1);
    }

    #[test]
    fn a_slash_means_this_file() {
        assert_eq!(candidates(OsStr::new("./a"), OsStr::new("/bin")), ["./a"]);
        assert_eq!(candidates(OsStr::new("a"), OsStr::new("/bin:/sbin")), ["/bin/a", "/sbin/a"]);
        assert!(candidates(OsStr::new(""), OsStr::new("/bin")).is_empty());
    }
}
