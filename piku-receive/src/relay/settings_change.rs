//! The change that a verb makes to the settings, noted for machines that are away: it is written down before the first
//! machine is asked, so that the daemon also finishes what a kill has interrupted.

use anyhow::Context;
use piku_layout::daemon::wake_daemon;
use piku_layout::deploys::missed_settings::{MissedChange, MissedSettings, SettingChanges};
use piku_layout::settings::MachineAddress;

use super::host_output::HostResult;
use super::own_settings::{SettingValues, changed_settings, read_own_settings};
use crate::app_context::AppContext;

/// The settings of this host before the verb changes them.
pub(super) struct SettingsBefore(SettingValues);

/// A change of this host's settings that all machines are to have. The caller holds the lock of the relay.
pub(super) struct NotedChange {
    changes: SettingChanges,
    /// Changes that the machines lacked before.
    prior: MissedSettings,
}

impl SettingsBefore {
    pub(super) fn read(context: &AppContext<'_>) -> anyhow::Result<Self> {
        read_own_settings(context).map(Self)
    }

    /// Notes for each machine what has changed here.
    pub(super) fn note(
        self,
        context: &AppContext<'_>,
        machines: &[MachineAddress],
    ) -> anyhow::Result<NotedChange> {
        let changes = changed_settings(&self.0, &read_own_settings(context)?);
        let prior = read_missed(context)?;
        let mut missed = prior.clone();
        for machine in machines.iter().filter(|_| !changes.is_empty()) {
            missed.add(&machine.to_string(), MissedChange::Pending, &changes);
        }
        write_missed(context, &missed)?;
        Ok(NotedChange { changes, prior })
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

/// Notes changes that machines have, or lack because they were away.
pub(super) fn note_followed(
    context: &AppContext<'_>,
    changes: &SettingChanges,
    has: impl Iterator<Item = String>,
    lacks: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut missed = read_missed(context)?;
    has.for_each(|address| missed.strike(&address, changes));
    lacks.for_each(|address| missed.add(&address, MissedChange::Away, changes));
    write_missed(context, &missed)
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
