//! Limits of a jail: memory, processes, processor time and open files. The jail's own cgroup enforces the
//! first three for the jail as a whole; if there is none, rlimits limit each process alone. `--report` and
//! `--check` say which of the two it is and why, and `--strict` refuses to start without a cgroup.

pub(crate) mod amount;
pub(crate) mod cgroup;
pub(crate) mod delegation;
pub(crate) mod rlimits;
mod systemd;

use std::io;

use anyhow::Result;
use nix::unistd::Pid;
use piku_report::user_error::UserError;

pub use amount::{CountLimit, JailLimits, MemoryAmount, ProcessorLimit};
pub use delegation::claim_delegated_cgroup;
pub(crate) use systemd::user_runtime_dir;

use crate::report::{HeldLimit, LimitEnforcer};
use crate::sys;
use cgroup::{CgroupEnd, JailCgroup};
use delegation::{CgroupTree, MissingController};
use rlimits::CommandRlimits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupController {
    Memory,
    Pids,
    Cpu,
}

impl CgroupController {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// Returns its name, as in the kernel and in `--limit`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Enforcement of the limits of one jail.
#[derive(Debug)]
pub(crate) struct LimitHold {
    /// `None` if no cgroup enforces anything.
    cgroup: Option<JailCgroup>,
    /// Limits that the command sets on itself.
    pub(crate) rlimits: CommandRlimits,
    /// Limits for the report.
    pub(crate) held: Vec<HeldLimit>,
}

/// Makes the cgroup if possible, and leaves the other limits to rlimits.
pub(crate) fn prepare_limits(limits: &JailLimits, strict: bool) -> Result<LimitHold> {
    let asked: Vec<CgroupController> =
        CgroupController::ALL.into_iter().filter(|controller| limits.needs(*controller)).collect();
    let (cgroup, missing) = if asked.is_empty() { (None, Vec::new()) } else { make_cgroup(limits, &asked) };
    let why = |controller| missing.iter().find(|(one, _)| *one == controller).map(|(_, missing)| missing);
    let mut held = Vec::new();
    for controller in &asked {
        let why = why(*controller);
        if let (true, Some(missing)) = (strict, why) {
            let what =
                format!("--strict: --limit {}: no cgroup can enforce it: {}", controller.name(), missing.why);
            return Err(missing.fix.iter().fold(UserError::new(what), UserError::hint).into());
        }
        let by = if why.is_some() { LimitEnforcer::Rlimit } else { LimitEnforcer::Cgroup };
        held.push(HeldLimit {
            limit: controller.name().into(),
            by,
            why: why.map(|missing| missing.why.clone()),
        });
    }
    if limits.nofile.is_some() {
        held.push(HeldLimit { limit: "nofile".into(), by: LimitEnforcer::Rlimit, why: None });
    }
    let rlimits = CommandRlimits::new(limits, |controller| why(controller).is_some());
    Ok(LimitHold { cgroup, rlimits, held })
}

/// Returns the jail's cgroup, and the controllers that it lacks.
fn make_cgroup(
    limits: &JailLimits,
    asked: &[CgroupController],
) -> (Option<JailCgroup>, Vec<(CgroupController, MissingController)>) {
    let tree = match CgroupTree::find() {
        Ok(tree) => tree,
        Err(missing) => return (None, asked.iter().map(|one| (*one, missing.clone())).collect()),
    };
    let mut missing = tree.enable(asked, delegation::MONITORS);
    let there: Vec<CgroupController> =
        asked.iter().copied().filter(|one| !missing.iter().any(|(other, _)| one == other)).collect();
    if there.is_empty() {
        return (None, missing);
    }
    match JailCgroup::make(&tree.root, limits, &there) {
        Ok(cgroup) => (Some(cgroup), missing),
        Err(err) => {
            let failed = MissingController { why: format!("{err:#}"), fix: None };
            missing.extend(there.into_iter().map(|one| (one, failed.clone())));
            (None, missing)
        }
    }
}

/// Sets rlimits for `limits` (as in `--limit`) on a process that will become a command without a jail.
///
/// # Errors
/// Fails if `limits` cannot be parsed, or the kernel refuses.
pub fn set_rlimits_on(limits: &str, pid: Pid) -> Result<()> {
    match limits.parse::<JailLimits>() {
        Ok(limits) => CommandRlimits::new(&limits, |_| true).set_on(pid),
        Err(_) if limits.is_empty() => Ok(()),
        Err(err) => Err(UserError::new(err).into()),
    }
}

/// Returns the limits that [`set_rlimits_on`] enforces.
#[must_use]
pub fn rlimits_for(limits: &str) -> Vec<HeldLimit> {
    let held = |(limit, _): (&str, &str)| {
        // Without a user namespace the kernel counts the processes of the user, not of the app.
        (limit != "pids").then(|| HeldLimit { limit: limit.to_owned(), by: LimitEnforcer::Rlimit, why: None })
    };
    limits.split(',').filter_map(|word| word.split_once('=')).filter_map(held).collect()
}

/// Returns whether a cgroup can enforce each limit here. Changes nothing but the controllers that it turns
/// on.
pub(crate) fn check_controllers() -> Vec<(CgroupController, Result<(), MissingController>)> {
    let all = CgroupController::ALL;
    let missing = match CgroupTree::find() {
        Ok(tree) => tree.enable(&all, delegation::MONITORS),
        Err(missing) => all.map(|one| (one, missing.clone())).into(),
    };
    let answer =
        |one: CgroupController| missing.iter().find(|(other, _)| one == *other).map(|(_, why)| why.clone());
    all.into_iter().map(|one| (one, answer(one).map_or(Ok(()), Err))).collect()
}

impl LimitHold {
    /// Starts the jail's first process, limited from its first moment.
    pub(crate) fn spawn(&self, namespaces: sys::Namespaces, child: impl FnOnce() -> u8) -> io::Result<Pid> {
        let Some(cgroup) = &self.cgroup else { return sys::spawn(namespaces, child) };
        let mut child = Some(child);
        let born = sys::spawn_in_cgroup(namespaces, cgroup, || {
            child.take().map_or(crate::errors::SETUP_FAILED, |run| run())
        });
        // An outer sandbox may refuse clone3, whose arguments its filter cannot read.
        if born.is_ok() {
            return born;
        }
        sys::spawn(namespaces, || match (cgroup.join(), child.take()) {
            (Ok(()), Some(child)) => child(),
            (Err(err), _) => crate::errors::print_error(&err),
            (_, None) => crate::errors::SETUP_FAILED,
        })
    }

    /// Ends the jail's cgroup and returns its figures.
    pub(crate) fn finish(self) -> CgroupEnd {
        self.cgroup.map_or_else(CgroupEnd::default, JailCgroup::finish)
    }
}
