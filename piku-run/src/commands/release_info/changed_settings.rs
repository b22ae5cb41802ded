//! Differences between the configs of two releases.

use indexmap::IndexMap;
use piku_layout::paths::AppDir;
use piku_procfile::env::EnvFile;
use serde::Serialize;

use crate::config::{ConfigChange, store};

/// A setting that differs. The values are missing unless the operator asked for them: they are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ChangedSetting {
    name: String,
    change: SettingChange,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SettingChange {
    Added,
    Changed,
    Removed,
}

/// Returns what differs from release `old` to release `new`; `None` if one of them has no config of its own.
pub(super) fn compare(
    app: &AppDir,
    old: u64,
    new: u64,
    show: bool,
) -> anyhow::Result<Option<Vec<ChangedSetting>>> {
    let (Some(old), Some(new)) = (store::of_release(app, old)?, store::of_release(app, new)?) else {
        return Ok(None);
    };
    let shown = |value: Option<&str>| value.filter(|_| show).map(str::to_owned);
    let changes = ConfigChange::between(&old, &new).0.into_iter().map(|(name, value)| {
        let change = match (old.get(&name), value) {
            (None, _) => SettingChange::Added,
            (Some(_), Some(_)) => SettingChange::Changed,
            (Some(_), None) => SettingChange::Removed,
        };
        ChangedSetting { old: shown(old.get(&name)), new: shown(new.get(&name)), name, change }
    });
    Ok(Some(changes.collect()))
}

impl ChangedSetting {
    /// Returns the lines of the text form: `+ NAME`, or as a diff if the values are shown.
    pub(super) fn lines(&self) -> Vec<String> {
        let assign = |value: &String| {
            let vars = IndexMap::from([(self.name.clone(), value.clone())]);
            EnvFile { vars, ..EnvFile::default() }.to_text()
        };
        let marked =
            |mark: &str, text: String| text.lines().map(|line| format!("{mark} {line}")).collect::<Vec<_>>();
        if self.old.is_none() && self.new.is_none() {
            let mark = match self.change {
                SettingChange::Added => '+',
                SettingChange::Changed => '~',
                SettingChange::Removed => '-',
            };
            return vec![format!("{mark} {}", self.name)];
        }
        let old = self.old.as_ref().map(|value| marked("-", assign(value)));
        let new = self.new.as_ref().map(|value| marked("+", assign(value)));
        old.into_iter().chain(new).flatten().collect()
    }
}
