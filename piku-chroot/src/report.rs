//! `--report FILE`: what holds in the jail and how it ended, for the caller. Each is a JSON object on a line:
//! the first is written when the command runs, the second at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc::{ENXIO, O_NOCTTY, O_NONBLOCK};
use piku_layout::settings::Protection;
use serde::{Deserialize, Serialize};

use crate::confinement::protections::layer_name;
pub use crate::errors::diagnosis::JailObstacle;
use crate::errors::quoted;

/// Line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum ReportEvent {
    Started(JailStart),
    Ended(JailEnd),
}

/// Protections and limits that hold from the command's first moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailStart {
    /// 1 if the command runs as the caller, 2 if it runs as its own user.
    pub level: u8,
    /// Names of the layers that hold.
    pub layers: Vec<String>,
    /// Layers that this machine lacks.
    pub missing: Vec<MissingLayer>,
    /// The limits of `--limit`, and what enforces each.
    pub limits: Vec<HeldLimit>,
    /// Set if `--scratch` was to make /app writable and this machine cannot mount an overlay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only_app: bool,
}

/// A layer that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingLayer {
    /// Name, as in `--check`.
    pub layer: String,
    /// Cause, as a sentence.
    pub why: String,
    /// Advice to the user.
    #[serde(rename = "mend", default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// A limit of `--limit` that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLimit {
    /// Its name in `--limit`.
    pub limit: String,
    /// Its enforcer.
    pub by: LimitEnforcer,
    /// Reason why no cgroup enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Enforcer of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitEnforcer {
    /// A cgroup, for the jail as a whole.
    Cgroup,
    /// An rlimit, or for processor time a low priority, for each process alone.
    Rlimit,
}

/// Result of a jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailEnd {
    /// Exit code of piku-chroot.
    pub exit_code: u8,
    /// Most memory that the jail used at any time; only a cgroup knows it.
    pub memory_peak_bytes: Option<u64>,
    /// Number of processes that were killed because the jail reached its memory limit.
    pub oom_kills: u64,
    /// The obstacle, if the jail could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<JailObstacle>,
    /// The last lines on the terminal of `--tty`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminal_lines: Vec<String>,
}

impl JailStart {
    /// Returns whether the kernel limits the number of processes for the user in the user namespace, since no cgroup
    /// does for the jail. Such a jail joins no other's namespace.
    #[must_use]
    pub fn counts_processes_by_user(&self) -> bool {
        self.limits.iter().any(|one| one.limit == "pids" && one.by == LimitEnforcer::Rlimit)
    }

    /// Returns the protections that hold. Losing one of them is an error once they are recorded.
    #[must_use]
    pub fn protections(&self) -> Vec<Protection> {
        let holds = |one: &Protection| self.layers.iter().any(|layer| layer == layer_name(*one));
        Protection::ALL.into_iter().filter(holds).collect()
    }

    /// Returns the layer of a protection that does not hold.
    #[must_use]
    pub fn missing(&self, protection: Protection) -> Option<&MissingLayer> {
        self.missing.iter().find(|missing| missing.layer == layer_name(protection))
    }

    /// Returns the level and the missing protections: `level 1, no Landlock`.
    #[must_use]
    pub fn brief_line(&self) -> String {
        let missing = self.missing.iter().map(|missing| format!(", no {}", missing.layer));
        format!("level {}{}", self.level, missing.collect::<String>())
    }

    /// Returns one line for the user: `level 1, namespaces, seccomp, limits by cgroup (memory, pids), no
    /// Landlock`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = vec![format!("level {}", self.level)];
        parts.extend(self.layers.iter().cloned());
        let by_cgroup: Vec<&str> = self
            .limits
            .iter()
            .filter(|held| held.by == LimitEnforcer::Cgroup)
            .map(|held| held.limit.as_str())
            .collect();
        if !by_cgroup.is_empty() {
            parts.push(format!("limits by cgroup ({})", by_cgroup.join(", ")));
        }
        // Limits with the same cause are joined.
        let left: Vec<(&str, &str)> =
            self.limits.iter().filter_map(|held| Some((held.limit.as_str(), held.why.as_deref()?))).collect();
        for (at, (_, why)) in left.iter().enumerate() {
            if left[..at].iter().any(|(_, before)| before == why) {
                continue;
            }
            let same: Vec<&str> =
                left.iter().filter(|(_, other)| other == why).map(|(limit, _)| *limit).collect();
            parts.push(format!("{} by rlimits ({why})", join_words(&same)));
        }
        // The causes are long; `--check` prints them.
        parts.extend(self.missing.iter().map(|missing| format!("no {}", missing.layer)));
        if self.read_only_app {
            parts.push("/app read-only".to_owned());
        }
        parts.join(", ")
    }
}

