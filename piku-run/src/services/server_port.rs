//! Ports of servers. A claim keeps other commands of this host from the port until its server has it.

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use super::state::ServiceState;
use crate::ports::{PortClaim, is_free, reclaim_port};

/// Claims the port that is asked for, or any, if no service has it and nothing listens on it.
///
/// # Errors
/// Fails if it is taken, or all are.
pub(super) fn claim_server_port(root: &PikuRoot, asked: Option<u16>) -> anyhow::Result<PortClaim> {
    let settings = HostSettings::read(&root.settings())?;
    let range = settings.service_ports;
    let mut taken = Vec::new();
    for service in root.services().context("cannot list the services")? {
        taken.push(ServiceState::read(&root.service(&service))?.port);
    }
    let claim = |port: u16| -> anyhow::Result<Option<PortClaim>> {
        if taken.contains(&port) || settings.ports.contains(port) {
            return Ok(None);
        }
        // The claim comes first: without it, another command may start a server at any time.
        let Some(claim) = reclaim_port(root, port)? else { return Ok(None) };
        Ok(is_free(port, true)?.then_some(claim))
    };
    let choose = format!("choose one of {} to {}", range.first, range.last);
    if let Some(port) = asked {
        let claimed = if range.contains(port) { claim(port)? } else { None };
        return claimed.ok_or_else(|| {
            let what = format!("--port {port} is taken, or not one of the ports of services");
            UserError::new(what).hint(choose).into()
        });
    }
    for port in range.first.max(1)..=range.last {
        if let Some(claim) = claim(port)? {
            return Ok(claim);
        }
    }
    let what = format!("all ports of services are taken: {} to {}", range.first, range.last);
    Err(UserError::new(what)
        .hint(format!("see: piku service:list; or widen 'service_ports' in '{}'", root.settings().display()))
        .into())
}
