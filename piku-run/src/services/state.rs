//! Files of a service: `service.yaml`, which the operator may edit, and `state.json`, which only piku writes.

#![expect(clippy::disallowed_methods, reason = "files of a service, which only piku and the operator write")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::kind::ServiceKind;

/// Content of `service.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceSettings {
    pub(crate) kind: AppName,
    /// Size that its data may have, such as `20g`.
    #[serde(default)]
    pub(crate) data_limit: Option<ServiceSetting>,
    /// Settings of the server itself, over those that its kind chooses.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, ServiceSetting>,
}

/// A setting as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ServiceSetting {
    Flag(bool),
    Number(serde_yaml::Number),
    Text(String),
}

impl ServiceSetting {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl ServiceSettings {
    /// Reads the file of a service; `None` for an app.
    pub(crate) fn find(dir: &AppDir) -> anyhow::Result<Option<Self>> {
        let path = dir.service_settings();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let settings =
            serde_yaml::from_str(&text).with_context(|| format!("bad settings in '{}'", path.display()))?;
        Ok(Some(settings))
    }

    /// Returns the server's settings as lines `name=value`.
    ///
    /// # Errors
    /// Fails if one of them does not fit on a line.
    pub(crate) fn to_lines(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        for (name, value) in &self.settings {
            let value = value.to_text();
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if name.is_empty() || !name.chars().all(is_name) || value.chars().any(char::is_control) {
                return Err(UserError::new(format!("service.yaml: bad setting {name:?}"))
                    .hint("a setting is a name of A-Z, a-z, 0-9, '_', '.' and '-', and one line of text")
                    .into());
            }
            let _ = writeln!(lines, "{name}={value}");
        }
        Ok(lines)
    }
}

/// State of a binding. All but [`BindingState::Bound`] and [`BindingState::Unbound`] are steps, which the next command
/// finishes or undoes if they were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BindingState {
    /// Its first role and database are being made.
    Creating,
    /// It was kept, and is being bound again.
    Renewing,
    Bound,
    Unbinding,
    /// The app cannot connect; the data is kept.
    Unbound,
    Dropping,
}

impl BindingState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Unbound => "unbound, data kept",
            Self::Creating | Self::Renewing => "being bound",
            Self::Unbinding => "being unbound",
            Self::Dropping => "being dropped",
        }
    }
}

/// Binding of an app to a service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceBinding {
    pub(crate) app: AppName,
    /// Prefix of its variables: `DATABASE`.
    pub(crate) variable: String,
    /// Name of its role and its database in the server.
    pub(crate) name: String,
    pub(crate) password: String,
    /// Names of its variables in the app's config.
    pub(crate) variables: Vec<String>,
    /// SHA-256 of their values, by which they are recognised.
    #[serde(default)]
    pub(crate) value_hashes: BTreeMap<String, String>,
    pub(crate) state: BindingState,
    pub(crate) since: Timestamp,
}

impl std::fmt::Debug for ServiceBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceBinding({} as {}, {:?})", self.app, self.variable, self.state)
    }
}

/// Step of an upgrade. All but [`UpgradeStep::Kept`] are finished or undone by the next command if they were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UpgradeStep {
    /// The data of the other version is being made beside that of the service.
    Preparing,
    /// The new data takes the place of the old data.
    Switching,
    /// The old data is kept until the operator confirms the upgrade.
    Kept,
    /// The old data takes its place again.
    Returning,
    /// The old data is being removed.
    Confirming,
}

/// A service's change to another version of its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceUpgrade {
    pub(crate) step: UpgradeStep,
    /// The other version than that of the service: at first the new one, after the switch the old one.
    pub(crate) other_version: String,
    /// Names of the bindings whose data the old version has.
    pub(crate) names: Vec<String>,
    /// Those whose data was dropped since: a later binding of that name is another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropped: Vec<String>,
}

/// Content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceState {
    /// Version of the server that wrote the data.
    pub(crate) version: String,
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) bindings: Vec<ServiceBinding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade: Option<ServiceUpgrade>,
}

impl ServiceState {
    /// Reads the file of a service.
    pub(crate) fn read(dir: &AppDir) -> anyhow::Result<Self> {
        let path = dir.service_state();
        let text = fs::read(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("bad state in '{}'", path.display()))
    }

