//! What came of an attack.

use std::collections::BTreeMap;
use std::process::{ExitCode, ExitStatus};

use crate::sys::{self, Errno};

/// The exit code for a wrong command line.
pub(crate) const USAGE: u8 = 3;

/// The one line that an attack prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was refused; how.
    Held(String),
    /// It got through; what did.
    Broken(String),
    /// It could not be tried; why.
    Untried(String),
}

impl Verdict {
    /// The line.
    pub(crate) fn line(&self) -> String {
        let (word, text) = match self {
            Self::Held(text) => ("held", text),
            Self::Broken(text) => ("BROKEN", text),
            Self::Untried(text) => ("untried", text),
        };
        // A name may hold anything; the line stays one.
        let text: String = text.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
        format!("{word}: {text}")
    }

    /// 0, 1 or 2.
    pub(crate) fn number(&self) -> u8 {
        match self {
            Self::Held(_) => 0,
            Self::Broken(_) => 1,
            Self::Untried(_) => 2,
        }
    }

    /// The same for the end of the program.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// What another copy of this program has printed. One that said nothing was ended, and that holds nothing.
    pub(crate) fn parse(out: &str, status: ExitStatus) -> Self {
        let mut verdicts = out.lines().filter_map(|line| {
            let (word, text) = line.split_once(": ")?;
            let text = text.to_owned();
            match word {
                "held" => Some(Self::Held(text)),
                "BROKEN" => Some(Self::Broken(text)),
                "untried" => Some(Self::Untried(text)),
                _ => None,
            }
        });
        match verdicts.next_back() {
            Some(verdict) if status.code() == Some(verdict.number().into()) => verdict,
            Some(verdict) => Self::Broken(format!("it said '{}' and ended with {status}", verdict.line())),
            None => Self::Broken(format!("it said nothing and ended with {status}")),
        }
    }
}

/// Ways that were tried, each with what came of it.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    refused: BTreeMap<String, usize>,
    through: Vec<String>,
}

impl Ways {
    /// Any error is a refusal.
    pub(crate) fn must_fail<T>(&mut self, what: &str, answer: Result<T, Errno>) {
        match answer.map(drop) {
            Ok(()) => self.got_through(what),
            Err(errno) => self.refused(&sys::name(errno)),
        }
    }

    /// Only these errors are one: another would tell that the kernel had looked at the arguments.
    pub(crate) fn must_fail_with<T>(&mut self, what: &str, answer: Result<T, Errno>, wanted: &[Errno]) {
        match answer.map(drop) {
            Err(errno) if wanted.contains(&errno) => self.refused(&sys::name(errno)),
            Err(errno) => self.got_through(&format!("{what} ({})", sys::name(errno))),
            Ok(()) => self.got_through(what),
        }
    }

    /// The same for what the standard library says.
    pub(crate) fn io<T>(&mut self, what: &str, answer: std::io::Result<T>) {
        self.must_fail(what, answer.map_err(|err| err.raw_os_error().unwrap_or(0)));
    }

    /// It must be so; `why` says how that is called.
    pub(crate) fn must_be(&mut self, so: bool, what: &str, why: &str) {
        if so { self.refused(why) } else { self.got_through(what) }
    }

    pub(crate) fn refused(&mut self, how: &str) {
        *self.refused.entry(how.to_owned()).or_default() += 1;
    }

    pub(crate) fn got_through(&mut self, what: &str) {
        self.through.push(what.to_owned());
    }

    /// What came of all of them.
    pub(crate) fn verdict(self) -> Verdict {
        if !self.through.is_empty() {
            return Verdict::Broken(shortened(&self.through));
        }
        if self.refused.is_empty() {
            return Verdict::Untried("there was nothing to try it on".to_owned());
        }
        let how = self.refused.iter().map(|(how, count)| match count {
            1 => how.clone(),
            _ => format!("{how} {count} times"),
        });
        Verdict::Held(how.collect::<Vec<_>>().join(", "))
    }
}

/// The first few of a list that may be long.
fn shortened(list: &[String]) -> String {
    const SHOWN: usize = 12;
    let text = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if list.len() > SHOWN {
        return format!("{text}; and {} more", list.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_through_is_enough() {
        let mut ways = Ways::default();
        ways.must_fail("a", Err::<(), _>(libc::EPERM));
        ways.must_fail_with("b", Err::<(), _>(libc::ENOSYS), &[libc::ENOSYS]);
        ways.must_fail("c", Err::<(), _>(libc::EPERM));
        assert_eq!(ways.verdict().line(), "held: ENOSYS, EPERM 2 times");
        let mut ways = Ways::default();
        ways.must_fail("a", Err::<(), _>(libc::EPERM));
        ways.must_fail_with("b", Err::<(), _>(libc::EFAULT), &[libc::EPERM]);
        ways.must_fail("c\n", Ok(()));
        assert_eq!(ways.verdict().line(), "BROKEN: b (EFAULT); c?");
        assert!(matches!(Ways::default().verdict(), Verdict::Untried(_)));
    }
}
