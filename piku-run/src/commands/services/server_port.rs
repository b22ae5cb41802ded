//! Ports of servers. A claim keeps other commands of this host from the port until its server has it.

#![expect(clippy::disallowed_methods, reason = "files of services, which only piku and the operator write")]

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use crate::ports::{PortClaim, is_free, reclaim_port};
use crate::services::state::ServiceState;

/// Claims the port that is asked for, or any, if no service has it and nothing listens on it.
///
/// # Errors
/// Fails if it is taken, or all are.
pub(super) fn claim_server_port(root: &PikuRoot, asked: Option<u16>) -> anyhow::Result<PortClaim> {
    let settings = HostSettings::read(&root.settings())?;
    let range = settings.service_ports;
    let claim = |port: u16| -> anyhow::Result<Option<PortClaim>> {
        // The ports of stopped services stay unlocked: they may be starting.
        if settings.ports.contains(port) || is_of_service(root, port)? {
            return Ok(None);
        }
        // The claim comes before the last looks: without it, another command may take the port at any time.
        let Some(claim) = reclaim_port(root, port)? else { return Ok(None) };
        Ok((!is_of_service(root, port)? && is_free(port, true)?).then_some(claim))
    };
    let choose = format!("choose one of {} to {}", range.first, range.last);
    if let Some(port) = asked {
        let claimed = if range.contains(port) { claim(port)? } else { None };
        return claimed.ok_or_else(|| {
            let what = format!("--port {port} is taken, or not one of the ports of services");
            UserError::new(what).hint(choose).into()
        });
    }
    for port in range.first..=range.last {
        if let Some(claim) = claim(port)? {
            return Ok(claim);
        }
    }
    let what = format!("all ports of services are taken: {} to {}", range.first, range.last);
    Err(UserError::new(what)
        .hint(format!("see: piku service:list; or widen 'service_ports' in '{}'", root.settings().display()))
        .into())
}

/// Returns true if a service has the port.
fn is_of_service(root: &PikuRoot, port: u16) -> anyhow::Result<bool> {
    for service in root.services().context("cannot list the services")? {
        let dir = root.service(&service);
        match ServiceState::read(&dir) {
            Ok(state) if state.port == port => return Ok(true),
            Ok(_) => {}
            // It was destroyed meanwhile.
            Err(_) if !dir.service_state().exists() => {}
            Err(err) => return Err(err),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_port_is_claimed_until_a_service_has_it() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let first = piku_tests::ports::free_port();
        let settings = format!("service_ports: {{first: {first}, last: {first}}}\n");
        fs::write(root.settings(), settings).unwrap();
        let claim = claim_server_port(&root, None).unwrap();
        assert_eq!(claim.port(), first);
        assert!(claim_server_port(&root, None).is_err() && claim_server_port(&root, Some(first)).is_err());
        let dir = root.service(&"db".parse().unwrap());
        fs::create_dir_all(dir.path()).unwrap();
        let state =
            ServiceState { version: "17".to_owned(), port: first, bindings: Vec::new(), upgrade: None };
        state.write(&dir).unwrap();
        drop(claim);
        let told = claim_server_port(&root, None).unwrap_err().to_string();
        assert_eq!(told, format!("all ports of services are taken: {first} to {first}"));
        fs::remove_dir_all(dir.path()).unwrap();
        // A process that another test is starting has the lock too, until it executes its program.
        let claimed = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            claim_server_port(&root, Some(first)).ok()
        });
        assert_eq!(claimed.unwrap().port(), first);
    }
}