    /// Replaces the file, mode 0600, and syncs it.
    pub(crate) fn write(&self, dir: &AppDir) -> anyhow::Result<()> {
        let path = dir.service_state();
        let mut text = serde_json::to_vec_pretty(self).context("cannot make JSON of it")?;
        text.push(b'\n');
        atomic_file::write(&path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Returns the place of a binding.
    pub(crate) fn position(&self, app: &AppName, variable: &str) -> Option<usize> {
        self.bindings.iter().position(|one| one.app == *app && one.variable == variable)
    }
}

/// A binding and its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundService {
    pub(crate) service: AppName,
    pub(crate) kind: AppName,
    /// Version of the server.
    pub(crate) version: String,
    pub(crate) port: u16,
    pub(crate) binding: ServiceBinding,
}

/// Returns the bindings of an app, of all services, including those that are unbound and have kept their data.
///
/// # Errors
/// Fails if a file of a service cannot be read: it may have a binding of the app.
pub(crate) fn bindings(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<BoundService>> {
    let (found, unreadable) = list_bindings(root, app)?;
    unreadable.into_iter().next().map_or(Ok(found), |(_, err)| Err(err))
}

/// Returns the bindings of an app, and the services whose files cannot be read.
#[expect(clippy::type_complexity, reason = "two lists")]
pub(crate) fn list_bindings(
    root: &PikuRoot,
    app: &AppName,
) -> anyhow::Result<(Vec<BoundService>, Vec<(AppName, anyhow::Error)>)> {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for service in root.services().context("cannot list the services")? {
        let dir = root.service(&service);
        let read = ServiceSettings::find(&dir).and_then(|settings| {
            settings.map(|settings| Ok((settings, ServiceState::read(&dir)?))).transpose()
        });
        match read {
            Ok(Some((settings, state))) => {
                let its = state.bindings.into_iter().filter(|one| one.app == *app);
                found.extend(its.map(|binding| BoundService {
                    service: service.clone(),
                    kind: settings.kind.clone(),
                    version: state.version.clone(),
                    port: state.port,
                    binding,
                }));
            }
            Ok(None) => {}
            // It was destroyed meanwhile.
            Err(_) if !dir.path().exists() => {}
            Err(err) => unreadable.push((service, err)),
        }
    }
    Ok((found, unreadable))
}

/// Returns true if a service is of the kind and can have this binding: that of a kind for one binding has no other one.
pub(crate) fn can_have(
    root: &PikuRoot,
    service: &AppName,
    kind: &ServiceKind,
    (app, variable): (&AppName, &str),
) -> anyhow::Result<bool> {
    let dir = root.service(service);
    if ServiceSettings::find(&dir)?.is_none_or(|settings| settings.kind != kind.name) {
        return Ok(false);
    }
    let is_other = |one: &ServiceBinding| one.app != *app || one.variable != variable;
    Ok(!kind.about.exclusive || !ServiceState::read(&dir)?.bindings.iter().any(is_other))
}

/// Returns the ports of the services that an app is bound to, or is just being bound to. A service whose state cannot
/// be read is left out with a warning: its other apps run on.
pub(crate) fn connected_ports(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<u16>> {
    let is_connected = |one: &ServiceBinding| {
        one.app == *app && !matches!(one.state, BindingState::Unbound | BindingState::Dropping)
    };
    let mut ports = Vec::new();
    for service in root.services().context("cannot list the services")? {
        let dir = root.service(&service);
        match ServiceState::read(&dir) {
            Ok(state) => {
                if state.bindings.iter().any(is_connected) {
                    ports.push(state.port);
                }
            }
            // It was destroyed meanwhile.
            Err(_) if !dir.service_state().exists() => {}
            Err(err) => progress::warning(&format!("{app} cannot reach {service}: {err:#}")),
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_file_of_a_service_hides_no_other_one() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let state = r#"{"version": "17", "port": 15400, "bindings": [{"app": "blog", "variable": "DATABASE", "name": "app",
            "password": "", "variables": [], "state": "bound", "since": "2026-11-29T03:00:00Z"}]}"#;
        for (name, settings, state) in [
            ("bad-state", "kind: postgres\n", "{"),
            ("bad-yaml", "kind: [\n", state),
            ("db", "kind: postgres\n", state),
        ] {
            let dir = root.service(&name.parse().unwrap());
            fs::create_dir_all(dir.path()).unwrap();
            fs::write(dir.service_settings(), settings).unwrap();
            fs::write(dir.service_state(), state).unwrap();
        }
        let (found, unreadable) = list_bindings(&root, &app).unwrap();
        assert_eq!(found.iter().map(|one| one.service.as_str()).collect::<Vec<_>>(), ["db"]);
        assert_eq!(
            unreadable.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["bad-state", "bad-yaml"]
        );
        // What may have data of the app is not taken for nothing.
        assert!(bindings(&root, &app).is_err());
    }
}
