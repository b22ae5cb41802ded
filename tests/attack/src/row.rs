//! An attack of the table.

use crate::facts::Facts;
use crate::verdict::Verdict;

/// An attack, as `list` shows it and as it is run.
pub(crate) struct Row {
    /// Name of the sub-command.
    pub(crate) name: &'static str,
    pub(crate) attempt: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) run: fn(&Facts) -> Verdict,
}

/// Returns the verdict of an attack that lacks a fact.
pub(crate) fn not_told(key: &str) -> Verdict {
    Verdict::Untried(format!("it was not told {key}=…"))
}

impl Row {
    /// Runs the attack if this process is in a jail. Outside of one, some attacks would harm the machine, and
    /// a process that sees the caller's own processes is not in a jail.
    pub(crate) fn attack(&self, facts: &Facts) -> Verdict {
        let Some(outer) = facts.get("pidns") else { return not_told("pidns") };
        match std::fs::read_link("/proc/self/ns/pid") {
            Ok(own) if own.as_os_str() != outer => (self.run)(facts),
            Ok(_) => {
                Verdict::Broken("the process namespace is the caller's; nothing more was tried".to_owned())
            }
            Err(err) => Verdict::Untried(format!("cannot tell the process namespace: {err}")),
        }
    }
}
