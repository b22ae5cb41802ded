//! The system calls that the command may make: a filter in the kernel for the command and all that it starts,
//! for good. A refused call fails before the kernel looks at its arguments.
//!
//! The crate seccompiler is not used: it does not support 32-bit ARM, and a filter of it has one action for
//! all calls of its list, while this one needs EPERM, ENOSYS and others side by side.

mod assembler;
mod numbers;
mod policy;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::mem::offset_of;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc::{ENOSYS, EPERM, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_int, seccomp_data};

use crate::confinement::seccomp::assembler::{
    Block, NumberRange, WordQuestion, answer, choose, load, search,
};
use crate::confinement::seccomp::numbers::CallArchitecture;
use crate::confinement::seccomp::policy::{ArgumentCheck, CallAnswer};
use crate::sys;

/// Returns whether the kernel has seccomp, and there is a filter for this architecture.
pub(crate) fn available() -> bool {
    CallArchitecture::OWN.is_some() && sys::has_filters()
}

/// Puts the filter on this process, which from now on may do no more than the command. `shell` is a program
/// of the tree in which the command will run: it shows the architecture of the programs.
pub(crate) fn install(shell: &Path) -> Result<()> {
    let Some(own) = CallArchitecture::OWN else { return Ok(()) };
    let sister = own.sister().filter(|sister| is_for(shell, *sister));
    let architectures: Vec<CallArchitecture> = [own].into_iter().chain(sister).collect();
    sys::set_filter(&mut build_filter(&architectures)).context("cannot filter the system calls")
}

/// Returns whether a program is for this architecture; false if it cannot be read.
fn is_for(shell: &Path, architecture: CallArchitecture) -> bool {
    let mut head = [0; 20];
    let read = File::open(shell).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && has_elf_header(&head, architecture)
}

/// Compares the magic, the class and the machine (in little-endian order) of an ELF header.
fn has_elf_header(head: &[u8; 20], architecture: CallArchitecture) -> bool {
    let (class, machine) = architecture.elf();
    head.starts_with(b"\x7fELF") && head[4] == class && head[18..] == machine.to_le_bytes()
}

/// Returns the filter: the rules for these architectures, and a refusal of all others.
fn build_filter(architectures: &[CallArchitecture]) -> Block {
    // In another architecture a number means another call.
    let known = architectures.iter().rev().fold(answer(refuse(ENOSYS)), |others, architecture| {
        let calls = load(field_offset(offset_of!(seccomp_data, nr)), search(&number_ranges(*architecture)));
        choose(WordQuestion::Equals(architecture.audit()), calls, others)
    });
    load(field_offset(offset_of!(seccomp_data, arch)), known)
}

/// Rule for a call.
#[derive(Clone, Copy)]
enum CallVerdict {
    /// One action for all arguments.
    Action(u32),
    /// An argument decides.
    Ask(&'static ArgumentCheck),
}

/// Divides all numbers into ranges with the same rule.
fn number_ranges(architecture: CallArchitecture) -> Vec<NumberRange> {
    let listed = listed(architecture);
    let above = policy::above(architecture).iter().flat_map(|number| [*number, number + 1]);
    let mut parts = Vec::new();
    let mut last = None;
    for first in (0..=policy::LAST + 1).chain(above) {
        let block = match listed.get(&first).copied().unwrap_or_else(|| unlisted(first, architecture)) {
            CallVerdict::Action(action) if last == Some(action) => continue,
            CallVerdict::Action(action) => {
                last = Some(action);
                answer(action)
            }
            CallVerdict::Ask(check) => {
                last = None;
                check_argument(check)
            }
        };
        parts.push(NumberRange { first, block });
    }
    parts
}

/// Returns the rules of the calls that the policy names.
fn listed(architecture: CallArchitecture) -> BTreeMap<u32, CallVerdict> {
    let refused = policy::REFUSED.iter().map(|call| (call, CallVerdict::Action(refuse(EPERM))));
    let not_there = policy::NOT_THERE.iter().map(|call| (call, CallVerdict::Action(refuse(ENOSYS))));
    let checked = policy::CHECKED.iter().map(|(call, check)| (call, CallVerdict::Ask(check)));
    let all = refused.chain(not_there).chain(checked);
    all.filter_map(|(call, verdict)| Some((call.number(architecture)?, verdict))).collect()
}

/// Returns the rule of a call that the policy does not name.
fn unlisted(number: u32, architecture: CallArchitecture) -> CallVerdict {
    let unassigned = policy::unassigned(architecture);
    let unassigned = unassigned.iter().any(|(first, last)| (*first..=*last).contains(&number));
    let above = policy::above(architecture);
    let there = if number > policy::LAST { above.contains(&number) } else { !unassigned };
    CallVerdict::Action(if there { SECCOMP_RET_ALLOW } else { refuse(ENOSYS) })
}

/// Returns a block that checks an argument.
fn check_argument(check: &ArgumentCheck) -> Block {
    let action = |outcome| match outcome {
        CallAnswer::Allow => answer(SECCOMP_RET_ALLOW),
        CallAnswer::Refuse(errno) => answer(refuse(errno)),
        CallAnswer::Ask(check) => check_argument(check),
    };
    let lower = check.cases.iter().rev().fold(action(check.otherwise), |otherwise, (question, outcome)| {
        choose(*question, action(*outcome), otherwise)
    });
    // Eight bytes each, in the byte order of this machine.
    let argument = field_offset(offset_of!(seccomp_data, args)) + 8 * check.argument;
    let (low, high) = if cfg!(target_endian = "little") { (0, 4) } else { (4, 0) };
    let lower = load(argument + low, lower);
    match check.upper {
        None => lower,
        Some(errno) => load(argument + high, choose(WordQuestion::Equals(0), lower, answer(refuse(errno)))),
    }
}

/// Returns the action that fails a call with this error.
fn refuse(errno: c_int) -> u32 {
    SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

fn field_offset(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
