//! newuidmap and newgidmap: set-uid programs of the system that map subordinate ids as /etc/subuid and
//! /etc/subgid allow.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Error, Result};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Pid};
use piku_report::user_error::UserError;

use crate::errors::SETUP_FAILED;
use crate::ids::caller::CallerIdentity;
use crate::plan::DEFAULT_PATH;

pub(crate) const UIDS: &str = "newuidmap";
pub(crate) const GIDS: &str = "newgidmap";

/// Maps the ids of `caller` and `own`, and `groups`, to themselves in the user namespace of a child process.
/// Both programs run at the same time, since starting them takes most of the time.
pub(crate) fn map_ids(child: Pid, caller: CallerIdentity, own: CallerIdentity, groups: &[Gid]) -> Result<()> {
    let uids = start_helper(UIDS, child, &[caller.uid.as_raw(), own.uid.as_raw()]);
    let mut all = vec![caller.gid.as_raw(), own.gid.as_raw()];
    for group in groups.iter().map(|group| group.as_raw()) {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    let gids = start_helper(GIDS, child, &all);
    // Both have to be waited for, even if the first one fails.
    let uids = uids.and_then(|helper| wait_for_helper(UIDS, helper));
    let gids = gids.and_then(|helper| wait_for_helper(GIDS, helper));
    uids.and(gids)
}

fn start_helper(name: &'static str, child: Pid, ids: &[u32]) -> Result<Child> {
    let program = find_program(name)?;
    let mut command = Command::new(&program);
    command.arg(child.to_string());
    for id in ids {
        let id = id.to_string();
        command.args([&id, &id, "1"]);
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot run '{}'", program.display()))
}

fn wait_for_helper(name: &'static str, helper: Child) -> Result<()> {
    let output = helper.wait_with_output().with_context(|| format!("cannot wait for {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said =
        said.lines().next().map_or_else(|| output.status.to_string(), |line| line.escape_debug().to_string());
    let said = said.strip_prefix(&format!("{name}: ")).unwrap_or(&said);
    let failure = UserError::new(format!("{name} refused: {said}")).code(SETUP_FAILED);
    Err(failure.hint(missing_rights(name).unwrap_or_else(|| "see: piku-chroot --check".to_owned())).into())
}

/// Searches PATH for the program.
pub(crate) fn find_program(name: &'static str) -> Result<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let found = std::env::split_paths(&search).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| missing_program(name))
}

fn missing_program(name: &str) -> Error {
    let failure = UserError::new(format!("{name} is not on PATH"));
    failure.hint("apt-get install uidmap (elsewhere the package is shadow-utils)").code(SETUP_FAILED).into()
}

/// Returns why the program lacks the rights that it needs, and what to do; `None` if it seems to have them.
pub(crate) fn missing_rights(name: &'static str) -> Option<String> {
    let program = find_program(name).ok()?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])) {
        return Some(format!(
            "{name} has no rights here: a process that started piku-chroot has set no_new_privs (in a systemd unit: NoNewPrivileges= and options that imply it)"
        ));
    }
    if statvfs(&program).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOSUID)) {
        return Some(format!("'{}' is on a file system that is mounted nosuid", program.display()));
    }
    let about = fs::metadata(&program).ok()?;
    let set_uid = about.mode() & 0o4000 != 0 && about.uid() == 0;
    // Some distributions give it a capability instead.
    (!set_uid && !has_capability(&program)).then(|| {
        format!("'{}' is not set-uid root; install it again, or: chmod u+s '{0}'", program.display())
    })
}

fn has_capability(program: &PathBuf) -> bool {
    rustix::fs::getxattr(program, "security.capability", &mut [0_u8; 64][..]).is_ok_and(|size| size > 0)
}

/// Returns whether one of the programs can be started.
pub(crate) fn check_program(name: &'static str) -> Result<()> {
    find_program(name)?;
    match missing_rights(name) {
        Some(why) => Err(UserError::new(why).code(SETUP_FAILED).into()),
        None => Ok(()),
    }
}
