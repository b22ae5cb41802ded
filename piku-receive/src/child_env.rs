//! What the programs that piku-receive starts find around them: no variable of git's or piku's that came from outside,
//! and the five tools first on PATH.

#![expect(clippy::disallowed_methods, reason = "asks whom the root folder belongs to")]

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

/// Where programs are when sshd has set no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The folder of this program, and of the four beside it.
pub(crate) fn tools() -> anyhow::Result<PathBuf> {
    let exe = env::current_exe().context("cannot find this program's own path")?;
    Ok(exe.parent().map(Path::to_owned).unwrap_or_default())
}

/// A command without the client's `GIT_*` (but for `GIT_PROTOCOL`, the version that git itself sends), `PIKU_*` and the
/// command that was asked for.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if !may_stay(&name) {
            command.env_remove(&name);
        }
    }
    let mut path = OsString::from(tools()?);
    path.push(":");
    path.push(env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into()));
    command.env("PATH", path);
    // What stands in refs/replace is somebody's word for what another object is.
    command.env("GIT_NO_REPLACE_OBJECTS", "1");
    Ok(command)
}

fn may_stay(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name == b"GIT_PROTOCOL"
        || !(name.starts_with(b"GIT_") || name.starts_with(b"PIKU_") || name == b"SSH_ORIGINAL_COMMAND")
}

/// Refuses to build and keep apps as root, in whose home nobody looks for them: what is done to a root is done by its owner. A root
/// that is named, and is root's own, is somebody's choice.
pub(crate) fn refuse_root(root: &PikuRoot) -> Result<(), UserError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let default = PikuRoot::new(None).is_ok_and(|default| default.path() == root.path());
    let owner = fs::metadata(root.path()).ok().map(|meta| meta.uid()).filter(|owner| *owner != 0);
    let what = match owner.and_then(|owner| UserAccount::of(Uid::from_raw(owner)).ok().flatten()) {
        Some(owner) => format!("'{}' belongs to {}, and this is root", root.path().display(), owner.name),
        None if default || owner.is_some() => "piku does not keep apps as root".to_owned(),
        None => return Ok(()),
    };
    Err(UserError::new(what)
        .hint("a key is let in by 'sudo piku keys:add NAME < KEY.pub', verbs are 'sudo piku VERB'"))
}

/// Files get the modes they are asked to have, whatever umask sshd or a login has left.
pub(crate) fn own_umask() {
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
