//! How much of the machine a jail may take: memory, processes, processor time, open files. A cgroup of its own holds the
//! first three for the jail as a whole, where one may be made; where not, rlimits hold what they can, each process alone.
//! Which of the two it is, and why, is never kept quiet: `--report` and `--check` say it, and `--strict` insists.

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
pub use delegation::take_up;
pub(crate) use systemd::user_runtime_dir;

use crate::report::{HeldLimit, LimitEnforcer};
use crate::sys;
use cgroup::{CgroupEnd, JailCgroup};
use delegation::{CgroupTree, MissingController};
use rlimits::CommandRlimits;

/// What a cgroup can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupController {
    Memory,
    Pids,
    Cpu,
}

impl CgroupController {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// As the kernel and `--limit` call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// The limits of one jail, and who holds them.
#[derive(Debug)]
pub(crate) struct LimitHold {
    /// Where something is held by it.
    cgroup: Option<JailCgroup>,
    /// What the command itself is given.
    pub(crate) rlimits: CommandRlimits,
    /// For the report.
    pub(crate) held: Vec<HeldLimit>,
}

/// Makes the cgroup as far as it can be had, and leaves the rest to rlimits.
pub(crate) fn prepare(limits: &JailLimits, strict: bool) -> Result<LimitHold> {
    let asked: Vec<CgroupController> =
        CgroupController::ALL.into_iter().filter(|controller| limits.asks(*controller)).collect();
    let (cgroup, missing) = if asked.is_empty() { (None, Vec::new()) } else { own_cgroup(limits, &asked) };
    let why = |controller| missing.iter().find(|(one, _)| *one == controller).map(|(_, missing)| missing);
    let mut held = Vec::new();
    for controller in &asked {
        let why = why(*controller);
        if let (true, Some(missing)) = (strict, why) {
            let what =
                format!("--strict: --limit {}: no cgroup can hold it: {}", controller.name(), missing.why);
            return Err(missing.mend.iter().fold(UserError::new(what), UserError::hint).into());
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

/// The jail's cgroup, and what it does not hold.
fn own_cgroup(
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
            let failed = MissingController { why: format!("{err:#}"), mend: None };
            missing.extend(there.into_iter().map(|one| (one, failed.clone())));
            (None, missing)
        }
    }
}

/// For a command without a jail: what rlimits can hold of `limits` (as in `--limit`), set on the process that will become it.
///
/// # Errors
/// When `limits` are none, or the kernel refuses.
pub fn hold_alone(limits: &str, pid: Pid) -> Result<()> {
    match limits.parse::<JailLimits>() {
        Ok(limits) => CommandRlimits::new(&limits, |_| true).set_on(pid),
        Err(_) if limits.is_empty() => Ok(()),
        Err(err) => Err(UserError::new(err).into()),
    }
}

/// What [`hold_alone`] holds.
#[must_use]
pub fn held_alone(limits: &str) -> Vec<HeldLimit> {
    let held = |(limit, _): (&str, &str)| {
        // The processes are counted a user there, not an app.
        (limit != "pids").then(|| HeldLimit { limit: limit.to_owned(), by: LimitEnforcer::Rlimit, why: None })
    };
    limits.split(',').filter_map(|word| word.split_once('=')).filter_map(held).collect()
}

/// Whether a cgroup could hold each limit here; for `--check`, which leaves everything as it is but for the controllers
/// that it turned on.
pub(crate) fn check() -> Vec<(CgroupController, Result<(), MissingController>)> {
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
    /// Starts the jail's first process, inside of its limits from its first moment.
    pub(crate) fn spawn(&self, namespaces: sys::Namespaces, child: impl FnOnce() -> u8) -> io::Result<Pid> {
        let Some(cgroup) = &self.cgroup else { return sys::spawn(namespaces, child) };
        let mut child = Some(child);
        let born = sys::spawn_in_cgroup(namespaces, cgroup, || {
            child.take().map_or(crate::errors::SETUP_FAILED, |run| run())
        });
        // An outer sandbox may refuse clone3, which its filter cannot look into.
        if born.is_ok() {
            return born;
        }
        sys::spawn(namespaces, || match (cgroup.join(), child.take()) {
            (Ok(()), Some(child)) => child(),
            (Err(err), _) => crate::errors::print_error(&err),
            (_, None) => crate::errors::SETUP_FAILED,
        })
    }

    /// Ends what is left of the jail's cgroup, and tells what it has seen.
    pub(crate) fn end(self) -> CgroupEnd {
        self.cgroup.map_or_else(CgroupEnd::default, JailCgroup::end)
    }
}
