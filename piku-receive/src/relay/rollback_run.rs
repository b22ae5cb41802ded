//! The turns of a rollback of all hosts of an app. They are written down before the first host changes, and struck one
//! by one, so that a rollback which is killed can be finished.

use std::cell::Cell;
use std::process::Stdio;

use anyhow::{Context, anyhow};
use piku_files::FileLock;
use piku_layout::daemon::wake_daemon;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::unfinished_rollback::{RollbackTurn, SettingsBefore, UnfinishedRollback};
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;

use super::host_output::OWN_NAME;
use super::host_request::change_limit;
use super::own_settings::{follow_settings, read_settings};
use super::plan::ssh_line;
use super::relay_order::RelayOrder;
use super::{lock_app, own_command, request_words};
use crate::app_context::AppContext;
use crate::distribute::front::{self, HostChange};
use crate::distribute::missed;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::{self, SessionInput};

/// Treatment of hosts that are away, or whose app is being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AbsentHosts {
    /// They are reported, with the command that rolls them back, and keep what they have.
    Reported,
    /// Their turn comes when they are back.
    Awaited,
}

/// State of a host when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostState {
    /// The release to be left.
    Due,
    /// The release before, by this rollback.
    IsBack,
    /// Another release, which is not to be left.
    Changed,
    /// It did not tell.
    Unknown(TurnFailure),
}

/// The reason for which a host has not rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TurnFailure {
    pub(super) why: String,
    pub(super) kind: SessionFailureKind,
}

impl TurnFailure {
    pub(super) fn failed(why: String) -> Self {
        Self { why, kind: SessionFailureKind::Failed }
    }

    /// Returns true if the host may roll back later.
    pub(super) fn is_absence(&self) -> bool {
        self.kind != SessionFailureKind::Failed
    }
}

impl From<SessionFailure> for TurnFailure {
    fn from(failure: SessionFailure) -> Self {
        Self { why: failure.why, kind: failure.kind }
    }
}

/// The host of a turn.
#[derive(Debug, Clone, Copy)]
enum TurnHost<'a> {
    /// This host.
    Own,
    Target(&'a MachineAddress),
}

impl<'a> TurnHost<'a> {
    fn name(self) -> String {
        self.machine().map_or_else(|| OWN_NAME.to_owned(), MachineAddress::name)
    }

    fn machine(self) -> Option<&'a MachineAddress> {
        match self {
            Self::Own => None,
            Self::Target(machine) => Some(machine),
        }
    }
}

/// A rollback that is written down. The caller holds the lock of the relay.
pub(super) struct RollbackRun<'a> {
    context: &'a AppContext<'a>,
    to: &'a DeployTo,
    order: &'a RelayOrder,
    /// The lock of the app, but while this host rolls back.
    lock: Option<FileLock>,
    record: UnfinishedRollback,
    absent: AbsentHosts,
}

impl<'a> RollbackRun<'a> {
    /// Writes the turns down.
    pub(super) fn begin(
        context: &'a AppContext<'a>,
        to: &'a DeployTo,
        order: &'a RelayOrder,
        lock: Option<FileLock>,
        record: UnfinishedRollback,
    ) -> anyhow::Result<Self> {
        let run = Self { context, to, order, lock, record, absent: AbsentHosts::Reported };
        run.write()?;
        wake_daemon(context.root);
        Ok(run)
    }

    /// Goes on with what was written down.
    pub(super) fn resume(
        context: &'a AppContext<'a>,
        to: &'a DeployTo,
        order: &'a RelayOrder,
        record: UnfinishedRollback,
        absent: AbsentHosts,
    ) -> anyhow::Result<Self> {
        Ok(Self { context, to, order, lock: lock_app(context)?, record, absent })
    }

    /// Takes all turns, until a host that could be reached fails. Returns true if a host has not rolled back.
    pub(super) fn run(mut self, state: impl Fn(&RollbackTurn) -> HostState) -> anyhow::Result<bool> {
        let turns = self.record.turns.clone();
        let has_it = |address: &str| turns.iter().any(|turn| turn.address.as_deref() == Some(address));
        let is_current =
            |address: &str| has_it(address) || self.record.current.iter().any(|it| it == address);
        missed::withdraw(self.context, self.to, is_current)?;
        let mut change = if self.record.is_same_commit { HostChange::Restart } else { HostChange::Rollback };
        let mut has_failed = false;
        for (at, turn) in turns.iter().enumerate() {
            let Some(host) = self.host(turn) else {
                self.strike(turn);
                continue;
            };
            let (name, machine) = (host.name(), host.machine());
            let failure = match state(turn) {
                HostState::Due => self.take_turn(turn, machine, change, false)?,
                HostState::IsBack => self.take_turn(turn, machine, change, true)?,
                HostState::Unknown(failure) => Some(failure),
                HostState::Changed => {
                    progress::step(&format!("{name} has another release by now, and is left as it is"));
                    self.strike(turn);
                    continue;
                }
            };
            let Some(failure) = failure else {
                // The settings of the front have gone back with the first one.
                change = HostChange::Restart;
                has_failed |= !self.follow_settings(machine);
                self.strike(turn);
                continue;
            };
            if self.absent == AbsentHosts::Awaited && failure.is_absence() {
                progress::error(&format!("{name}: {}; it rolls back when it is back", failure.why));
                continue;
            }
            has_failed = true;
            let is_reached = !matches!(failure.kind, SessionFailureKind::Away | SessionFailureKind::NoAccess);
            let left = if is_reached { &turns[at..] } else { &turns[at..=at] };
            self.report_left(&name, &failure.why, left);
            self.strike(turn);
            if is_reached {
                self.record.turns.clear();
                break;
            }
        }
        self.write()?;
        Ok(has_failed)
    }

