//! Protocol of the sockets: one request, then responses up to `Done`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use piku_layout::name::{AppName, ProcessName};
use piku_report::user_error::{self, BUSY};
use serde::{Deserialize, Serialize};

/// Request to an app's supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum SupervisorRequest {
    /// Makes the release in this directory live and moves it away. With `task`, its release task runs
    /// first. A release made `after` another one, with its own copy of the config, fails if a third one is
    /// live.
    Deploy {
        dir: PathBuf,
        task: bool,
        #[serde(default)]
        after: Option<u64>,
        /// Address at which the client's user reached this machine by ssh.
        #[serde(default)]
        reached_at: Option<IpAddr>,
    },
    /// Replaces all instances, those of one type, or one; runs a cron type now.
    Restart {
        only: Option<ProcessName>,
        #[serde(default)]
        index: Option<u32>,
    },
    /// Sets the number of instances of each type.
    Scale { counts: BTreeMap<ProcessName, u32> },
    /// Stops all instances. With `stay` they stay stopped until a restart or a deploy.
    Stop { stay: bool },
    /// Renders the routing again, after a change of a certificate or the host settings.
    Route,
    /// Returns the state of all instances.
    Ps,
    /// Writes the gathered log lines; with `follow` also each following line at once, until the client
    /// closes the connection.
    Logs { follow: bool },
    /// Ends the supervisor; the instances go on running.
    Leave,
}

/// Response of a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum SupervisorReply {
    /// The request is acknowledged; the client does not repeat it. Sent every few seconds while the request
    /// is in progress.
    Heard,
    /// A step of progress.
    Step { text: String },
    /// A detail of the previous step.
    Detail { text: String },
    /// Data of the response.
    Data { value: serde_json::Value },
    /// Last response, with the error if the request failed.
    Done { error: Option<FailedReply> },
}

/// Error of a request: its exit code, hints, and the last log lines of the failed instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedReply {
    pub(crate) reason: String,
    pub(crate) code: u8,
    pub(crate) hints: Vec<String>,
    pub(crate) tail: Vec<String>,
    /// The conflict for which the request was refused before it began, if any.
    #[serde(default)]
    pub(crate) conflict: Option<ChangeConflict>,
}

impl FailedReply {
    /// Returns the reply to a request that was refused with this error.
    pub(crate) fn refuse(err: &anyhow::Error, app: &AppName) -> Self {
        let conflict = err.downcast_ref::<ChangeConflict>().copied();
        let Some(conflict) = conflict else {
            let (hints, code) = user_error::advice(err);
            return Self { reason: format!("{err:#}"), code, hints, tail: Vec::new(), conflict: None };
        };
        let hints = vec![format!("try again; what is live: piku releases {app}")];
        let reason = format!("{app}: {conflict}");
        Self { reason, code: BUSY, hints, tail: Vec::new(), conflict: Some(conflict) }
    }
}

/// A conflict of a request with another change of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChangeConflict {
    /// Another change is in progress, or the supervisor is ending. The client waits and asks again.
    InProgress,
    /// Another release than the one to replace is live. The client decides again.
    OtherReleaseLive,
}

impl fmt::Display for ChangeConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "another change is in progress",
            Self::OtherReleaseLive => "another release has gone live meanwhile",
        })
    }
}

impl std::error::Error for ChangeConflict {}

/// Request to the daemon. The response is an error text, or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum DaemonRequest {
    /// Runs a supervisor of this app.
    Wake { app: AppName },
    /// Removes the withdrawn directories of an app in the background.
    Remove { withdrawn_of: AppName },
}
