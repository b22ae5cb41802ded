//! Requests to what runs an app: its supervisor, or the cluster in which it runs.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use crate::ipc::client::{self, AskOutcome, AskPatience};
use crate::ipc::protocol::{ChangeConflict, SupervisorRequest};
use crate::kubernetes;

/// Sends a request to what runs an app and prints the progress on stderr. Waits for another change of the app
/// that is in progress.
pub(crate) fn ask(root: &PikuRoot, app: &AppName, request: &SupervisorRequest) -> anyhow::Result<()> {
    match ask_in_turn(root, app, request)? {
        Ok(_) => Ok(()),
        Err(refused) => Err(client::to_error(refused).into()),
    }
}

/// Does the same as [`ask`] with a release that replaces a certain one. Returns false if another one is live.
#[must_use = "false says that the release is not live"]
pub(crate) fn ask_to_replace(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
) -> anyhow::Result<bool> {
    match ask_in_turn(root, app, request)? {
        Ok(_) => Ok(true),
        Err(refused) if refused.conflict == Some(ChangeConflict::OtherReleaseLive) => Ok(false),
        Err(refused) => Err(client::to_error(refused).into()),
    }
}

/// Asks until no other change is in progress.
fn ask_in_turn(root: &PikuRoot, app: &AppName, request: &SupervisorRequest) -> anyhow::Result<AskOutcome> {
    if let Some(answer) = kubernetes::answer(root, app, request)? {
        return Ok(answer);
    }
    let outcome = client::ask_in_turn(root, app, request)?;
    let is_started = matches!(request, SupervisorRequest::Deploy { .. } | SupervisorRequest::Restart { .. });
    if is_started && outcome.is_ok() {
        // It may have moved back to this machine.
        if let Err(err) = kubernetes::leave_cluster(root, app) {
            progress::warning(&format!("its objects in the cluster stay until the next deploy: {err:#}"));
        }
    }
    Ok(outcome)
}

/// Sends a request as [`ask`] does, with other time limits and without waiting for other changes. Returns the
/// data of the response.
///
/// # Errors
/// [`SilentSupervisor`](crate::ipc::client::SilentSupervisor) if a limit is exceeded.
pub(crate) fn ask_within(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
    patience: AskPatience,
) -> anyhow::Result<Option<serde_json::Value>> {
    let outcome = match kubernetes::answer(root, app, request)? {
        Some(answer) => answer,
        None => client::ask_once(root, app, request, patience)?,
    };
    Ok(outcome.map_err(client::to_error)?)
}
