//! The record of a verb while hosts execute it: who has answered. If this process is killed, it says what is left.

use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use piku_layout::daemon::wake_daemon;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::settings::MachineAddress;
use piku_report::progress;

use crate::app_context::AppContext;

/// A verb that is written down. The caller holds the lock of the relay.
pub(super) struct NotedVerb<'a> {
    context: &'a AppContext<'a>,
    record: Mutex<UnfinishedVerb>,
}

impl<'a> NotedVerb<'a> {
    /// Writes the verb down, before the first host is asked. If that fails, which is reported, the verb is executed all the
    /// same: it may be the one that makes room on a full disk.
    pub(super) fn begin(context: &'a AppContext<'a>, record: UnfinishedVerb) -> Option<Self> {
        if let Err(err) = record.write(context.root, context.app) {
            progress::warning(&format!("if this is interrupted, nothing finishes it: {err}"));
            return None;
        }
        wake_daemon(context.root);
        Some(Self::resume(context, record))
    }

    /// Goes on with what was written down.
    pub(super) fn resume(context: &'a AppContext<'a>, record: UnfinishedVerb) -> Self {
        Self { context, record: Mutex::new(record) }
    }

    /// Notes that a machine has answered.
    pub(super) fn strike(&self, machine: &MachineAddress) {
        let address = machine.to_string();
        self.change(|record| record.machines.retain(|one| *one != address));
    }

    /// Notes that this host has executed the verb, or has failed to.
    pub(super) fn strike_own(&self) {
        self.change(|record| record.here = false);
    }

    /// Notes that only these machines are left, and this host if `here` is true.
    pub(super) fn leave_only(&self, machines: Vec<String>, here: bool) {
        self.change(|record| {
            record.here = here;
            record.machines = machines;
        });
    }

    /// Removes the record: what has failed is reported.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let Self { context, .. } = self;
        UnfinishedVerb::end(context.root, context.app).context("cannot note the end of the verb")
    }

    /// Writes what is left. If that fails, a host executes the verb a second time after a kill.
    fn change(&self, change: impl FnOnce(&mut UnfinishedVerb)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record);
        let _ = record.write(self.context.root, self.context.app);
    }
}
