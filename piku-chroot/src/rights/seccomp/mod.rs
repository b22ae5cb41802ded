//! The system calls that the command may make: a filter in the kernel, for it and for all that it starts, for good. What is
//! refused is refused before the kernel looks at an argument.

mod assembler;
mod policy;

use std::collections::BTreeMap;
use std::mem::offset_of;

use anyhow::{Context, Result};
use nix::libc::{ENOSYS, EPERM, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_int, seccomp_data};

use crate::rights::seccomp::assembler::{Block, Part, Question, answer, choose, load, search};
use crate::rights::seccomp::policy::{Answer, Check};
use crate::sys;

/// Whether this kernel has filters, and we have one for this machine.
pub(crate) fn available() -> bool {
    policy::ARCHITECTURE.is_some() && sys::has_filters()
}

/// Puts the filter on this process. It may do no more than the command from now on.
pub(crate) fn install() -> Result<()> {
    let Some(architecture) = policy::ARCHITECTURE else { return Ok(()) };
    sys::set_filter(&mut program(architecture)).context("cannot filter the system calls")
}

/// The whole filter.
fn program(architecture: u32) -> Block {
    let native = Question::Equals(architecture);
    let here = load(offset(offset_of!(seccomp_data, nr)), search(&parts()));
    // A number means another call in another architecture, and this list says nothing about those.
    load(offset(offset_of!(seccomp_data, arch)), choose(native, here, answer(refuse(ENOSYS))))
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Verdict {
    /// The same whatever its arguments are.
    Action(u32),
    /// An argument decides.
    Ask(&'static Check),
}

/// All numbers, in parts that are answered alike.
fn parts() -> Vec<Part> {
    let listed = listed();
    let above = policy::ABOVE.iter().flat_map(|number| [*number, number + 1]);
    let mut parts = Vec::new();
    let mut last = None;
    for first in (0..=policy::LAST + 1).chain(above) {
        let block = match listed.get(&first).copied().unwrap_or_else(|| unlisted(first)) {
            Verdict::Action(action) if last == Some(action) => continue,
            Verdict::Action(action) => {
                last = Some(action);
                answer(action)
            }
            Verdict::Ask(check) => {
                last = None;
                ask(check)
            }
        };
        parts.push(Part { first, block });
    }
    parts
}

/// What the policy names.
fn listed() -> BTreeMap<u32, Verdict> {
    let refused = policy::REFUSED.iter().chain(policy::REFUSED_HERE);
    let refused = refused.map(|number| (*number, Verdict::Action(refuse(EPERM))));
    let not_there = policy::NOT_THERE.iter().map(|number| (*number, Verdict::Action(refuse(ENOSYS))));
    let checked = policy::CHECKED.iter().map(|(number, check)| (*number, Verdict::Ask(check)));
    let all = refused.chain(not_there).chain(checked);
    // None is negative.
    all.filter_map(|(number, verdict)| Some((u32::try_from(number).ok()?, verdict))).collect()
}

/// What it says of all others.
fn unlisted(number: u32) -> Verdict {
    let unassigned = policy::UNASSIGNED.iter().any(|(first, last)| (*first..=*last).contains(&number));
    let there = if number > policy::LAST { policy::ABOVE.contains(&number) } else { !unassigned };
    Verdict::Action(if there { SECCOMP_RET_ALLOW } else { refuse(ENOSYS) })
}

/// Looks at an argument.
fn ask(check: &Check) -> Block {
    let action = |outcome| match outcome {
        Answer::Allow => answer(SECCOMP_RET_ALLOW),
        Answer::Refuse(errno) => answer(refuse(errno)),
        Answer::Ask(check) => ask(check),
    };
    let lower = check.cases.iter().rev().fold(action(check.otherwise), |otherwise, (question, outcome)| {
        choose(*question, action(*outcome), otherwise)
    });
    // Eight bytes each, in the order of this machine.
    let argument = offset(offset_of!(seccomp_data, args)) + 8 * check.argument;
    let (low, high) = if cfg!(target_endian = "little") { (0, 4) } else { (4, 0) };
    let lower = load(argument + low, lower);
    match check.upper {
        None => lower,
        Some(errno) => load(argument + high, choose(Question::Equals(0), lower, answer(refuse(errno)))),
    }
}

/// The action that fails a call with this error.
fn refuse(errno: c_int) -> u32 {
    SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

fn offset(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
