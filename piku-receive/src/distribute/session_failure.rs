//! The failure of a request to a host, in the words of all verbs and deploys.

use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::user_error::BUSY;

use super::failure_reason::{UNKNOWN_NAME, connection_hint};
use super::ssh::{EndedSession, NO_CONNECTION};
use crate::session::request::RELAYED;

/// A request that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionFailure {
    /// Reason with its remedy.
    pub(crate) why: String,
    pub(crate) kind: SessionFailureKind,
}

/// Kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionFailureKind {
    /// The host could not be reached, or the connection was lost.
    Away,
    /// A key or a setting is wrong: waiting does not help.
    NoAccess,
    /// Its app is being changed.
    Busy,
    /// It has refused the request, or failed.
    Failed,
}

impl SessionFailure {
    /// Returns the failure of a request to the host `machine`, or of a program of this host; `None` if it has succeeded.
    pub(crate) fn of(ended: &EndedSession, machine: Option<&MachineAddress>, to: &DeployTo) -> Option<Self> {
        Self::of_end(ended.code, &ended.last, machine, to)
    }

    /// Does the same with the exit code and the last line of the errors.
    pub(crate) fn of_end(
        code: i32,
        last: &str,
        machine: Option<&MachineAddress>,
        to: &DeployTo,
    ) -> Option<Self> {
        let mut hint = None;
        let (what, kind) = match (code, machine) {
            (0, _) => return None,
            (NO_CONNECTION, Some(machine)) => {
                hint = connection_hint(last, machine, to);
                // The network of a host that is down may have its name server.
                let is_down = hint.is_none() || last.contains(UNKNOWN_NAME);
                let kind = if is_down { SessionFailureKind::Away } else { SessionFailureKind::NoAccess };
                ("no connection", kind)
            }
            (code, _) if code == i32::from(BUSY) => ("busy", SessionFailureKind::Busy),
            _ => ("failed", SessionFailureKind::Failed),
        };
        let reason = if last.is_empty() { String::new() } else { format!(": {}", explain_line(last)) };
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        Some(Self { why: format!("{what}{reason}{hint}"), kind })
    }

    /// Returns true if the host did not get the request, or may have executed it before the connection was lost.
    pub(crate) fn is_unreached(&self) -> bool {
        matches!(self.kind, SessionFailureKind::Away | SessionFailureKind::NoAccess)
    }
}

/// Returns the last line of a host that has failed, or what it means if its piku does not know [`RELAYED`].
fn explain_line(last: &str) -> &str {
    if last.contains(&format!("unknown verb '{RELAYED}'")) {
        "its piku is older than that of this machine, and takes no verbs from it: update it"
    } else {
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_may_come_back_is_away() {
        use SessionFailureKind::{Away, Busy, Failed, NoAccess};
        let (to, machine) = (DeployTo::default(), "piku@pi-1".parse().unwrap());
        let of = |code, last: &str| SessionFailure::of_end(code, last, Some(&machine), &to);
        assert_eq!(of(0, "hello"), None);
        for (code, last, kind, texts) in [
            (255, "", Away, ["no connection", ""]),
            (255, "ssh: connect to host pi-1: No route to host", Away, ["no connection: ssh: ", " host"]),
            (
                255,
                "ssh: Could not resolve hostname pi-1: x",
                Away,
                ["no connection: ", "(check the spelling"],
            ),
            (
                255,
                "Host key verification failed.",
                NoAccess,
                ["no connection: Host key", "(check and accept"],
            ),
            (255, "piku@pi-1: Permission denied (publickey).", NoAccess, ["no connection: ", "(add the key"]),
            (75, "x", Busy, ["busy: x", ""]),
            (1, "piku: unknown verb 'here'", Failed, ["failed: its piku is older", "update it"]),
        ] {
            let failure = of(code, last).unwrap();
            assert_eq!(failure.kind, kind, "{last}");
            assert!(texts.iter().all(|text| failure.why.contains(text)), "{}", failure.why);
        }
        // A program of this host may end with any code.
        assert_eq!(SessionFailure::of_end(255, "", None, &to).unwrap().kind, Failed);
    }
}
