//! The servers of bindings, before a client or an app uses them: they answer, and no restore that was killed is left.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::key_scope;
use piku_report::progress;

use super::action::wait_until_ready;
use super::killed_restore::recover_binding;
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, BoundService, list_bindings};

/// Waits until the server of a binding answers, so that its client does not meet one that is starting.
///
/// # Errors
/// Fails if it is stopped, or does not answer in time.
pub(super) fn wait_for_server(root: &PikuRoot, bound: &BoundService) -> anyhow::Result<()> {
    // Without its kind, the client says what it meets.
    let Ok(kind) = ServiceKind::find(root, &bound.kind) else { return Ok(()) };
    wait_until_ready(root, &bound.service, &kind)?;
    recover_binding(root, bound);
    Ok(())
}

/// Waits until the services of an app answer: neither its release task nor its new instances shall meet a server that is
/// starting. Warns of those that do not answer, because the app may do without them, and of those whose files cannot be
/// read, of which it may have none.
pub(crate) fn wait_for_bound_services(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let mut waited: Option<AppName> = None;
    let mut is_ready = false;
    let (found, unreadable) = list_bindings(root, app)?;
    for (service, err) in unreadable {
        // A limited key learns nothing of services that may be those of others.
        if key_scope().is_none() {
            progress::warning(&format!("the service {service} cannot be used: {err:#}"));
        }
    }
    for bound in found {
        if bound.binding.state != BindingState::Bound {
            continue;
        }
        if waited.as_ref() != Some(&bound.service) {
            let ready = ServiceKind::find(root, &bound.kind)
                .and_then(|kind| wait_until_ready(root, &bound.service, &kind));
            is_ready = ready.is_ok();
            if let Err(err) = ready {
                progress::warning(&format!("a service of {app} cannot be used: {err:#}"));
            }
        }
        if is_ready {
            recover_binding(root, &bound);
        }
        waited = Some(bound.service);
    }
    Ok(())
}
