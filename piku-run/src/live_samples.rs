//! The instances of an app, as what runs it reports them.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use crate::app_request;
use crate::desired::resting_app;
use crate::ipc::client::{self, AskPatience};
use crate::ipc::protocol::SupervisorRequest;
use crate::samples::InstanceSample;

/// Returns the instances of an app.
pub(crate) fn samples_of(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<InstanceSample>> {
    let dir = root.app(app);
    let is_silent = dir.is_stopped() || dir.current_number().is_none();
    if is_silent && !client::is_supervised(root, app) || resting_app::is_resting(root, app) {
        let stopped = resting_app::empty_slots(root, app)?;
        // Do not start a supervisor only to learn that nothing runs.
        return if dir.is_in_cluster() { with_left_pods(root, app, stopped) } else { Ok(stopped) };
    }
    let value = app_request::ask_within(root, app, &SupervisorRequest::Ps, AskPatience::LOOK)?
        .context("the supervisor has no answer")?;
    serde_json::from_value(value).context("cannot understand the supervisor")
}

/// Returns the pods that a stopped app still has in its cluster, as after a stop that has failed half way, and the rows
/// of the other types.
///
/// # Errors
/// Fails if the cluster cannot be asked: pods of the app may run.
fn with_left_pods(
    root: &PikuRoot,
    app: &AppName,
    mut stopped: Vec<InstanceSample>,
) -> anyhow::Result<Vec<InstanceSample>> {
    let value = app_request::ask_within(root, app, &SupervisorRequest::Ps, AskPatience::LOOK)?
        .context("the cluster has no answer")?;
    let mut rows: Vec<InstanceSample> =
        serde_json::from_value(value).context("cannot understand the cluster")?;
    stopped.retain(|one| !rows.iter().any(|row| row.kind == one.kind));
    rows.extend(stopped);
    Ok(rows)
}
