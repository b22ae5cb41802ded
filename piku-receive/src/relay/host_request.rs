//! A request to each of several hosts, with its limits.

use std::thread;
use std::time::Duration;

use piku_layout::settings::{DeployTo, MachineAddress};

use super::host_output::HostResult;
use super::plan::FanOut;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::{self, SessionInput, TimeLimit};

/// Limit for a verb that changes nothing.
pub(super) const QUERY: TimeLimit = TimeLimit::Whole(Duration::from_secs(30));

/// Returns the limit for a change, which may wait for a deploy there.
pub(super) fn change_limit(to: &DeployTo) -> TimeLimit {
    TimeLimit::of_work(Duration::from_secs(to.time_limit))
}

/// Asks all hosts at the same time.
pub(super) fn ask_all<T: Send>(
    machines: &[MachineAddress],
    ask: impl Fn(&MachineAddress) -> T + Sync,
) -> Vec<T> {
    let ask = &ask;
    thread::scope(|scope| {
        let running: Vec<_> = machines.iter().map(|machine| scope.spawn(move || ask(machine))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// Returns the result of a host.
pub(super) fn ask_host(
    machine: &MachineAddress,
    to: &DeployTo,
    words: &[&str],
    input: &[u8],
    how: FanOut,
) -> HostResult {
    let name = machine.name();
    let input = if how.reads_stdin { SessionInput::Text(input) } else { SessionInput::Nothing };
    let limit = if how.is_query { QUERY } else { change_limit(to) };
    match ssh::run_on_host(&name, machine, to, words, input, limit) {
        Ok(ended) => {
            let failure = SessionFailure::of(&ended, Some(machine), to);
            let is_away = failure.as_ref().is_some_and(SessionFailure::is_unreached);
            let kind = failure.as_ref().map(|failure| failure.kind);
            let has_no_access = kind == Some(SessionFailureKind::NoAccess);
            let failure = failure.map(|failure| failure.why);
            HostResult { name, output: ended.answer, failure, is_away, has_no_access }
        }
        Err(err) => {
            let failure = Some(format!("{err:#}"));
            HostResult { name, output: String::new(), failure, is_away: false, has_no_access: false }
        }
    }
}
