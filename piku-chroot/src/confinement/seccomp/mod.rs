//! The system calls that the command may make: a filter in the kernel, for it and for all that it starts, for good. What is
//! refused is refused before the kernel looks at an argument.

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

/// Whether this kernel has filters, and we have one for this machine.
pub(crate) fn available() -> bool {
    CallArchitecture::OWN.is_some() && sys::has_filters()
}

/// Puts the filter on this process. It may do no more than the command from now on. `shell` is a program of the userland
/// that the command is going to live in.
pub(crate) fn install(shell: &Path) -> Result<()> {
    let Some(own) = CallArchitecture::OWN else { return Ok(()) };
    let sister = own.sister().filter(|sister| is_for(shell, *sister));
    let architectures: Vec<CallArchitecture> = [own].into_iter().chain(sister).collect();
    sys::set_filter(&mut program(&architectures)).context("cannot filter the system calls")
}

/// Returns whether this program is one of that architecture. What cannot be read is not.
fn is_for(shell: &Path, architecture: CallArchitecture) -> bool {
    let mut head = [0; 20];
    let read = File::open(shell).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && has_elf_header(&head, architecture)
}

/// Returns whether an ELF header begins so: its magic, its class, and its machine in little-endian order.
fn has_elf_header(head: &[u8; 20], architecture: CallArchitecture) -> bool {
    let (class, machine) = architecture.elf();
    head.starts_with(b"\x7fELF") && head[4] == class && head[18..] == machine.to_le_bytes()
}

/// The whole filter: what programs of these architectures may do, and nothing for those of any other.
fn program(architectures: &[CallArchitecture]) -> Block {
    // A number means another call in another architecture.
    let known = architectures.iter().rev().fold(answer(refuse(ENOSYS)), |others, architecture| {
        let calls = load(offset(offset_of!(seccomp_data, nr)), search(&parts(*architecture)));
        choose(WordQuestion::Equals(architecture.audit()), calls, others)
    });
    load(offset(offset_of!(seccomp_data, arch)), known)
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum CallVerdict {
    /// The same whatever its arguments are.
    Action(u32),
    /// An argument decides.
    Ask(&'static ArgumentCheck),
}

/// All numbers, in parts that are answered alike.
fn parts(architecture: CallArchitecture) -> Vec<NumberRange> {
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
                ask(check)
            }
        };
        parts.push(NumberRange { first, block });
    }
    parts
}

/// What the policy names.
fn listed(architecture: CallArchitecture) -> BTreeMap<u32, CallVerdict> {
    let refused = policy::REFUSED.iter().map(|call| (call, CallVerdict::Action(refuse(EPERM))));
    let not_there = policy::NOT_THERE.iter().map(|call| (call, CallVerdict::Action(refuse(ENOSYS))));
    let checked = policy::CHECKED.iter().map(|(call, check)| (call, CallVerdict::Ask(check)));
    let all = refused.chain(not_there).chain(checked);
    all.filter_map(|(call, verdict)| Some((call.number(architecture)?, verdict))).collect()
}

/// What it says of all others.
fn unlisted(number: u32, architecture: CallArchitecture) -> CallVerdict {
    let unassigned = policy::unassigned(architecture);
    let unassigned = unassigned.iter().any(|(first, last)| (*first..=*last).contains(&number));
    let above = policy::above(architecture);
    let there = if number > policy::LAST { above.contains(&number) } else { !unassigned };
    CallVerdict::Action(if there { SECCOMP_RET_ALLOW } else { refuse(ENOSYS) })
}

/// Looks at an argument.
fn ask(check: &ArgumentCheck) -> Block {
    let action = |outcome| match outcome {
        CallAnswer::Allow => answer(SECCOMP_RET_ALLOW),
        CallAnswer::Refuse(errno) => answer(refuse(errno)),
        CallAnswer::Ask(check) => ask(check),
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
        Some(errno) => load(argument + high, choose(WordQuestion::Equals(0), lower, answer(refuse(errno)))),
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
