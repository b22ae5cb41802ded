//! Changes of settings that machines in `deploy_to` of an app lack, because they were away when the others got them.

#![expect(clippy::disallowed_methods, reason = "a file that only piku writes")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use piku_files::atomic_file;
use serde::{Deserialize, Serialize};

use crate::paths::AppDir;

/// Names of settings with their new values, `None` for removed ones.
pub type SettingChanges = BTreeMap<String, Option<String>>;

/// The file `missed-settings.json` of an app: what each machine lacks, by its address in `deploy_to`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MissedSettings(BTreeMap<String, MachineChanges>);

/// Changes that one machine lacks. Later changes take the place of earlier ones of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineChanges {
    /// Reason for which it lacks them.
    pub reason: MissedChange,
    /// The changes.
    pub changes: SettingChanges,
}

/// Reason for which a machine lacks changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissedChange {
    /// It was away, and gets them when it is back.
    Away,
    /// It has refused them, and gets them after the next change that it accepts.
    Refused,
    /// The verb has not come to it yet. If the verb was killed, it gets them as if it had been away.
    Pending,
}

impl MissedSettings {
    /// Reads the file; nothing is missed without one.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn read(app: &AppDir) -> io::Result<Self> {
        match fs::read(path_of(app)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(err),
        }
    }

    /// Writes the file, or removes it if no machine lacks anything.
    ///
    /// # Errors
    /// Fails if the file cannot be written or removed.
    pub fn write(&self, app: &AppDir) -> io::Result<()> {
        if self.0.is_empty() {
            return match fs::remove_file(path_of(app)) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
        }
        atomic_file::write(&path_of(app), &serde_json::to_vec(self)?, 0o600)
    }

    /// Returns what a machine lacks.
    #[must_use]
    pub fn of(&self, address: &str) -> Option<&MachineChanges> {
        self.0.get(address)
    }

    /// Adds changes that a machine lacks for this reason. One that lacks others already keeps the reason of those.
    pub fn add(&mut self, address: &str, reason: MissedChange, changes: &SettingChanges) {
        let entry = self.0.entry(address.to_owned());
        let entry = entry.or_insert_with(|| MachineChanges { reason, changes: SettingChanges::new() });
        entry.changes.extend(changes.clone());
    }

    /// Replaces what a machine lacks, by nothing if it is `None`.
    pub fn replace(&mut self, address: &str, changes: Option<MachineChanges>) {
        match changes.filter(|one| !one.changes.is_empty()) {
            Some(changes) => self.0.insert(address.to_owned(), changes),
            None => self.0.remove(address),
        };
    }

    /// Notes that a machine has accepted changes. It gets others that it lacks after that.
    pub fn strike(&mut self, address: &str, changes: &SettingChanges) {
        let Some(entry) = self.0.get_mut(address) else { return };
        entry.changes.retain(|name, _| !changes.contains_key(name));
        if entry.reason == MissedChange::Refused {
            entry.reason = MissedChange::Away;
        }
        if entry.changes.is_empty() {
            self.0.remove(address);
        }
    }

    /// Returns the addresses of the machines that get no requests, because they lack changes.
    #[must_use]
    pub fn outdated(&self) -> Vec<String> {
        self.addresses(|reason| reason != MissedChange::Pending)
    }

    /// Returns the addresses of the machines that get their changes as soon as they can be reached.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        self.addresses(|reason| reason != MissedChange::Refused)
    }

    fn addresses(&self, has: impl Fn(MissedChange) -> bool) -> Vec<String> {
        let entries = self.0.iter().filter(|(_, entry)| has(entry.reason));
        entries.map(|(address, _)| address.clone()).collect()
    }
}

fn path_of(app: &AppDir) -> PathBuf {
    app.path().join("missed-settings.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PikuRoot;

    fn changes(names: &str) -> SettingChanges {
        names.split(' ').map(|name| (name.to_owned(), Some("1".to_owned()))).collect()
    }

    #[test]
    fn changes_are_struck_one_by_one_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        fs::create_dir_all(app.path()).unwrap();
        let mut missed = MissedSettings::read(&app).unwrap();
        assert_eq!(missed, MissedSettings::default());
        missed.add("pi-1", MissedChange::Away, &changes("A"));
        missed.add("pi-1", MissedChange::Pending, &changes("B"));
        missed.add("pi-2", MissedChange::Pending, &changes("B"));
        assert_eq!((missed.outdated(), missed.waiting().len()), (vec!["pi-1".to_owned()], 2));
        missed.write(&app).unwrap();
        assert_eq!(MissedSettings::read(&app).unwrap(), missed);
        missed.strike("pi-2", &changes("B"));
        missed.strike("pi-1", &changes("B"));
        assert_eq!((missed.of("pi-2"), &missed.of("pi-1").unwrap().changes), (None, &changes("A")));
        let refused = MachineChanges { reason: MissedChange::Refused, changes: changes("A") };
        missed.replace("pi-1", Some(refused));
        assert!(missed.waiting().is_empty() && missed.outdated().len() == 1);
        missed.strike("pi-1", &changes("C"));
        assert_eq!(missed.waiting(), ["pi-1"], "it accepts changes again");
        missed.replace("pi-1", None);
        missed.write(&app).unwrap();
        assert_eq!(fs::read_dir(app.path()).unwrap().count(), 0);
    }
}
