//! One attack.

use crate::facts::Facts;
use crate::verdict::Verdict;

/// One attack, as `list` shows it and as it is run.
pub(crate) struct Row {
    /// The sub-command.
    pub(crate) name: &'static str,
    /// What is tried.
    pub(crate) attempt: &'static str,
    /// What is expected to come of it.
    pub(crate) expected: &'static str,
    /// Tries it.
    pub(crate) run: fn(&Facts) -> Verdict,
}

/// A verdict for an attack that needs to be told something that it was not.
pub(crate) fn not_told(key: &str) -> Verdict {
    Verdict::Untried(format!("it was not told {key}=…"))
}

impl Row {
    /// Tries it, in a jail. Outside of one some would harm the machine when they are not refused, and who has the
    /// caller's own processes before it is in none.
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
