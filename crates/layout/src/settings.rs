//! `host.yaml`: this machine's settings, the operator's choices that no app may make.

#![expect(clippy::disallowed_methods, reason = "host.yaml, which is the operator's")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::name::AppName;

mod backups;
mod cluster_target;
mod deploy_to;
mod editor;
mod front;
mod grants;
mod host_domain;
mod kept_days;
mod network;
mod nginx;
mod notify;
mod pause;
mod ports;
mod protection;
mod status_page;

pub use backups::{AgeRecipient, BackupPlace, BackupPlan, HourLimit, PlannedApps};
pub use cluster_target::ClusterTarget;
pub use deploy_to::{DeployTo, MachineAddress, expand_home};
pub use editor::SettingsKey;
pub use front::FrontSettings;
pub use grants::{AppGrants, GrantedPath};
pub use host_domain::HostDomain;
pub use kept_days::KeptDays;

pub use network::{AppNetworks, NetworkMode};
pub use nginx::{CertificateClient, ListenAddress, NginxSettings};
pub use notify::{MailAddress, NotifySettings, WebhookFormat, WebhookUrl};
pub use pause::SettingPause;
pub use ports::{PortRange, ReservedPorts};
pub use protection::Protection;
pub use status_page::StatusSettings;

use crate::plain_words::plain_message;

/// Behaviour on a host without user namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// Refuse to build or run anything outside the jail.
    Require,
    /// Use the jail where it works, say at each deploy where it does not.
    #[default]
    Prefer,
    /// Never use the jail.
    Off,
}

/// Users as which the apps run in their jails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppUsers {
    /// All are the user that runs piku; their jails keep them apart.
    #[default]
    Shared,
    /// Each app is a user of its own, one of the subordinate ones of the user that runs piku.
    Own,
}

/// Limits for the log files of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Size in megabytes at which a file is rotated.
    pub megabytes: u32,
    /// Number of rotated files that are kept.
    pub keep: u32,
    /// The time for which lines are gathered in memory before they are written; without it each is written
    /// as it comes.
    pub flush: SettingPause,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { megabytes: 10, keep: 5, flush: SettingPause::default() }
    }
}

/// The whole file. A missing file is the default; an unknown key is an error, so that a misspelt one is
/// noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Use of the jail: required, preferred or off.
    pub sandbox: SandboxMode,
    /// The protections that this machine has for apps, as the install recorded them; one that is missing
    /// later is an error. `None` before they were recorded, and empty on a machine that can make no jail.
    pub protections: Option<Vec<Protection>>,
    /// Users as which the apps run.
    pub app_users: AppUsers,
    /// The apps that have a network of their own.
    pub network: AppNetworks,
    /// Devices, sockets and folders of the machine that apps may use.
    pub grants: AppGrants,
    /// The ports that instances get.
    pub ports: PortRange,
    /// The ports that services get. No app can bind them, not even with `LISTEN_PORTS` or `PORT`.
    pub service_ports: PortRange,
    /// Host names of the apps that have none of their own.
    pub domain: HostDomain,
    /// The nginx that serves the apps under their host names.
    pub nginx: NginxSettings,
    /// Limits for log files.
    pub logs: LogSettings,
    /// Ways in which the operator is told of failures.
    pub notify: NotifySettings,
    /// The page with the state of the machine.
    pub status: StatusSettings,
    /// Backups that are taken on a schedule, by names of the operator's.
    pub backups: BTreeMap<AppName, BackupPlan>,
    /// Machines on which the releases of an app run; this machine, if the app is missing.
    #[serde(alias = "deploy-to")]
    pub deploy_to: BTreeMap<AppName, DeployTo>,
    /// The architecture that this machine says it is to those that build for it, by uname's or Debian's
    /// name: `armv6l`; what its programs are, when not set.
    pub architecture: Option<String>,
    /// Environment of every build step: a proxy, a mirror, a certificate bundle of this site.
    pub build_env: BTreeMap<String, String>,
    /// Maximum duration of a build, in seconds.
    pub build_timeout: u64,
    /// The largest part of a deploy's output that is kept, and shown to its push, in MiB.
    pub deploy_log: u64,
    /// The time that a push, or another change, waits for the one that is under way, in seconds.
    pub lock_timeout: u64,
    /// Number of releases of an app that stay on disk, including the live one; at least two.
    pub keep_releases: usize,
    /// Time for which `destroy` keeps the repository, the config and the data of an app, for `restore`.
    pub keep_destroyed: KeptDays,
    /// Size of an app's build caches in MiB beyond which some are removed.
    pub cache_limit: u64,
    /// Size of all bases of container images in MiB beyond which those that were not used for the longest time are removed.
    pub image_bases: u64,
    /// The memory that a build may take, as `--limit memory=` of piku-chroot has it: `512m`, `50%`; what
    /// is available when it begins, when not set.
    pub build_memory: Option<String>,
    /// By how much builds stand back behind what runs, 0 to 19 as nice(1) has it.
    pub build_nice: u8,
    /// The largest size of one push, or of one part of a release from another machine, in MiB.
    pub max_push_size: u64,
    /// The part of the disk that stays free whatever comes in, in MiB.
    pub disk_reserve: u64,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            sandbox: SandboxMode::default(),
            protections: None,
            app_users: AppUsers::default(),
            network: AppNetworks::default(),
            grants: AppGrants::default(),
            ports: PortRange::default(),
            service_ports: PortRange { first: 15400, last: 15499 },
            domain: HostDomain::default(),
            logs: LogSettings::default(),
            nginx: NginxSettings::default(),
            notify: NotifySettings::default(),
            status: StatusSettings::default(),
            backups: BTreeMap::new(),
            deploy_to: BTreeMap::new(),
            architecture: None,
            build_env: BTreeMap::new(),
            // An hour: the smallest Pi compiles a wheel or two in it.
            build_timeout: 3600,
            deploy_log: 10,
            // The longest build, and one more that waits already.
            lock_timeout: 7200,
            keep_releases: 5,
            keep_destroyed: KeptDays::default(),
            cache_limit: 2048,
            image_bases: 2048,
            build_memory: None,
            build_nice: 10,
            max_push_size: 4096,
            disk_reserve: 64,
        }
    }
}

