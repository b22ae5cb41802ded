//! Level 2: the command runs as its own user. The jail's user namespace has two users: the caller, who makes
//! the jail, and one of the caller's subordinate users, who runs the command. Ids are the same inside and
//! outside.
//!
//! Only set-uid helpers may map a second user; the monitor runs them while init waits.

pub(crate) mod caller;
pub(crate) mod newidmap;
mod owner_change;
pub(crate) mod ranges;
mod registry;

use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, fchmod, fstat, fstatfs};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;

use crate::confinement::capabilities;
use crate::errors::diagnosis::{SetupStep, explain_step};
use crate::errors::{SETUP_FAILED, print_error};
use crate::ids::caller::CallerIdentity;
use crate::namespaces;
use crate::plan::{JailPlan, UidRange};
use crate::scratch::folder;
use crate::sys::{self, Namespaces};
use piku_nss::UserAccount;

pub use registry::rename_own_user;

#[derive(Clone, Copy, Debug)]
pub(crate) struct JailIds {
    pub(crate) caller: CallerIdentity,
    /// The command's own user, if it is not the caller.
    pub(crate) own: Option<CallerIdentity>,
}

impl JailIds {
    /// Looks up the command's user, who gets ids for good if the name is new.
    pub(crate) fn resolve(plan: &JailPlan, caller: CallerIdentity) -> Result<Self> {
        let range = plan.uid_range.as_ref().filter(|range| !range.give_back);
        let own = range.map(|range| resolve_own_user(range, caller)).transpose().context("--uid-range")?;
        Ok(Self { caller, own })
    }

    pub(crate) fn command(self) -> CallerIdentity {
        self.own.unwrap_or(self.caller)
    }

    /// Returns 2 if the command runs as its own user, else 1.
    pub(crate) fn level(self) -> u8 {
        if self.own.is_some() { 2 } else { 1 }
    }

    /// Maps the ids of the monitor's child `init`, and these groups of the host, and tells it through `life`.
    /// Kills it if that fails.
    pub(crate) fn map_for(self, init: Pid, groups: &[Gid], life: impl AsFd) -> Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        let mapped = newidmap::map_ids(init, self.caller, own, groups)
            .context("--uid-range")
            .and_then(|()| self.tell_mapped(life));
        if mapped.is_err() {
            let _ = kill(init, Signal::SIGKILL);
            let _ = waitpid(init, None);
        }
        mapped.map(drop)
    }

    /// Tells init, which waits in [`Self::wait_for_map`], to go on.
    pub(crate) fn tell_mapped(self, life: impl AsFd) -> Result<()> {
        if self.own.is_some() {
            let told = rustix::io::write(life, b"\n").map_err(io::Error::from);
            told.context("cannot tell the jail to go on")?;
        }
        Ok(())
    }

    /// Waits, in init, until the ids are mapped, and leaves all groups but these. They `are_mapped` already in the user
    /// namespace of a prepared root.
    pub(crate) fn wait_for_map(self, groups: &[Gid], monitor: impl AsFd, are_mapped: bool) -> Result<()> {
        match self.own {
            None if are_mapped => return Ok(()),
            None => return namespaces::map_caller(self.caller),
            Some(_) => {}
        }
        let mut word = [0];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&monitor, &mut word))
            .map_err(io::Error::from)
            .context("cannot wait for the monitor")?;
        ensure!(count > 0, "the monitor was killed");
        // Before anything is opened: the command must not read files through a group of the caller.
        let left = setgroups(groups).map_err(io::Error::from);
        left.map_err(|err| explain_step(SetupStep::Rights, &err)).context("cannot leave the caller's groups")
    }

    /// Makes the command's user the owner of the directory of `--data`.
    pub(crate) fn change_data_owner(self, plan: &JailPlan) -> Result<()> {
        match (self.own, plan.data_source()) {
            (Some(own), Some(dir)) => owner_change::give_to_own_user(dir, self.caller, own).context("--data"),
            _ => Ok(()),
        }
    }

    /// Makes a user namespace for this jail alone, below the one of a prepared root: no capability in it would reach the
    /// mounts, and the kernel counts processes and other resources for each jail. An own user would need newuidmap again
    /// and stays in the shared one.
    pub(crate) fn leave_shared_namespace(self) -> Result<()> {
        match self.own {
            Some(_) => Ok(()),
            None => self.try_to_leave().and_then(|()| namespaces::map_caller(self.caller)),
        }
    }

    /// Makes that namespace without a map: the last that the maker of a prepared root does, so that it fails where each
    /// jail would.
    pub(crate) fn try_to_leave(self) -> Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let made = nix::sched::unshare(Namespaces::CLONE_NEWUSER).map_err(io::Error::from);
        made.map_err(|err| explain_step(SetupStep::Namespaces, &err)).context("cannot make a user namespace")
    }

    /// Becomes the command's user. Returns whether that is another user.
    pub(crate) fn become_command(self) -> Result<bool> {
        let Some(CallerIdentity { uid, gid }) = self.own else { return Ok(false) };
        self.share_pipes();
        capabilities::keep_over_change_of_user()?;
        setresgid(gid, gid, gid).context("--uid-range: cannot become its group")?;
        setresuid(uid, uid, uid).context("--uid-range: cannot become its user")?;
        Ok(true)
    }

    /// Opens the pipes of stdin, stdout and stderr to all users: programs open `/dev/stdout` again, and a
    /// pipe belongs to its maker alone. No other process can reach an anonymous pipe; a named one is left to
    /// its owner.
    fn share_pipes(self) {
        const PIPE: u64 = 0x5049_5045;
        for fd in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
            let anonymous =
                fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind == PIPE));
            let own = fstat(fd).is_ok_and(|stat| stat.st_uid == self.caller.uid.as_raw());
            if anonymous && own {
                // If this fails, only such programs fail.
                let _ = fchmod(fd, Mode::from_raw_mode(0o666));
            }
        }
    }
}

