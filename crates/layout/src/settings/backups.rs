//! `backups` in `host.yaml`: backups that piku takes on a schedule.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MachineAddress;
use crate::name::AppName;

/// A backup that is taken on a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupPlan {
    /// Five fields of crontab(5), or a word such as `@daily`.
    pub schedule: String,
    /// Apps that are saved, each as one file.
    #[serde(default)]
    pub apps: PlannedApps,
    /// Place of the files; `None` if a command reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<BackupPlace>,
    /// Shell command that reads each backup on stdin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Number of files of each app that are kept.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// Time after which a run is ended.
    #[serde(default)]
    pub max_hours: HourLimit,
    /// Key that age encrypts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<AgeRecipient>,
    /// Private key for ssh; what ssh tries by itself when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// File with the machine's host key; the user's and the system's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
}

fn default_keep() -> usize {
    7
}

impl BackupPlan {
    /// Checks what its fields cannot check alone.
    ///
    /// # Errors
    /// Fails with the reason.
    pub fn check(&self) -> Result<(), String> {
        match (&self.to, &self.command) {
            (None, None) => return Err("it needs 'to' or 'command'".to_owned()),
            (Some(_), Some(_)) => return Err("it has both 'to' and 'command'".to_owned()),
            _ => {}
        }
        if self.keep == 0 { Err("'keep' is at least 1".to_owned()) } else { Ok(()) }
    }
}

/// A limit of time, written as a number of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct HourLimit(Duration);

impl HourLimit {
    /// Returns the time.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for HourLimit {
    fn default() -> Self {
        Self(Duration::from_secs(12 * 3600))
    }
}

impl TryFrom<f64> for HourLimit {
    type Error = String;

    fn try_from(hours: f64) -> Result<Self, String> {
        if hours > 0.0 && hours <= 10_000.0 {
            Ok(Self(Duration::from_secs_f64(hours * 3600.0)))
        } else {
            Err("expected a number of hours above 0 and up to 10000".to_owned())
        }
    }
}

impl From<HourLimit> for f64 {
    fn from(limit: HourLimit) -> Self {
        limit.0.as_secs_f64() / 3600.0
    }
}

impl FromStr for HourLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse().unwrap_or(f64::NAN))
    }
}

/// Apps of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "PlannedText", into = "PlannedText")]
pub enum PlannedApps {
    /// Those that exist at the time.
    #[default]
    All,
    /// These.
    Some(Vec<AppName>),
}

/// As it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected 'all', or a list of apps")]
enum PlannedText {
    Word(String),
    List(Vec<AppName>),
}

impl TryFrom<PlannedText> for PlannedApps {
    type Error = String;

    fn try_from(text: PlannedText) -> Result<Self, String> {
        match text {
            PlannedText::Word(word) if word == "all" => Ok(Self::All),
            PlannedText::Word(word) => match word.parse() {
                Ok(app) => Ok(Self::Some(vec![app])),
                Err(err) => Err(format!("{err}")),
            },
            PlannedText::List(apps) if apps.is_empty() => Err("the list of apps is empty".to_owned()),
            PlannedText::List(apps) => Ok(Self::Some(apps)),
        }
    }
}

impl From<PlannedApps> for PlannedText {
    fn from(apps: PlannedApps) -> Self {
        match apps {
            PlannedApps::All => Self::Word("all".to_owned()),
            PlannedApps::Some(apps) => Self::List(apps),
        }
    }
}

/// Folder for backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BackupPlace {
    /// An absolute path of this machine.
    Folder(PathBuf),
    /// A path of another machine, which ssh reaches.
    Ssh {
        /// The machine.
        machine: MachineAddress,
        /// Absolute path there, without characters that a shell reads.
        path: String,
    },
}

const PLACES: &str = "expected an absolute path, or ssh://[USER@]HOST[:PORT]/PATH";

impl TryFrom<String> for BackupPlace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("ssh://") else {
            let is_good = Path::new(&text).is_absolute() && !text.chars().any(char::is_control);
            return if is_good { Ok(Self::Folder(text.into())) } else { Err(PLACES.to_owned()) };
        };
        let (machine, path) = rest.split_once('/').ok_or(PLACES)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@,=".contains(c);
        if !path.chars().all(is_plain) {
            return Err("a path of another machine has only letters, digits and ._-/+@,=".to_owned());
        }
        Ok(Self::Ssh { machine: machine.parse()?, path: format!("/{path}") })
    }
}

impl From<BackupPlace> for String {
    fn from(place: BackupPlace) -> Self {
        match place {
            BackupPlace::Folder(path) => path.to_string_lossy().into_owned(),
            BackupPlace::Ssh { machine, path } => format!("ssh://{machine}{path}"),
        }
    }
}

/// Public key that age encrypts for: `age1…` or that of an ssh key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgeRecipient(String);

impl AgeRecipient {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AgeRecipient {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_plain = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if is_plain && ["age1", "ssh-"].iter().any(|begin| text.starts_with(begin)) {
            Ok(Self(text))
        } else {
            Err("expected a public key of age, age1…, or of ssh".to_owned())
        }
    }
}

impl From<AgeRecipient> for String {
    fn from(key: AgeRecipient) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_written_in_few_words() {
        let plan: BackupPlan = serde_yaml::from_str("{schedule: '@daily', to: /srv/backups}").unwrap();
        assert_eq!((plan.apps.clone(), plan.keep), (PlannedApps::All, 7));
        plan.check().unwrap();
        assert_eq!(plan.max_hours.duration(), Duration::from_secs(12 * 3600));
        let text = "{schedule: 0 3 * * *, apps: [blog], to: 'ssh://piku@nas:2222/srv/b', keep: 2, max_hours: 0.5, age: age1xyz}";
        let plan: BackupPlan = serde_yaml::from_str(text).unwrap();
        assert_eq!(plan.apps, PlannedApps::Some(vec!["blog".parse().unwrap()]));
        assert_eq!(plan.to.clone().map(String::from).unwrap(), "ssh://piku@nas:2222/srv/b");
        let back = serde_yaml::to_string(&plan).unwrap();
        assert_eq!(serde_yaml::from_str::<BackupPlan>(&back).unwrap(), plan);
        for bad in [
            "{schedule: '@daily'}",
            "{schedule: '@daily', to: /srv, command: cat}",
            "{schedule: '@daily', to: /srv, keep: 0}",
        ] {
            assert!(serde_yaml::from_str::<BackupPlan>(bad).unwrap().check().is_err(), "{bad}");
        }
        for bad in [
            "to: srv",
            "to: 'ssh://nas'",
            "to: 'ssh://-oProxyCommand=x/srv'",
            "to: 'ssh://nas/srv;id'",
            "to: \"ssh://nas/a'b\"",
            "{to: /srv, apps: []}",
            "{to: /srv, apps: ['../x']}",
            "{to: /srv, age: '-i x'}",
            "{to: /srv, keeps: 1}",
            "{to: /srv, max_hours: 0}",
            "{to: /srv, max_hours: -1}",
            "{to: /srv, max_hours: .nan}",
            "{to: /srv, max_hours: soon}",
        ] {
            let bad = format!("{{schedule: '@daily', {}}}", bad.trim_matches(['{', '}']));
            assert!(serde_yaml::from_str::<BackupPlan>(&bad).is_err(), "{bad}");
        }
    }
}
