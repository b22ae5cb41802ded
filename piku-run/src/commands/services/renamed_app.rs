//! Bindings of a renamed app.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use super::action::lock_service;
use super::binding_claim::claim_bindings;
use crate::services::state::ServiceState;

/// Has the bindings of a renamed app follow its name. Their data keeps its own.
pub(crate) fn rename_app(root: &PikuRoot, old: &AppName, new: &AppName) -> anyhow::Result<()> {
    for service in root.services().context("cannot list the services")? {
        let dir = root.service(&service);
        let is_bound = |state: &ServiceState| state.bindings.iter().any(|one| one.app == *old);
        if !is_bound(&ServiceState::read(&dir)?) {
            continue;
        }
        let _claim = claim_bindings(root, &service, old)?;
        let _lock = lock_service(root, &service)?;
        let mut state = ServiceState::read(&dir)?;
        for binding in state.bindings.iter_mut().filter(|one| one.app == *old) {
            binding.app = new.clone();
        }
        state.write(&dir)?;
    }
    Ok(())
}
