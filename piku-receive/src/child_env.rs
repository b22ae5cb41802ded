//! Environment and exit status of child processes: no `GIT_*` or `PIKU_*` variable from outside, and the
//! five tools first on `PATH`.

#![expect(clippy::disallowed_methods, reason = "reads the owner of the root directory")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, geteuid};
use piku_layout::paths::PikuRoot;
use piku_nss::UserAccount;
use piku_report::user_error::UserError;

/// Default when sshd has not set `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Returns the directory of this program, which also holds the other tools.
pub(crate) fn tools_dir() -> anyhow::Result<PathBuf> {
    let exe = env::current_exe().context("cannot find this program's own path")?;
    Ok(exe.parent().map(Path::to_owned).unwrap_or_default())
}

/// Returns a `PATH` that begins with the directory of the tools.
pub(crate) fn search_path() -> anyhow::Result<OsString> {
    let mut path = OsString::from(tools_dir()?);
    path.push(":");
    path.push(env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into()));
    Ok(path)
}

/// Returns a command without `GIT_*` (except `GIT_PROTOCOL`, which git itself sends), `PIKU_*` and
/// `SSH_ORIGINAL_COMMAND`.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if !may_stay(&name) {
            command.env_remove(&name);
        }
    }
    command.env("PATH", search_path()?);
    // Replacement refs would let a client substitute one object for another.
    command.env("GIT_NO_REPLACE_OBJECTS", "1");
    Ok(command)
}

fn may_stay(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name == b"GIT_PROTOCOL"
        || !(name.starts_with(b"GIT_") || name.starts_with(b"PIKU_") || name == b"SSH_ORIGINAL_COMMAND")
}

/// Refuses to run as root, unless the root directory was named and belongs to root.
///
/// Files that root creates below the directory of another user could not be changed by that user.
pub(crate) fn refuse_root(root: &PikuRoot) -> Result<(), UserError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let default = PikuRoot::new(None).is_ok_and(|default| default.path() == root.path());
    let owner = fs::metadata(root.path()).ok().map(|meta| meta.uid()).filter(|owner| *owner != 0);
    let what = match owner.and_then(|owner| UserAccount::find_by_uid(Uid::from_raw(owner)).ok().flatten()) {
        Some(owner) => format!("'{}' belongs to {}, not to root", root.path().display(), owner.name),
        None if default || owner.is_some() => "piku does not run apps as root".to_owned(),
        None => return Ok(()),
    };
    Err(UserError::new(what)
        .hint("add keys with 'sudo piku keys:add NAME < KEY.pub', run verbs with 'sudo piku VERB'"))
}

/// Sets the umask to 022, whatever sshd or a login has left.
pub(crate) fn set_umask() {
    umask(Mode::from_bits_truncate(0o022));
}

/// Returns the exit code of a program; 128 + n after signal n.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gits_protocol_stays_of_gits_variables() {
        for gone in ["GIT_DIR", "GIT_CONFIG_COUNT", "PIKU_KEY", "SSH_ORIGINAL_COMMAND"] {
            assert!(!may_stay(OsStr::new(gone)), "{gone}");
        }
        for stays in ["GIT_PROTOCOL", "HOME", "SSH_CONNECTION", "https_proxy", "DIGIT_X"] {
            assert!(may_stay(OsStr::new(stays)), "{stays}");
        }
    }
}