/// Makes the caller the owner of all files of `--data` that belong to the name's user. Returns an exit code.
pub(crate) fn give_back(plan: &JailPlan, caller: CallerIdentity) -> Result<u8> {
    let (Some(range), Some(dir)) = (&plan.uid_range, plan.data_source()) else { return Ok(0) };
    let known = || -> Result<_> {
        let file = registry::locate(range.registry.as_deref(), &find_account(caller)?)?;
        registry::find_ids(&file, &range.name)
    };
    let Some(own) = known().context("--uid-range")? else { return Ok(0) };
    if let Some(scratch) = &plan.scratch {
        // The caller could not remove it any more.
        folder::remove_abandoned(scratch, JailIds { caller, own: Some(own) }).context("--scratch")?;
    }
    let ids = JailIds { caller, own: Some(own) };
    run_in_user_namespace(ids, &[], Namespaces::empty(), || {
        owner_change::give_to_caller(dir, caller, own).context("--data")
    })
}

/// Runs `work` in a process in a user namespace with the users of `ids` and these groups, and in new namespaces of
/// `more` kinds. Returns its exit code; the process prints its own error.
pub(crate) fn run_in_user_namespace(
    ids: JailIds,
    groups: &[Gid],
    more: Namespaces,
    work: impl FnOnce() -> Result<()>,
) -> Result<u8> {
    let (alive, life) =
        pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
    let mut ends = Some((alive, life));
    let pid = sys::spawn(more | Namespaces::CLONE_NEWUSER, || {
        let Some((alive, life)) = ends.take() else { return SETUP_FAILED };
        drop(life);
        match ids.wait_for_map(groups, alive, false).and_then(|()| work()) {
            Ok(()) => 0,
            Err(err) => print_error(&err),
        }
    });
    let pid = pid.map_err(|err| explain_step(SetupStep::Namespaces, &err))?;
    if let Some((_, life)) = &ends {
        ids.map_for(pid, groups, life)?;
    }
    match waitpid(pid, None).context("cannot wait for a process")? {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code).unwrap_or(SETUP_FAILED)),
        _ => bail!("the process was killed"),
    }
}

/// Tries to map a free uid and gid, which are not given to a name. The registry, if one is named, has to be
/// valid.
pub(crate) fn try_mapping(range: Option<&UidRange>, caller: CallerIdentity) -> Result<()> {
    let user = find_account(caller)?;
    let ranges = ranges::read_ranges(&user)?;
    if let Some(range) = range {
        registry::find_ids(&registry::locate(range.registry.as_deref(), &user)?, &range.name)?;
    }
    let (Some(uid), Some(gid)) = (ranges.uids.find_last(|_| Ok(true))?, ranges.gids.find_last(|_| Ok(true))?)
    else {
        bail!("the caller's ranges contain no usable uid or gid");
    };
    let own = CallerIdentity { uid: uid.into(), gid: gid.into() };
    let ids = JailIds { caller, own: Some(own) };
    match run_in_user_namespace(ids, &[], Namespaces::empty(), || Ok(()))? {
        0 => Ok(()),
        _ => bail!("the process that tried it failed"),
    }
}

/// Returns whether the user of this process may put an app with its own user into a group of the host:
/// `/etc/subgid` must have a line for it.
#[must_use]
pub fn may_lend_group(gid: Gid) -> bool {
    let caller = CallerIdentity { uid: nix::unistd::geteuid(), gid: nix::unistd::getegid() };
    let ranges = find_account(caller).and_then(|user| ranges::read_ranges(&user));
    ranges.is_ok_and(|ranges| ranges.gids.contains(gid.as_raw()))
}

/// Returns the command's own user.
fn resolve_own_user(range: &UidRange, caller: CallerIdentity) -> Result<CallerIdentity> {
    let user = find_account(caller)?;
    let file = registry::locate(range.registry.as_deref(), &user)?;
    registry::find_or_add(&file, &range.name, &ranges::read_ranges(&user)?)
}

/// Returns the caller's entry in the list of users. Its group must be the caller's: newgidmap maps no other.
pub(crate) fn find_account(caller: CallerIdentity) -> Result<UserAccount> {
    let user = UserAccount::find_by_uid(caller.uid).context("cannot look up the caller")?;
    let user = user.with_context(|| format!("uid {} is not in the list of users", caller.uid))?;
    ensure!(
        user.gid == caller.gid,
        "gid {} is not the first group of '{}', and newgidmap maps no other",
        caller.gid,
        user.name
    );
    Ok(user)
}
