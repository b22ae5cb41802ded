//! Isolation of an app's processes, from the host settings.

use piku_layout::settings::{AppNetworks, AppUsers, HostSettings, Protection, SandboxMode};

/// Host settings that isolate apps.
#[derive(Debug, Clone)]
pub(crate) struct AppIsolation {
    /// Users of the app: the shared one, or a range of its own.
    pub(crate) users: AppUsers,
    pub(super) sandbox: SandboxMode,
    pub(super) network: AppNetworks,
    /// Protections recorded for this machine, which a jail must have.
    pub(super) protections: Vec<Protection>,
}

impl AppIsolation {
    /// Combines the app's users with the host settings.
    pub(crate) fn new(users: AppUsers, settings: HostSettings) -> Self {
        let protections = settings.protections.unwrap_or_default();
        Self { users, sandbox: settings.sandbox, network: settings.network, protections }
    }
}
