//! Level 2: the command is a user of its own. The jail's user namespace knows two: the caller, who makes the jail, and one
//! of the caller's subordinate ones, who the command is. Numbers inside are the numbers outside.
//!
//! Only set-uid helpers may map a second user; they are told to by the monitor, while the stub waits.

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
use nix::unistd::{Pid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, fchmod, fstat, fstatfs};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::confinement::capabilities;
use crate::errors::diagnosis::{SetupStep, explain};
use crate::errors::{SETUP_FAILED, print_error};
use crate::ids::caller::CallerIdentity;
use crate::plan::{JailPlan, UidRange};
use crate::{namespaces, sys};
use piku_nss::UserAccount;

/// Who makes the jail and who runs in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JailIds {
    /// Who called.
    pub(crate) caller: CallerIdentity,
    /// Who the command is, when that is somebody else.
    pub(crate) own: Option<CallerIdentity>,
}

impl JailIds {
    /// Looks up, or decides for good, who the command is.
    pub(crate) fn settle(plan: &JailPlan, caller: CallerIdentity) -> Result<Self> {
        let range = plan.uid_range.as_ref().filter(|range| !range.give_back);
        let own = range.map(|range| own(range, caller)).transpose().context("--uid-range")?;
        Ok(Self { caller, own })
    }

    /// Who the command is.
    pub(crate) fn command(self) -> CallerIdentity {
        self.own.unwrap_or(self.caller)
    }

    /// 1, or 2 when the command is somebody else than the caller.
    pub(crate) fn level(self) -> u8 {
        if self.own.is_some() { 2 } else { 1 }
    }

    /// The monitor's part: maps the ids of its child `stub` and tells it through `life`. When that fails, the child is
    /// ended.
    pub(crate) fn map(self, stub: Pid, life: impl AsFd) -> Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        let mapped = newidmap::map(stub, self.caller, own).context("--uid-range").and_then(|()| {
            rustix::io::write(life, b"\n").map_err(io::Error::from).context("cannot tell the jail to go on")
        });
        if mapped.is_err() {
            let _ = kill(stub, Signal::SIGKILL);
            let _ = waitpid(stub, None);
        }
        mapped.map(drop)
    }

    /// The stub's part: comes back when there is somebody to be.
    pub(crate) fn enter(self, monitor: impl AsFd) -> Result<()> {
        if self.own.is_none() {
            return namespaces::map(self.caller);
        }
        let mut word = [0];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&monitor, &mut word))
            .map_err(io::Error::from)
            .context("cannot wait for the monitor")?;
        ensure!(count > 0, "the monitor was killed");
        // Before anything is opened: what a group of the caller's lets it read is nothing for the command.
        let left = setgroups(&[]).map_err(io::Error::from);
        left.map_err(|err| explain(SetupStep::Rights, &err)).context("cannot leave the caller's groups")
    }

    /// Makes the folder of `--data` the command's, where it is not yet.
    pub(crate) fn take_data(self, plan: &JailPlan) -> Result<()> {
        match (self.own, plan.data()) {
            (Some(own), Some(dir)) => owner_change::take(dir, self.caller, own).context("--data"),
            _ => Ok(()),
        }
    }

    /// Becomes the command's user; says whether that is somebody else.
    pub(crate) fn become_command(self) -> Result<bool> {
        let Some(CallerIdentity { uid, gid }) = self.own else { return Ok(false) };
        self.share_pipes();
        capabilities::keep_over_change_of_user()?;
        setresgid(gid, gid, gid).context("--uid-range: cannot become its group")?;
        setresuid(uid, uid, uid).context("--uid-range: cannot become its user")?;
        Ok(true)
    }

    /// Programs open `/dev/stdout` anew, for which the rights of a pipe count: its maker's alone. An anonymous pipe can be
    /// reached by nobody else, so that these can be given to all. What has a name is its owner's business.
    fn share_pipes(self) {
        const PIPE: u64 = 0x5049_5045;
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            let anonymous =
                fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind == PIPE));
            let own = fstat(fd).is_ok_and(|stat| stat.st_uid == self.caller.uid.as_raw());
            if anonymous && own {
                // Refused, it is as it would be without this.
                let _ = fchmod(fd, Mode::from_raw_mode(0o666));
            }
        }
    }
}

/// The way back: all of `--data` that is the name's becomes the caller's. Returns an exit code.
pub(crate) fn give_back(plan: &JailPlan, caller: CallerIdentity) -> Result<u8> {
    let (Some(range), Some(dir)) = (&plan.uid_range, plan.data()) else { return Ok(0) };
    let known = || -> Result<_> {
        let file = registry::place(range.registry.as_deref(), &user(caller)?)?;
        registry::known(&file, &range.name)
    };
    let Some(own) = known().context("--uid-range")? else { return Ok(0) };
    in_a_namespace(JailIds { caller, own: Some(own) }, || {
        owner_change::give_back(dir, caller, own).context("--data")
    })
}

/// Does something in a process in a user namespace in which both users are known; returns its exit code. It says itself
/// what failed.
pub(crate) fn in_a_namespace(ids: JailIds, work: impl FnOnce() -> Result<()>) -> Result<u8> {
    let (alive, life) =
        pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
    let mut ends = Some((alive, life));
    let pid = sys::spawn(sys::Namespaces::CLONE_NEWUSER, || {
        let Some((alive, life)) = ends.take() else { return SETUP_FAILED };
        drop(life);
        match ids.enter(alive).and_then(|()| work()) {
            Ok(()) => 0,
            Err(err) => print_error(&err),
        }
    });
    let pid = pid.map_err(|err| explain(SetupStep::Namespaces, &err))?;
    if let Some((_, life)) = &ends {
        ids.map(pid, life)?;
    }
    match waitpid(pid, None).context("cannot wait for a process")? {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code).unwrap_or(SETUP_FAILED)),
        _ => bail!("the process that did it was killed"),
    }
}

/// Tries it with a uid that nobody gets by that, for a table. A named registry, if there is one, has to be in order.
pub(crate) fn attempt(range: Option<&UidRange>, caller: CallerIdentity) -> Result<()> {
    let user = user(caller)?;
    let ranges = ranges::of(&user)?;
    if let Some(range) = range {
        registry::known(&registry::place(range.registry.as_deref(), &user)?, &range.name)?;
    }
    let (Some(uid), Some(gid)) = (ranges.uids.last(|_| Ok(true))?, ranges.gids.last(|_| Ok(true))?) else {
        bail!("no uid or gid of the caller's ranges can be used");
    };
    let own = CallerIdentity { uid: uid.into(), gid: gid.into() };
    match in_a_namespace(JailIds { caller, own: Some(own) }, || Ok(()))? {
        0 => Ok(()),
        _ => bail!("the process that tried it failed"),
    }
}

/// Who the command is.
fn own(range: &UidRange, caller: CallerIdentity) -> Result<CallerIdentity> {
    let user = user(caller)?;
    let file = registry::place(range.registry.as_deref(), &user)?;
    registry::identity(&file, &range.name, &ranges::of(&user)?)
}

/// The caller as the list of users has it. The helpers want it to be that user wholly.
pub(crate) fn user(caller: CallerIdentity) -> Result<UserAccount> {
    let user = UserAccount::of(caller.uid).context("cannot look up the caller")?;
    let user = user.with_context(|| format!("uid {} is not in the list of users", caller.uid))?;
    ensure!(
        user.gid == caller.gid,
        "gid {} is not the first group of '{}', and newgidmap maps no other",
        caller.gid,
        user.name
    );
    Ok(user)
}