    /// Returns the host of a turn; `None` if `host.yaml` does not name it any more.
    fn host(&self, turn: &RollbackTurn) -> Option<TurnHost<'a>> {
        match &turn.address {
            None => self.to.here.then_some(TurnHost::Own),
            Some(address) => {
                self.to.machines.iter().find(|one| one.to_string() == *address).map(TurnHost::Target)
            }
        }
    }

    /// Rolls a host back, unless it `is_back`, and puts it back at the front. Returns why that has failed.
    fn take_turn(
        &mut self,
        turn: &RollbackTurn,
        machine: Option<&MachineAddress>,
        change: HostChange,
        is_back: bool,
    ) -> anyhow::Result<Option<TurnFailure>> {
        let Some(machine) = machine else {
            if is_back {
                return Ok(None);
            }
            // The own command takes it itself.
            drop(self.lock.take());
            let mut command = own_command(self.context, "rollback", &[turn.returns_to.to_string()]);
            let status = command.stdin(Stdio::null()).status();
            let status = status.context("cannot run the script of the verbs")?;
            if !status.success() {
                return Ok(Some(TurnFailure::failed("failed".to_owned())));
            }
            self.lock = lock_app(self.context)?;
            return Ok(None);
        };
        if !is_back {
            self.note_settings(machine)?;
        }
        let kind = Cell::new(SessionFailureKind::Failed);
        let (failure, _) = front::change_drained(self.context, self.to, &machine.name(), change, || {
            let failure = if is_back { None } else { self.roll_back(turn, machine) };
            let Some(failure) = failure else { return (None, true) };
            kind.set(failure.kind);
            (Some(failure.why), true)
        });
        Ok(failure.map(|why| TurnFailure { why, kind: kind.get() }))
    }

    fn roll_back(&self, turn: &RollbackTurn, machine: &MachineAddress) -> Option<TurnFailure> {
        let words = request_words(self.context, "rollback", &[turn.returns_to.to_string()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let limit = change_limit(self.to);
        match ssh::run_on_host(&machine.name(), machine, self.to, &words, SessionInput::Nothing, limit) {
            Ok(ended) => SessionFailure::of(&ended, Some(machine), self.to).map(TurnFailure::from),
            Err(err) => Some(TurnFailure::failed(format!("{err:#}"))),
        }
    }

    /// Writes down the settings of a machine before its rollback, if those of this host are to follow it.
    fn note_settings(&mut self, machine: &MachineAddress) -> anyhow::Result<()> {
        let address = machine.to_string();
        let is_known = self.record.settings.as_ref().is_some_and(|known| known.address == address);
        if !self.record.follows_settings || is_known {
            return Ok(());
        }
        match read_settings(self.context, self.to, machine) {
            Ok(values) => {
                self.record.settings = Some(SettingsBefore { address, values });
                self.write()
            }
            Err(err) => {
                progress::error(&format!("cannot read the settings of {}: {err:#}", machine.name()));
                self.record.settings = None;
                Ok(())
            }
        }
    }

    /// Changes the settings of this host as the rollback has changed those of the machine. Returns false if that has
    /// failed.
    fn follow_settings(&mut self, machine: Option<&MachineAddress>) -> bool {
        let Some(machine) = machine.filter(|_| self.record.follows_settings) else { return true };
        let address = machine.to_string();
        let before = self.record.settings.take().filter(|known| known.address == address);
        let before = before.ok_or_else(|| anyhow!("those of {} are not known", machine.name()));
        let has = self.record.turns.iter().filter_map(|turn| turn.address.clone()).collect();
        let others = (has, self.record.unknown.clone());
        let followed = before.and_then(|before| {
            follow_settings(self.context, self.to, machine, self.order, &before.values, others)
        });
        self.record.follows_settings = false;
        let Err(err) = followed else { return true };
        progress::error(&format!("the settings for builds on this machine are as before: {err:#}"));
        progress::detail(&format!("piku config {} shows them", self.context.app));
        false
    }

    /// Notes that a turn is over. If that fails, for example on a full disk, the host itself tells what it has.
    fn strike(&mut self, turn: &RollbackTurn) {
        self.record.turns.retain(|one| one != turn);
        let _ = self.write();
    }

    fn write(&self) -> anyhow::Result<()> {
        let written = self.record.write(self.context.root, self.context.app);
        written.context("cannot note which machines roll back")
    }

    /// Reports a host that has failed, and those that are left as they are because of it.
    fn report_left(&self, name: &str, why: &str, left: &[RollbackTurn]) {
        progress::error(&format!("{name}: {why}"));
        let left: Vec<_> = left.iter().filter_map(|turn| Some((turn, self.host(turn)?))).collect();
        let names: Vec<_> = left.iter().map(|(_, host)| host.name()).collect();
        progress::error(&format!("{} is not rolled back on {}", self.context.app, names.join(", ")));
        for (turn, host) in left {
            let command = format!("rollback {} {}", self.context.app, turn.returns_to);
            let line = match host {
                TurnHost::Own => format!("PIKU_HERE=1 piku {command}"),
                TurnHost::Target(machine) => format!("{} {command}", ssh_line(self.to, machine)),
            };
            progress::detail(&format!("there: {line}"));
        }
    }
}