/// Joins words: `a`, `a and b`, `a, b and c`.
fn join_words(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    }
}

/// Reads a report. Events that are not written yet are `None`.
#[must_use]
pub fn read(path: &Path) -> (Option<JailStart>, Option<JailEnd>) {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

/// Parses the text of a report.
pub(crate) fn parse(text: &str) -> (Option<JailStart>, Option<JailEnd>) {
    let (mut started, mut ended) = (None, None);
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(ReportEvent::Started(event)) => started = Some(event),
            Ok(ReportEvent::Ended(event)) => ended = Some(event),
            // An unfinished line, or an event of a newer version.
            Err(_) => {}
        }
    }
    (started, ended)
}

/// A report that is being written.
#[derive(Debug)]
pub(crate) struct ReportWriter(File);

impl ReportWriter {
    /// Opens the file, before anything else is done.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        // Wait neither for a reader of a fifo nor for a slow one.
        let file = options.custom_flags(O_NONBLOCK | O_NOCTTY).open(path);
        let file = file.map_err(|err| match err.raw_os_error() {
            Some(ENXIO) => io::Error::other("no process reads it"),
            _ => err,
        });
        file.map(Self).with_context(|| format!("--report: cannot write {}", quoted(path)))
    }

    pub(crate) fn write_start(&mut self, started: JailStart) -> io::Result<()> {
        self.write(&ReportEvent::Started(started))
    }

    pub(crate) fn write_end(&mut self, ended: JailEnd) -> io::Result<()> {
        self.write(&ReportEvent::Ended(ended))
    }

    /// Writes whole lines: another process may be reading the file.
    fn write(&mut self, event: &ReportEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(limit: &str, why: Option<&str>) -> HeldLimit {
        let by = if why.is_some() { LimitEnforcer::Rlimit } else { LimitEnforcer::Cgroup };
        HeldLimit { limit: limit.into(), by, why: why.map(str::to_owned) }
    }

    fn started(limits: Vec<HeldLimit>) -> JailStart {
        let missing = vec![MissingLayer { layer: "Landlock".into(), why: "Linux 5.10".into(), fix: None }];
        let layers = vec!["namespaces".into(), "seccomp".into()];
        JailStart { level: 1, layers, missing, limits, read_only_app: false }
    }

    #[test]
    fn one_line_says_who_holds_what() {
        let all = ["memory", "pids", "cpu"];
        assert_eq!(
            started(all.map(|limit| held(limit, None)).into()).line(),
            "level 1, namespaces, seccomp, limits by cgroup (memory, pids, cpu), no Landlock"
        );
        let nofile = HeldLimit { limit: "nofile".into(), by: LimitEnforcer::Rlimit, why: None };
        let mixed = vec![held("memory", Some("no memory controller")), held("pids", None), nofile];
        assert!(
            started(mixed)
                .line()
                .contains("limits by cgroup (pids), memory by rlimits (no memory controller), no"),
        );
        let none = all.map(|limit| held(limit, Some("not delegated"))).into();
        assert!(
            started(none).line().contains("seccomp, memory, pids and cpu by rlimits (not delegated), no")
        );
        assert_eq!(started(Vec::new()).protections(), [Protection::Namespaces, Protection::Seccomp]);
        assert_eq!(started(Vec::new()).line(), "level 1, namespaces, seccomp, no Landlock");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        assert_eq!(read(&path), (None, None));
        let mut report = ReportWriter::open(&path).unwrap();
        let (first, last) = (
            started(vec![held("pids", None)]),
            JailEnd {
                exit_code: 137,
                memory_peak_bytes: Some(5),
                oom_kills: 1,
                obstacle: None,
                terminal_lines: Vec::new(),
            },
        );
        report.write_start(first.clone()).unwrap();
        assert_eq!(read(&path), (Some(first.clone()), None));
        report.write_end(last.clone()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"event":"started","level":1,"layers":["namespaces","#), "{text}");
        assert!(text.contains(r#""limits":[{"limit":"pids","by":"cgroup"}]}"#), "{text}");
        assert!(
            text.ends_with(
                "{\"event\":\"ended\",\"exit_code\":137,\"memory_peak_bytes\":5,\"oom_kills\":1}\n"
            )
        );
        assert_eq!(parse(&text), (Some(first), Some(last)));
        assert_eq!(parse("{\"event\":\"star"), (None, None));
        let refused =
            r#"{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0,"obstacle":"absent"}"#;
        assert_eq!(parse(refused).1.unwrap().obstacle, Some(JailObstacle::Absent));
    }
}
