//! The change that a verb makes to the settings, noted for machines that are away. That it begins is written down before
//! this machine's own settings change, and what it has changed before the first machine is asked, so that the daemon
//! also finishes what a kill has interrupted.

use anyhow::Context;
use piku_layout::daemon::wake_daemon;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::missed_settings::{MissedChange, MissedSettings, SettingChanges};
use piku_layout::deploys::unfinished_change::UnfinishedChange;
use piku_layout::settings::MachineAddress;

use super::host_output::HostResult;
use super::own_settings::{SettingValues, changed_settings, read_own_settings};
use crate::app_context::AppContext;

/// A change that is written down and not yet noted for the machines. The caller holds the lock of the relay.
#[must_use]
pub(super) struct BegunChange(UnfinishedChange);

/// A change of this host's settings that all machines are to have. The caller holds the lock of the relay.
pub(super) struct NotedChange {
    changes: SettingChanges,
    /// Changes that the machines lacked before.
    prior: MissedSettings,
}

impl BegunChange {
    /// Writes down that the settings of this host are about to change, which all machines are to get.
    pub(super) fn begin(context: &AppContext<'_>, machines: &[MachineAddress]) -> anyhow::Result<Self> {
        let (before, reason) = (read_own_settings(context)?, MissedChange::Pending);
        let lacks = machines.iter().map(ToString::to_string).collect();
        Self::write(context, UnfinishedChange { before, lacks, reason, has: Vec::new() })
    }

    /// Writes down the same about a change from `before` that some machines have already, and that `lacks` are to get.
    pub(super) fn begin_followed(
        context: &AppContext<'_>,
        before: SettingValues,
        has: Vec<String>,
        lacks: Vec<String>,
    ) -> anyhow::Result<Self> {
        Self::write(context, UnfinishedChange { before, lacks, reason: MissedChange::Away, has })
    }

    fn write(context: &AppContext<'_>, change: UnfinishedChange) -> anyhow::Result<Self> {
        change.write(context.root, context.app).context("cannot note that the settings change")?;
        wake_daemon(context.root);
        Ok(Self(change))
    }

    /// Notes for each machine what has changed here.
    pub(super) fn note(self, context: &AppContext<'_>) -> anyhow::Result<NotedChange> {
        let Self(change) = self;
        let prior = read_missed(context)?;
        // The settings of an app that was destroyed meanwhile have not changed.
        let changes = if context.dir().is_there() {
            changed_settings(&change.before, &read_own_settings(context)?)
        } else {
            SettingChanges::new()
        };
        if !changes.is_empty() {
            let mut missed = prior.clone();
            change.has.iter().for_each(|address| missed.strike(address, &changes));
            change.lacks.iter().for_each(|address| missed.add(address, change.reason, &changes));
            write_missed(context, &missed)?;
        }
        // Until here, what a kill leaves is noted again.
        UnfinishedChange::end(context.root, context.app)
            .context("cannot note that the settings have changed")?;
        Ok(NotedChange { changes, prior })
    }
}

/// Notes a change that a kill has interrupted after it began here. The caller holds the lock of the relay.
pub(crate) fn note_killed_change(context: &AppContext<'_>) -> anyhow::Result<()> {
    let change = UnfinishedChange::read(context.root, context.app);
    match change.context("cannot read which change of the settings was interrupted")? {
        Some(change) => BegunChange(change).note(context).map(drop),
        None => Ok(()),
    }
}

