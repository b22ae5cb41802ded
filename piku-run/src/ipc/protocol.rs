//! What is said over the sockets: one request, then answers until the last, `Done`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use piku_layout::name::{AppName, ProcessName};
use serde::{Deserialize, Serialize};

/// Asked of an app's supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum SupervisorRequest {
    /// Makes the release in this folder the live one; the folder is moved away. With `task` its release task runs first.
    /// One that was made `after` another, and says itself what configuration it runs with, takes the place of no third one.
    Deploy {
        dir: PathBuf,
        task: bool,
        #[serde(default)]
        after: Option<u64>,
    },
    /// Replaces all instances, or those of one type.
    Restart { only: Option<ProcessName> },
    /// Sets how many there should be.
    Scale { counts: BTreeMap<ProcessName, u32> },
    /// Ends all. With `stay` they stay ended until somebody starts them.
    Stop { stay: bool },
    /// Sends requests where they are to go, as what says so is now: a certificate, a setting of this machine.
    Route,
    /// Tells what runs.
    Ps,
    /// Has all that was gathered of the logs written; with `follow` also what comes from here on, at once, until the client goes.
    Logs { follow: bool },
    /// Makes the supervisor end; what runs goes on.
    Leave,
}

/// Said by a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum SupervisorReply {
    /// The request was understood; from here on it is not asked again. Said anew every few seconds as long as it is worked on.
    Heard,
    /// A step of the work.
    Step { text: String },
    /// A detail of the step before.
    Detail { text: String },
    /// What was asked for.
    Data { value: serde_json::Value },
    /// The end. An error with the exit code it deserves, hints, and the last lines of the log that tells more.
    Done { error: Option<FailedReply> },
}

/// How it went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedReply {
    pub(crate) reason: String,
    pub(crate) code: u8,
    pub(crate) hints: Vec<String>,
    pub(crate) tail: Vec<String>,
}

/// Asked of the daemon: a supervisor for this app. Answered by an error's text, or nothing when there is one now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeRequest {
    pub(crate) app: AppName,
}
