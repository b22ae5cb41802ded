//! Settings and variables that the processes of a service get, beside those of each process.

use std::path::{Path, PathBuf};

use piku_chroot::jail::JailSpec;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::NetworkMode;

use crate::instance::environment::{ReleaseContext, Vars};
use crate::instance::network;
use crate::services::kind::ServiceKind;
use crate::services::state::{ServiceSetting, ServiceSettings, ServiceState, connected_ports};

/// Type of a service's process.
pub(crate) const PROCESS_TYPE: &str = "server";

/// Settings of the processes of a service.
#[derive(Debug, Clone)]
pub(crate) struct ServiceProcess {
    /// Directory of the kind's programs, `/app` in the jail.
    pub(crate) folder: PathBuf,
    /// Data of the server.
    pub(crate) data: PathBuf,
    /// Port that the server always gets.
    pub(crate) port: u16,
    /// Size that its data may have, as the operator wrote it.
    pub(crate) data_limit: Option<String>,
    /// Variables of the contract with the kind's programs.
    pub(crate) vars: Vec<(&'static str, String)>,
}

impl ServiceProcess {
    /// Reads the settings of a service; `None` for an app.
    ///
    /// # Errors
    /// Fails if a file of the service is bad, or its kind is not installed any more.
    pub(crate) fn find(root: &PikuRoot, dir: &AppDir) -> anyhow::Result<Option<Self>> {
        let Some(settings) = ServiceSettings::find(dir)? else { return Ok(None) };
        let state = ServiceState::read(dir)?;
        // A server never starts with the data of another version.
        state.finish_switch(dir)?;
        let kind = ServiceKind::find(root, &settings.kind)?;
        let vars = variables(&settings.kind, &state.version, state.port);
        let vars = vars.into_iter().chain([
            ("SERVICE_SETTINGS", settings.to_lines()?),
            ("SERVICE_MEMORY", memory_megabytes().to_string()),
            ("APP_READONLY", "yes".to_owned()),
            ("HEALTHCHECK", "tcp".to_owned()),
            // After a power cut, a server reads its log before it answers.
            ("HEALTHCHECK_START_PERIOD", "3600".to_owned()),
            ("STOP_TIMEOUT", "60".to_owned()),
        ]);
        let data_limit = settings.data_limit.as_ref().map(ServiceSetting::to_text);
        let data = dir.data();
        Ok(Some(Self { folder: kind.folder, data, port: state.port, data_limit, vars: vars.collect() }))
    }
}

/// Data of a server, its version and its port, other than those of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerPlace {
    pub(crate) data: PathBuf,
    pub(crate) version: String,
    pub(crate) port: u16,
}

impl ReleaseContext {
    /// Has the processes of a service use other data, with another version and another port.
    pub(crate) fn move_service(&mut self, place: &ServerPlace) {
        let Some(service) = &mut self.service else { return };
        service.data.clone_from(&place.data);
        service.port = place.port;
        for (name, value) in &mut service.vars {
            match *name {
                "SERVICE_VERSION" => value.clone_from(&place.version),
                "SERVICE_PORT" => *value = place.port.to_string(),
                _ => {}
            }
        }
    }

    /// Returns the directory that the processes see as `/data`.
    pub(crate) fn data(&self) -> PathBuf {
        self.service.as_ref().map_or_else(|| self.dir.data(), |service| service.data.clone())
    }

    /// Returns the network of the processes if the host settings say `set`. Services are reached over loopback.
    pub(crate) fn network_mode(&self, vars: &Vars, set: NetworkMode) -> anyhow::Result<NetworkMode> {
        if self.service.is_some() { Ok(NetworkMode::Shared) } else { network::of(vars, set) }
    }

    /// Returns the port of a service; `None` for an app.
    pub(crate) fn service_port(&self) -> Option<u16> {
        self.service.as_ref().map(|service| service.port)
    }
}

/// Lets a jail with its own network reach the services that the app is bound to.
pub(crate) fn connect_jail(jail: JailSpec, root: &Path, app: &AppName) -> anyhow::Result<JailSpec> {
    let ports = connected_ports(&PikuRoot::new(Some(root.to_owned()))?, app)?;
    Ok(ports.into_iter().fold(jail, JailSpec::connect))
}

/// Returns the variables that all programs of a kind get.
pub(crate) fn variables(kind: &AppName, version: &str, port: u16) -> [(&'static str, String); 3] {
    [
        ("SERVICE_KIND", kind.to_string()),
        ("SERVICE_VERSION", version.to_owned()),
        ("SERVICE_PORT", port.to_string()),
    ]
}

/// Returns the memory of the machine in mebibytes; 256 if it is unknown.
fn memory_megabytes() -> u64 {
    const UNKNOWN: u64 = 256;
    piku_procfs::meminfo().and_then(|fields| fields.bytes("MemTotal")).map_or(UNKNOWN, |bytes| bytes >> 20)
}
