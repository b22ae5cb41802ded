//! Results of attacks.

use std::collections::BTreeMap;
use std::process::{ExitCode, ExitStatus};

use crate::sys::{self, Errno};

/// Exit code for a wrong command line.
pub(crate) const USAGE: u8 = 3;

/// Result of an attack, printed on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The attack was refused, in this way.
    Held(String),
    /// The attack succeeded, in this way.
    Broken(String),
    /// The attack could not be tried, for this reason.
    Untried(String),
}

impl Verdict {
    pub(crate) fn line(&self) -> String {
        let (word, text) = match self {
            Self::Held(text) => ("held", text),
            Self::Broken(text) => ("BROKEN", text),
            Self::Untried(text) => ("untried", text),
        };
        // A name may contain a newline; the line must stay one.
        let text: String = text.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
        format!("{word}: {text}")
    }

    /// Returns 0, 1 or 2.
    pub(crate) fn number(&self) -> u8 {
        match self {
            Self::Held(_) => 0,
            Self::Broken(_) => 1,
            Self::Untried(_) => 2,
        }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// Parses the output of another copy of this program. A copy without output was killed, which does not
    /// count as held.
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

/// Ways that were tried, each with its result.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    refused: BTreeMap<String, usize>,
    through: Vec<String>,
}

impl Ways {
    /// Counts any error as a refusal.
    pub(crate) fn must_fail<T>(&mut self, what: &str, answer: Result<T, Errno>) {
        match answer.map(drop) {
            Ok(()) => self.got_through(what),
            Err(errno) => self.refused(&sys::name(errno)),
        }
    }

    /// Counts only these errors as a refusal: another one shows that the kernel has looked at the arguments.
    pub(crate) fn must_fail_with<T>(&mut self, what: &str, answer: Result<T, Errno>, wanted: &[Errno]) {
        match answer.map(drop) {
            Err(errno) if wanted.contains(&errno) => self.refused(&sys::name(errno)),
            Err(errno) => self.got_through(&format!("{what} ({})", sys::name(errno))),
            Ok(()) => self.got_through(what),
        }
    }

    /// Does the same as [`Self::must_fail`] for results of the standard library.
    pub(crate) fn io<T>(&mut self, what: &str, answer: std::io::Result<T>) {
        self.must_fail(what, answer.map_err(|err| err.raw_os_error().unwrap_or(0)));
    }

    /// Counts a condition that must be true; `why` names the refusal.
    pub(crate) fn must_be(&mut self, so: bool, what: &str, why: &str) {
        if so { self.refused(why) } else { self.got_through(what) }
    }

    pub(crate) fn refused(&mut self, how: &str) {
        *self.refused.entry(how.to_owned()).or_default() += 1;
    }

    pub(crate) fn got_through(&mut self, what: &str) {
        self.through.push(what.to_owned());
    }

    /// Returns the verdict on all ways.
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

/// Joins the first few entries of a list.
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