impl NotedChange {
    /// Returns true if a machine that is away gets the change later.
    pub(super) fn is_remembered(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Leaves the change to those machines that are away. Those that have refused it, or were not asked after that, are
    /// as before. `results` are those of the first machines.
    pub(super) fn finish(
        self,
        context: &AppContext<'_>,
        machines: &[MachineAddress],
        results: &[HostResult],
    ) -> anyhow::Result<()> {
        let mut missed = read_missed(context)?;
        for (at, machine) in machines.iter().enumerate() {
            let address = machine.to_string();
            match results.get(at) {
                Some(result) if result.failure.is_none() => missed.strike(&address, &self.changes),
                Some(result) if result.is_away => {
                    missed.replace(&address, self.prior.of(&address).cloned());
                    missed.add(&address, MissedChange::Away, &self.changes);
                }
                _ => missed.replace(&address, self.prior.of(&address).cloned()),
            }
        }
        write_missed(context, &missed)
    }
}

fn read_missed(context: &AppContext<'_>) -> anyhow::Result<MissedSettings> {
    MissedSettings::read(&context.dir()).context("cannot read what machines lack")
}

/// Writes what machines lack, and has the daemon look for them.
fn write_missed(context: &AppContext<'_>, missed: &MissedSettings) -> anyhow::Result<()> {
    missed.write(&context.dir()).context("cannot note what machines lack")?;
    if !missed.waiting().is_empty() {
        wake_daemon(context.root);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use piku_layout::paths::PikuRoot;

    /// Calls `check` with an app whose settings a script reads from the file `settings` in the directory.
    fn with_app(check: impl Fn(&AppContext<'_>, &dyn Fn(&str))) {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().join("root"))).unwrap();
        let (app, scripts) = ("blog".parse().unwrap(), dir.path());
        let context = AppContext { root: &root, scripts, app: &app, key: "alice" };
        fs::create_dir_all(context.dir().repo()).unwrap();
        let script = scripts.join("piku");
        fs::write(&script, "#!/bin/sh\ncat \"${0%/*}/settings\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let set = |text: &str| fs::write(Path::new(scripts).join("settings"), text).unwrap();
        set(r#"{"A":"1"}"#);
        check(&context, &set);
    }

    fn lacked(context: &AppContext<'_>) -> Vec<String> {
        let missed = read_missed(context).unwrap();
        let names = |address: &String| {
            let lacks: Vec<_> = missed.of(address).unwrap().changes.keys().cloned().collect();
            format!("{address} {}", lacks.join(" "))
        };
        missed.waiting().iter().map(names).collect()
    }

    #[test]
    fn a_kill_at_any_instant_leaves_what_machines_lack() {
        let machines: Vec<MachineAddress> = ["pi-1", "pi-2"].map(|name| name.parse().unwrap()).to_vec();
        with_app(|context, set| {
            let begin = || BegunChange::begin(context, &machines).unwrap();
            // Before the change.
            let _ = begin();
            note_killed_change(context).unwrap();
            assert!(lacked(context).is_empty());
            // Before the note.
            let _ = begin();
            set(r#"{"A":"2"}"#);
            note_killed_change(context).unwrap();
            assert_eq!(lacked(context), ["pi-1 A", "pi-2 A"]);
            // In the midst of the note: it is noted, and still begun.
            let BegunChange(change) = begin();
            set(r#"{"A":"2","B":"1"}"#);
            let noted = BegunChange(change.clone()).note(context).unwrap();
            assert!(noted.is_remembered());
            change.write(context.root, context.app).unwrap();
            note_killed_change(context).unwrap();
            assert_eq!(lacked(context), ["pi-1 A B", "pi-2 A B"]);
            assert!(!UnfinishedChange::is_there(context.root, context.app));
            // After it, what was killed is not noted again.
            note_killed_change(context).unwrap();
            assert_eq!(lacked(context).len(), 2);
        });
    }

    #[test]
    fn a_change_that_some_have_is_struck_for_them() {
        with_app(|context, set| {
            let before = read_own_settings(context).unwrap();
            let [has, lacks] = ["pi-1", "pi-2"].map(|name| vec![name.to_owned()]);
            let mut missed = MissedSettings::default();
            missed.add("pi-1", MissedChange::Away, &changed_settings(&before, &SettingValues::new()));
            write_missed(context, &missed).unwrap();
            let _ = BegunChange::begin_followed(context, before, has, lacks).unwrap();
            set(r#"{"A":"3"}"#);
            note_killed_change(context).unwrap();
            assert_eq!(lacked(context), ["pi-2 A"]);
            assert_eq!(read_missed(context).unwrap().outdated(), ["pi-2"]);
        });
    }
}
