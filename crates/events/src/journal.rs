//! Events for journald: one structured entry each, as a datagram of journald's native protocol
//! (`systemd.io/JOURNAL_NATIVE_PROTOCOL`). `journalctl PIKU_APP=blog` finds them.
//!
//! A machine without journald, or one whose journal is full, gets none: nothing waits for it and nothing fails.

use std::env;
use std::os::unix::net::UnixDatagram;

use piku_layout::name::AppName;
use piku_report::diagnostic::{readable, shorten_text};

/// Socket of journald.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Environment variable with another socket.
const SOCKET_VARIABLE: &str = "PIKU_JOURNAL_SOCKET";
/// Largest length of a field in characters: a datagram has its limits, and a journal too.
const MAX_LENGTH: usize = 1000;

/// Result of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// A problem has begun.
    Begun,
    /// A problem has ended.
    Ended,
}

impl EventResult {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Begun => "begun",
            Self::Ended => "ended",
        }
    }

    /// Returns the priority of syslog: 4 is a warning, 6 information.
    fn priority(self) -> &'static str {
        match self {
            Self::Done | Self::Ended => "6",
            Self::Failed | Self::Begun => "4",
        }
    }
}

/// An event, as journald gets it.
#[derive(Debug)]
pub struct JournalEvent<'a> {
    /// Name, such as `deploy`, `rollback` or `crash-loop`: `PIKU_EVENT`.
    pub event: &'a str,
    /// `PIKU_RESULT`.
    pub result: EventResult,
    /// `PIKU_APP`.
    pub app: Option<&'a AppName>,
    /// `PIKU_RELEASE`.
    pub release: Option<u64>,
    /// `PIKU_KEY`.
    pub key: Option<&'a str>,
    /// Sentence for people: `MESSAGE`.
    pub message: &'a str,
}

impl JournalEvent<'_> {
    /// Sends the event. It is lost if journald does not take it at once.
    pub fn send(&self) {
        let Ok(socket) = UnixDatagram::unbound() else { return };
        let path = env::var_os(SOCKET_VARIABLE).unwrap_or_else(|| SOCKET.into());
        if socket.set_nonblocking(true).is_ok() {
            // journald may be missing.
            let _ = socket.send_to(self.datagram().as_bytes(), path);
        }
    }

    fn datagram(&self) -> String {
        let release = self.release.map(|number| number.to_string());
        let fields = [
            ("MESSAGE", Some(self.message)),
            ("PRIORITY", Some(self.result.priority())),
            ("SYSLOG_IDENTIFIER", Some("piku")),
            ("PIKU_EVENT", Some(self.event)),
            ("PIKU_RESULT", Some(self.result.name())),
            ("PIKU_APP", self.app.map(AppName::as_str)),
            ("PIKU_RELEASE", release.as_deref()),
            ("PIKU_KEY", self.key),
        ];
        let mut datagram = String::new();
        for (name, value) in fields {
            if let Some(value) = value {
                // A field ends at the newline; `readable` leaves none.
                datagram.extend([name, "=", &shorten_text(&readable(value), MAX_LENGTH), "\n"]);
            }
        }
        datagram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_field() {
        let app = "blog".parse().unwrap();
        let event = JournalEvent {
            event: "deploy",
            result: EventResult::Failed,
            app: Some(&app),
            release: Some(3),
            key: Some("a\nPRIORITY=0"),
            message: &format!("a\r\nPIKU_APP=shop\n\u{1b}[2J{}", "x".repeat(3000)),
        };
        let datagram = event.datagram();
        let lines: Vec<&str> = datagram.split_terminator('\n').collect();
        assert_eq!(lines.len(), 8, "{datagram}");
        assert!(lines[0].starts_with("MESSAGE=a") && lines[0].len() < 1100, "{datagram}");
        assert_eq!(
            lines[1..7],
            [
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=piku",
                "PIKU_EVENT=deploy",
                "PIKU_RESULT=failed",
                "PIKU_APP=blog",
                "PIKU_RELEASE=3"
            ]
        );
        assert_eq!(lines[7], "PIKU_KEY=a PRIORITY=0");
    }
}
