//! The state of each machine behind a front, as the checks have found it. It decides which of them get requests,
//! and outlives the process that checks.

#![expect(clippy::disallowed_methods, reason = "a record that only piku writes")]

use std::fs;
use std::net::SocketAddr;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::paths::AppDir;
use serde::{Deserialize, Serialize};

use super::probe::{ProbeFailure, ProbeResult};
use crate::releases::current;

/// Failed checks in a row after which a machine is down.
const FALL: u32 = 2;

const FILE: &str = "machines.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MachineState {
    /// Name of the machine: its address for ssh without the user.
    pub(super) machine: String,
    /// Address of its nginx; `None` until its name is known.
    pub(super) address: Option<SocketAddr>,
    pub(super) is_up: bool,
    pub(super) since: Timestamp,
    /// Reason for which it is down.
    pub(super) reason: Option<String>,
}

/// The loss of a machine that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MachineLoss {
    /// It was up until this check.
    New,
    /// It was down before.
    Known,
}

/// The failures of a machine since its last answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MachineHealth {
    failures: u32,
}

impl MachineHealth {
    /// Changes the state by the result of a check. Returns how the machine is lost, if it is down and cannot be
    /// reached.
    pub(super) fn record(
        &mut self,
        state: &mut MachineState,
        result: &ProbeResult,
        now: Timestamp,
    ) -> Option<MachineLoss> {
        match result {
            Ok(()) => {
                self.failures = 0;
                if !state.is_up {
                    *state = MachineState { is_up: true, since: now, reason: None, ..state.clone() };
                }
                None
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                if state.is_up && self.failures < FALL {
                    return None;
                }
                let loss = if state.is_up { MachineLoss::New } else { MachineLoss::Known };
                if state.is_up {
                    state.since = now;
                }
                state.is_up = false;
                state.reason = Some(failure.to_string());
                matches!(failure, ProbeFailure::Unreachable(_)).then_some(loss)
            }
        }
    }
}

/// Reads the states; none before the first check.
pub(super) fn read_states(app: &AppDir) -> Vec<MachineState> {
    let read = fs::read(app.front_state().join(FILE)).ok();
    read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

pub(super) fn write_states(app: &AppDir, states: &[MachineState]) -> anyhow::Result<()> {
    let dir = app.front_state();
    current::create_dir(&dir)?;
    let json = serde_json::to_vec(states).context("cannot encode the machines as JSON")?;
    // Worthless after a power cut.
    atomic_file::write_passing(&dir.join(FILE), &json, 0o600)
        .with_context(|| format!("cannot write in '{}'", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_goes_down_after_two_failures_and_up_after_one_answer() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut state =
            MachineState { machine: "pi".to_owned(), address: None, is_up: true, since: at(0), reason: None };
        let mut health = MachineHealth::default();
        let lost = Err(ProbeFailure::Unreachable("no route".to_owned()));
        let bad = Err(ProbeFailure::Unhealthy("it answers 503".to_owned()));
        assert_eq!(health.record(&mut state, &lost, at(1)), None);
        assert!(state.is_up);
        assert_eq!(health.record(&mut state, &Ok(()), at(2)), None);
        assert_eq!((state.is_up, state.since), (true, at(0)));
        assert_eq!(health.record(&mut state, &lost, at(3)), None);
        assert_eq!(health.record(&mut state, &lost, at(4)), Some(MachineLoss::New));
        assert_eq!((state.is_up, state.since, state.reason.as_deref()), (false, at(4), Some("no route")));
        assert_eq!(health.record(&mut state, &bad, at(5)), None);
        // What was sent to it meanwhile is lost, too.
        assert_eq!(health.record(&mut state, &lost, at(5)), Some(MachineLoss::Known));
        assert_eq!(health.record(&mut state, &bad, at(5)), None);
        assert_eq!((state.since, state.reason.as_deref()), (at(4), Some("it answers 503")));
        assert_eq!(health.record(&mut state, &Ok(()), at(6)), None);
        assert_eq!((state.is_up, state.since, state.reason.as_deref()), (true, at(6), None));
        assert_eq!(health.record(&mut state, &bad, at(7)), None);
        assert_eq!(health.record(&mut state, &bad, at(8)), None, "its connections go on");
        assert!(!state.is_up);
    }
}