impl HostSettings {
    /// Returns [`HostSettings::max_push_size`] in bytes.
    #[must_use]
    pub fn max_push_bytes(&self) -> u64 {
        self.max_push_size.saturating_mul(1 << 20)
    }

    /// Returns [`HostSettings::disk_reserve`] in bytes.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.disk_reserve.saturating_mul(1 << 20)
    }

    /// Reads the file; all defaults when there is none.
    ///
    /// # Errors
    /// Fails if it cannot be read, is not YAML, or has a key or value that piku does not know or cannot use.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        parse(&text).with_context(|| format!("bad settings in '{}'", path.display()))
    }
}

/// Parses the text of the file.
fn parse(text: &str) -> anyhow::Result<HostSettings> {
    if text.trim().is_empty() {
        return Ok(HostSettings::default());
    }
    let settings: HostSettings =
        serde_yaml::from_str(text).map_err(|err| anyhow!("{}", plain_message(&err.to_string())))?;
    settings.check_service_ports()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deploy_to_says_where_an_app_runs() {
        let text = "deploy-to:\n  blog: {machines: [piku@pi-2], here: false}\n";
        let read: HostSettings = serde_yaml::from_str(text).unwrap();
        let blog = &read.deploy_to["blog"];
        assert_eq!((blog.machines.len(), blog.here, blog.all_or_nothing), (1, false, false));
        for bad in ["{blog: {machine: x}}", "{blog: {machines: ['-x']}}", "{Blog: {}}"] {
            assert!(serde_yaml::from_str::<HostSettings>(&format!("deploy_to: {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn defaults_and_unknown_keys() {
        let read: HostSettings =
            serde_yaml::from_str("sandbox: require\napp_users: own\nports: {first: 7000, last: 7099}\n")
                .unwrap();
        assert_eq!(read.sandbox, SandboxMode::Require);
        assert_eq!((read.ports.last, read.app_users), (7099, AppUsers::Own));
        assert_eq!(read.protections, None);
        let read: HostSettings = serde_yaml::from_str("protections: [namespaces, listen-ports]\n").unwrap();
        assert_eq!(read.protections, Some(vec![Protection::Namespaces, Protection::ListenPorts]));
        let read: HostSettings = serde_yaml::from_str("protections: []\nlogs: {megabytes: 2}\n").unwrap();
        assert_eq!(read.protections, Some(Vec::new()));
        assert_eq!(read.logs, LogSettings { megabytes: 2, ..LogSettings::default() });
        let read: HostSettings = serde_yaml::from_str("logs: {flush: 30s}\n").unwrap();
        assert_eq!(read.logs.flush.duration(), Some(std::time::Duration::from_secs(30)));
        for unknown in ["sandbocks: off", "ports: {first: 1, last: 2, exclude: [1]}", "logs: {size: 1}"] {
            assert!(serde_yaml::from_str::<HostSettings>(unknown).is_err(), "{unknown}");
        }
        assert_eq!(HostSettings::read(Path::new("/no/such/host.yaml")).unwrap(), HostSettings::default());
    }
}
