//! Reader of the audit log and its old ones.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::diagnostic::readable;
use serde::Serialize;

use super::open_logs;
use crate::actor::OPERATOR;

/// A line of the audit log, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// Time at which the request ended.
    pub at: Timestamp,
    /// Name of the key, of a process of piku, or `operator`.
    pub key: String,
    /// The verb, as it was typed.
    pub verb: String,
    /// The app, if the verb has one.
    pub app: Option<String>,
    /// Result.
    pub outcome: String,
}

impl AuditRecord {
    /// Parses a line; `None` for one that a power cut has damaged.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let at = words.next()?.parse().ok()?;
        let mut word = || words.next().filter(|word| !word.is_empty()).map(readable);
        let (key, verb, app, outcome) = (word()?, word()?, word()?, word()?);
        Some(Self { at, key, verb, app: Some(app).filter(|app| app != "-"), outcome })
    }
}

/// Conditions for lines of the audit log.
#[derive(Debug, Default)]
pub struct AuditQuery {
    /// Only this app.
    pub app: Option<AppName>,
    /// Only lines of these apps, to which the scope of the caller is limited; `None` for no limit.
    pub scope: Option<BTreeSet<String>>,
    /// Only this key; `operator` means all operators.
    pub key: Option<String>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Largest number of lines, the newest; `None` for all.
    pub last: Option<usize>,
}

impl AuditQuery {
    fn matches(&self, record: &AuditRecord) -> bool {
        let is_app = self.app.as_ref().is_none_or(|app| record.app.as_deref() == Some(app.as_str()));
        let in_scope = self
            .scope
            .as_ref()
            .is_none_or(|scope| record.app.as_ref().is_some_and(|app| scope.contains(app)));
        let is_key = self.key.as_ref().is_none_or(|key| {
            record.key == *key || (key == OPERATOR && record.key.split(':').next() == Some(OPERATOR))
        });
        is_app && in_scope && is_key && self.since.is_none_or(|since| record.at >= since)
    }

    /// Reads the matching lines, oldest first.
    ///
    /// # Errors
    /// Fails if a log cannot be read. A log that does not exist has no lines.
    pub fn read(&self, root: &PikuRoot) -> anyhow::Result<Vec<AuditRecord>> {
        let path = root.audit_log();
        let most = self.last.unwrap_or(usize::MAX);
        let cannot = || format!("cannot read '{}'", path.display());
        let (first, old) = open_logs(&path).with_context(cannot)?;
        let (mut first, mut old) = (first, old.into_iter());
        let mut found = Vec::new();
        loop {
            let mut text = Vec::new();
            let read = if let Some(mut log) = first.take() {
                log.read_to_end(&mut text)
            } else if let Some(mut log) = old.next() {
                log.read_to_end(&mut text)
            } else {
                break;
            };
            read.with_context(cannot)?;
            let text = String::from_utf8_lossy(&text);
            let records = text.lines().rev().filter_map(AuditRecord::parse);
            found.extend(records.filter(|record| self.matches(record)).take(most - found.len()));
            if found.len() == most {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn root_with(logs: &[(&str, &str)]) -> (tempfile::TempDir, PikuRoot) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in logs {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        (dir, root)
    }

    #[test]
    fn the_newest_matching_lines_are_found_in_all_logs() {
        let (_dir, root) = root_with(&[
            (
                "audit.log.1",
                "2026-01-01T00:00:00Z alice push blog deployed 1\n2026-01-02T00:00:00Z bob ps - exit 0\n",
            ),
            (
                "audit.log",
                "2026-01-03T00:00:00Z operator:rui stop blog exit 0\ndamaged\n2026-01-04T00:00:00Z alice push \
                 shop refused: a b\n\n2026-01-05T00:00:00Z ali",
            ),
        ]);
        let read = |query: &AuditQuery| -> Vec<String> {
            query.read(&root).unwrap().iter().map(|one| format!("{} {}", one.key, one.verb)).collect()
        };
        let all = AuditQuery::default();
        assert_eq!(read(&all), ["alice push", "bob ps", "operator:rui stop", "alice push"]);
        assert_eq!(all.read(&root).unwrap()[3].outcome, "refused: a b");
        assert_eq!(all.read(&root).unwrap()[1].app, None);
        let query = |change: &dyn Fn(&mut AuditQuery)| {
            let mut query = AuditQuery::default();
            change(&mut query);
            read(&query)
        };
        assert_eq!(query(&|q| q.last = Some(3)), ["bob ps", "operator:rui stop", "alice push"]);
        assert_eq!(query(&|q| q.last = Some(0)), [""; 0]);
        assert_eq!(query(&|q| q.key = Some("operator".into())), ["operator:rui stop"]);
        assert_eq!(query(&|q| q.key = Some("ali".into())), [""; 0]);
        assert_eq!(query(&|q| q.app = Some("blog".parse().unwrap())), ["alice push", "operator:rui stop"]);
        assert_eq!(
            query(&|q| q.since = Some("2026-01-02T00:00:01Z".parse().unwrap())),
            ["operator:rui stop", "alice push"]
        );
        let scope = |apps: &[&str]| Some(apps.iter().map(|app| (*app).to_owned()).collect());
        assert_eq!(query(&|q| q.scope = scope(&["shop"])), ["alice push"]);
        assert_eq!(query(&|q| q.scope = scope(&[])), [""; 0], "lines without an app are of no limited key");
    }

    #[test]
    fn control_characters_of_a_log_are_not_printed() {
        let (_dir, root) =
            root_with(&[("audit.log", "2026-01-01T00:00:00Z a\x1b[2J push - b\x07\x1b]0;x\n")]);
        let found = AuditQuery::default().read(&root).unwrap();
        assert!(found.iter().all(|one| !format!("{}{}", one.key, one.outcome).contains(char::is_control)));
        assert_eq!(found.len(), 1);
        let json = serde_json::to_value(&found[0]).unwrap();
        assert_eq!((&json["at"], &json["app"]), (&"2026-01-01T00:00:00Z".into(), &serde_json::Value::Null));
    }
}
