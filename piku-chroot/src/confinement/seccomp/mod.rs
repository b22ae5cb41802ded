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
    Block, NumberRange, WordQuestion, branch, load, return_action, search,
};
use crate::confinement::seccomp::numbers::CallArchitecture;
use crate::confinement::seccomp::policy::{ArgumentCheck, CallAnswer};
use crate::sys;

/// Returns whether the kernel has seccomp, and there is a filter for this architecture.
pub(crate) fn is_available() -> bool {
    CallArchitecture::OWN.is_some() && sys::has_filters()
}

/// Puts the filter on this process, which from now on may do no more than the command. `shell` is a program
/// of the tree in which the command will run: it shows the architecture of the programs.
pub(crate) fn install(shell: &Path) -> Result<()> {
    let Some(own) = CallArchitecture::OWN else { return Ok(()) };
    let other = own.other_architecture().filter(|other| is_for(shell, *other));
    let architectures: Vec<CallArchitecture> = [own].into_iter().chain(other).collect();
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
    let (class, machine) = architecture.elf_class_and_machine();
    head.starts_with(b"\x7fELF") && head[4] == class && head[18..] == machine.to_le_bytes()
}

/// Returns the filter: the rules for these architectures, and a refusal of all others.
fn build_filter(architectures: &[CallArchitecture]) -> Block {
    // In another architecture a number means another call.
    let known =
        architectures.iter().rev().fold(return_action(errno_action(ENOSYS)), |others, architecture| {
            let calls =
                load(field_offset(offset_of!(seccomp_data, nr)), search(&number_ranges(*architecture)));
            branch(WordQuestion::Equals(architecture.audit_number()), calls, others)
        });
    load(field_offset(offset_of!(seccomp_data, arch)), known)
}

#[derive(Clone, Copy)]
enum CallRule {
    /// The same action for all arguments.
    Action(u32),
    /// An argument decides.
    Ask(&'static ArgumentCheck),
}

/// Divides all numbers into ranges with the same rule.
fn number_ranges(architecture: CallArchitecture) -> Vec<NumberRange> {
    let listed = listed_rules(architecture);
    let above = policy::numbers_above(architecture).iter().flat_map(|number| [*number, number + 1]);
    let mut parts = Vec::new();
    let mut last = None;
    for first in (0..=policy::LAST + 1).chain(above) {
        let block = match listed.get(&first).copied().unwrap_or_else(|| default_rule(first, architecture)) {
            CallRule::Action(action) if last == Some(action) => continue,
            CallRule::Action(action) => {
                last = Some(action);
                return_action(action)
            }
            CallRule::Ask(check) => {
                last = None;
                check_argument(check)
            }
        };
        parts.push(NumberRange { first, block });
    }
    parts
}

/// Returns the rules of the calls that the policy names.
fn listed_rules(architecture: CallArchitecture) -> BTreeMap<u32, CallRule> {
    let refused = policy::REFUSED.iter().map(|call| (call, CallRule::Action(errno_action(EPERM))));
    let not_there = policy::NOT_THERE.iter().map(|call| (call, CallRule::Action(errno_action(ENOSYS))));
    let checked = policy::CHECKED.iter().map(|(call, check)| (call, CallRule::Ask(check)));
    let all = refused.chain(not_there).chain(checked);
    all.filter_map(|(call, verdict)| Some((call.number(architecture)?, verdict))).collect()
}

/// Returns the rule of a call that the policy does not name.
fn default_rule(number: u32, architecture: CallArchitecture) -> CallRule {
    let unassigned = policy::unassigned_ranges(architecture);
    let unassigned = unassigned.iter().any(|(first, last)| (*first..=*last).contains(&number));
    let above = policy::numbers_above(architecture);
    let there = if number > policy::LAST { above.contains(&number) } else { !unassigned };
    CallRule::Action(if there { SECCOMP_RET_ALLOW } else { errno_action(ENOSYS) })
}

fn check_argument(check: &ArgumentCheck) -> Block {
    let action = |outcome| match outcome {
        CallAnswer::Allow => return_action(SECCOMP_RET_ALLOW),
        CallAnswer::Refuse(errno) => return_action(errno_action(errno)),
        CallAnswer::Ask(check) => check_argument(check),
    };
    let lower = check.cases.iter().rev().fold(action(check.otherwise), |otherwise, (question, outcome)| {
        branch(*question, action(*outcome), otherwise)
    });
    // Eight bytes each, in the byte order of this machine.
    let argument = field_offset(offset_of!(seccomp_data, args)) + 8 * check.argument;
    let (low, high) = if cfg!(target_endian = "little") { (0, 4) } else { (4, 0) };
    let lower = load(argument + low, lower);
    match check.upper {
        None => lower,
        Some(errno) => {
            load(argument + high, branch(WordQuestion::Equals(0), lower, return_action(errno_action(errno))))
        }
    }
}

/// Returns the action that fails a call with this error.
fn errno_action(errno: c_int) -> u32 {
    SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

fn field_offset(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
