//! The record of a verb that changes something: an event for journald, and a line of the audit log unless the
//! session of a key writes it.

#![expect(clippy::disallowed_methods, reason = "the owner of the root directory")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use nix::unistd::geteuid;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error;

use crate::actor;
use crate::audit::{self, AuditedAction};
use crate::journal::{EventResult, JournalEvent};

/// Verbs whose beginning is recorded. This process becomes the program of `service:console`, so that its end is not.
const BEGUN_VERBS: [&str; 10] = [
    "data:import",
    "data:remove",
    "destroy",
    "import-piku",
    "rename",
    "restore",
    "service:console",
    "service:destroy",
    "service:drop",
    "service:restore",
];

/// A verb that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedVerb {
    /// Name, as `piku help` lists it.
    pub verb: &'static str,
    /// The app, if the verb has one.
    pub app: Option<AppName>,
    /// Name of the one who acts, if it is known better than from the environment.
    pub by: Option<String>,
    /// The verb is an event for journald too.
    pub is_event: bool,
}

impl RecordedVerb {
    /// Creates the record of a verb that is an event for journald, too.
    #[must_use]
    pub fn new(verb: &'static str, app: Option<AppName>) -> Self {
        Self { verb, app, by: None, is_event: true }
    }

    /// Returns whether the verb changes so much that its beginning is recorded too: a power cut or a kill could leave
    /// a part of the change, and no line of its end.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        BEGUN_VERBS.contains(&self.verb)
    }

    /// Records that the verb begins, in the session of a key too: a kill may end the session with it.
    pub fn begin(&self, root: &PikuRoot) {
        if is_own(root) {
            self.append_to_log(root, &self.actor(), "started");
        }
    }

    /// Records how the verb has ended.
    pub fn finish(&self, root: &PikuRoot, end: &anyhow::Result<ExitCode>) {
        let code = match end {
            Ok(code) => exit_number(*code),
            Err(err) => user_error::advice(err).1,
        };
        let by = self.actor();
        self.append_line(root, &by, &format!("exit {code}"));
        if self.is_event {
            self.send_event(root, &by, code);
        }
    }

    fn actor(&self) -> String {
        self.by.clone().unwrap_or_else(actor::actor_name)
    }

    /// Appends a line to the audit log, unless the session of a key does.
    fn append_line(&self, root: &PikuRoot, by: &str, outcome: &str) {
        if actor::calling_key().is_none() && is_own(root) {
            self.append_to_log(root, by, outcome);
        }
    }

    fn append_to_log(&self, root: &PikuRoot, by: &str, outcome: &str) {
        let app = self.app.as_ref().map(AppName::as_str);
        audit::append_action(root, &AuditedAction { key: by, verb: self.verb, app, outcome });
    }

    fn send_event(&self, root: &PikuRoot, by: &str, code: u8) {
        let release = self.app.as_ref().and_then(|app| root.app(app).current_number());
        let (result, end) = match code {
            0 => (EventResult::Done, String::new()),
            code => (EventResult::Failed, format!(" failed with exit code {code}")),
        };
        let place = self.app.as_ref().map_or_else(String::new, |app| format!("{app}: "));
        JournalEvent {
            event: self.verb,
            result,
            app: self.app.as_ref(),
            release,
            key: Some(by),
            message: &format!("{place}{} by {by}{end}", self.verb),
        }
        .send();
    }
}

/// Returns whether the root belongs to the user of this process: another's log would not be writable for its owner
/// afterwards.
fn is_own(root: &PikuRoot) -> bool {
    fs::metadata(root.path()).is_ok_and(|about| about.uid() == geteuid().as_raw())
}

/// Returns the number of an exit code, which the standard library does not tell.
fn exit_number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_without_a_recorded_end_has_a_beginning() {
        for (verb, is_begun) in [("service:console", true), ("destroy", true), ("stop", false)] {
            assert_eq!(RecordedVerb::new(verb, None).is_begun(), is_begun, "{verb}");
        }
    }

    #[test]
    fn exit_codes_have_numbers() {
        for number in [0, 1, 75, 255] {
            assert_eq!(exit_number(ExitCode::from(number)), number);
        }
    }
}
