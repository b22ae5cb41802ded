//! The end of changes of several hosts that were killed, before a push or another deploy.

use std::time::Duration;

use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::unfinished_rollback::UnfinishedRollback;
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::settings::HostSettings;
use piku_report::user_error::{BUSY, advice};

use super::killed_verb::NextChange;
use super::relay_order::RelayOrder;
use super::rollback_run::AbsentHosts;
use super::{killed_rollback, killed_verb};
use crate::app_context::AppContext;
use crate::child_env;

/// Finishes what was killed before a push or another deploy begins. The caller does not hold the app's lock. What fails is
/// reported: the machines get the new release.
pub(crate) fn finish_before_deploy(context: &AppContext<'_>) -> anyhow::Result<()> {
    let is_rollback = UnfinishedRollback::is_there(context.root, context.app);
    if !is_rollback && !UnfinishedVerb::is_there(context.root, context.app) {
        return Ok(());
    }
    child_env::refuse_root(context.root)?;
    // A verb that runs is not finished here: it may be the `restore` to which this deploy belongs.
    let patience = if is_rollback { None } else { Some(Duration::ZERO) };
    let order = match RelayOrder::wait(context, context.key, patience) {
        Err(err) if !is_rollback && advice(&err).1 == BUSY => return Ok(()),
        order => order?,
    };
    let mut settings = HostSettings::read(&context.root.settings())?;
    let to = settings.deploy_to.remove(context.app).unwrap_or_default();
    killed_verb::finish_before(context, &to, &order, NextChange::Deploy)?;
    killed_rollback::finish(context, &to, &order, AbsentHosts::Reported).map(drop)
}
