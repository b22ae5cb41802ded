//! The releases of a host, as it lists them: the live one, and the one to which a rollback returns.

use std::process::Stdio;

use anyhow::Context;
use piku_layout::deploys::unfinished_rollback::RollbackTurn;
use piku_layout::git_history::short_commit;
use piku_layout::settings::{DeployTo, MachineAddress};
use serde::Deserialize;

use super::host_request::QUERY;
use super::{own_command, request_words};
use crate::app_context::AppContext;
use crate::distribute::ssh::{self, EndedSession, SessionInput};

/// A row of `releases --format json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ReleaseEntry {
    pub(super) release: u64,
    pub(super) commit: String,
    subject: String,
    state: String,
    origin: String,
}

impl ReleaseEntry {
    /// Returns true if both are the same release on different hosts, each of which has its own numbers.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // The subject of a rollback has the number of a release in it.
        self.commit == other.commit
            && self.origin == other.origin
            && (self.origin == "rollback" || self.subject == other.subject)
    }
}

/// The releases of a host: the live one, and the one to which it would go back.
#[derive(Debug, Clone)]
pub(super) struct HostReleases {
    pub(super) live: ReleaseEntry,
    pub(super) before: Option<ReleaseEntry>,
}

impl HostReleases {
    /// Returns the releases in the output of `releases`; `None` if none is live.
    pub(super) fn parse(output: &str) -> anyhow::Result<Option<Self>> {
        let rows: Vec<ReleaseEntry> =
            serde_json::from_str(output).context("its list of releases is not valid")?;
        let Some(live) = rows.iter().find(|row| row.state == "live").cloned() else { return Ok(None) };
        let is_kept = |row: &&ReleaseEntry| ["previous", "broken"].contains(&row.state.as_str());
        let before = rows.iter().filter(is_kept).filter(|row| row.release < live.release);
        let before = before.max_by_key(|row| row.release).cloned();
        Ok(Some(Self { live, before }))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_before = match (&self.before, &other.before) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        is_same_before && self.live.is_same(&other.live)
    }

    pub(super) fn describe(&self) -> String {
        let of = |row: &ReleaseEntry| format!("{} ({})", short_commit(&row.commit), row.origin);
        let before = self.before.as_ref().map_or_else(|| "nothing".to_owned(), of);
        format!("{} after {before}", of(&self.live))
    }

    /// Returns the turn of the host at this address; `None` if it has no release to go back to.
    pub(super) fn turn(&self, address: Option<String>) -> Option<RollbackTurn> {
        let before = self.before.as_ref()?;
        let commit = before.commit.clone();
        Some(RollbackTurn { address, leaves: self.live.release, returns_to: before.release, commit })
    }

    /// Returns true if the host has rolled back in this turn.
    pub(super) fn is_after(&self, turn: &RollbackTurn) -> bool {
        self.live.release > turn.leaves && self.live.origin == "rollback" && self.live.commit == turn.commit
    }
}

/// Arguments of `releases`.
fn arguments() -> [String; 2] {
    ["--format", "json"].map(str::to_owned)
}

/// Asks a target host for its releases.
pub(super) fn ask_host_releases(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &MachineAddress,
) -> anyhow::Result<EndedSession> {
    let words = request_words(context, "releases", &arguments());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ssh::run_on_host(&machine.name(), machine, to, &words, SessionInput::Nothing, QUERY)
}

/// Reads the releases of this host.
pub(super) fn ask_own_releases(context: &AppContext<'_>) -> anyhow::Result<EndedSession> {
    let mut command = own_command(context, "releases", &arguments());
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let out = out.context("cannot run the script of the verbs")?;
    let answer = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(EndedSession { code: out.status.code().unwrap_or(1), answer, sent: 0, last: String::new() })
}
