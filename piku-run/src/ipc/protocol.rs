//! Protocol of the sockets: one request, then responses up to `Done`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use piku_layout::name::{AppName, ProcessName};
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
}

/// Request to the daemon to run a supervisor of this app. The response is an error text, or empty if one
/// runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeRequest {
    pub(crate) app: AppName,
}
