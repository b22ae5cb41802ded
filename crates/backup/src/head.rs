//! The first entry of a backup: its description, and the names of the parts that follow.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_report::diagnostic;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::left_out::LeftOut;

/// Version of the format; increased when older versions cannot read the stream.
pub const FORMAT: u32 = 1;
/// Longest text in a head, such as a branch or the name of a machine.
const LONGEST: usize = 300;
/// More apps and services than any machine has.
const MOST: usize = 10_000;
/// More services and variables than any app has.
const MOST_SERVICES: usize = 100;

/// Scope of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// Apps, without anything of the machine.
    Apps,
    /// Apps with the machine's settings, keys and certificates.
    Host,
}

/// The head of a stream. These names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Version of the format.
    pub format: u32,
    /// Scope of the backup.
    pub kind: BackupKind,
    /// Time at which it was begun.
    pub at: Timestamp,
    /// Name of the machine that wrote it.
    pub host: String,
    /// Version of the piku that wrote it.
    pub piku: String,
    /// Apps in it, sorted by name.
    pub apps: Vec<SavedApp>,
    /// All parts, in the order of the stream.
    pub parts: Vec<BackupPart>,
    /// Apps that were asked for and could not be saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingApp>,
}

/// An app that is not in a backup that should have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingApp {
    /// Name of the app.
    pub app: AppName,
    /// Error in a single line.
    pub error: String,
}

impl MissingApp {
    /// Describes an app that could not be saved.
    #[must_use]
    pub fn new(app: AppName, error: &str) -> Self {
        let error = diagnostic::readable(&diagnostic::shorten_text(error, LONGEST / 4));
        Self { app, error: error.replace('\t', " ") }
    }
}

/// Description of an app in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedApp {
    /// Name of the app.
    pub app: AppName,
    /// Branch that is deployed, without `refs/heads/`; `None` if the app has no repository.
    pub branch: Option<String>,
    /// Commit of the live release; `None` if the app has none.
    pub commit: Option<String>,
    /// True if the operator has stopped the app.
    #[serde(default)]
    pub stopped: bool,
    /// True if the app is in maintenance mode.
    #[serde(default)]
    pub maintenance: bool,
    /// Its bindings to services, each with a dump among the parts.
    #[serde(default)]
    pub services: Vec<SavedService>,
}

/// Binding of an app to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedService {
    /// Prefix of its variables, such as `DATABASE`; also the name of its dump.
    pub variable: String,
    /// Name of the service.
    pub service: AppName,
    /// Kind of the service, such as `postgres`.
    pub kind: AppName,
    /// Version of the server.
    pub version: String,
    /// Names of the variables that the binding has set in the app's config.
    pub variables: Vec<String>,
}

/// A part of a backup, named by its path in the archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackupPart {
    /// All branches and tags of an app as a git bundle.
    Repository(AppName),
    /// The boundary of a shallow repository, as git's file `shallow`.
    Shallow(AppName),
    /// Stored settings.
    Config(AppName),
    /// Numbers of instances.
    Formation(AppName),
    /// Manifest of the live release, for information.
    Release(AppName),
    /// Lock that refuses deploys.
    DeployLock(AppName),
    /// The app's own files as a tar archive.
    Data(AppName),
    /// Dump of the database of a binding, by the name of the binding.
    Service(AppName, String),
    /// Settings, keys and certificates of the machine as a tar archive.
    Host,
}

impl BackupPart {
    /// Returns the app that it belongs to; `None` for a part of the machine.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Self::Repository(app)
            | Self::Shallow(app)
            | Self::Config(app)
            | Self::Formation(app)
            | Self::Release(app)
            | Self::DeployLock(app)
            | Self::Data(app)
            | Self::Service(app, _) => Some(app),
            Self::Host => None,
        }
    }

    /// Returns true if its size is not known when it begins.
    #[must_use]
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Repository(_) | Self::Data(_) | Self::Service(..) | Self::Host)
    }
}

impl fmt::Display for BackupPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(app) => write!(f, "apps/{app}/repo.bundle"),
            Self::Shallow(app) => write!(f, "apps/{app}/shallow"),
            Self::Config(app) => write!(f, "apps/{app}/config.json"),
            Self::Formation(app) => write!(f, "apps/{app}/formation.json"),
            Self::Release(app) => write!(f, "apps/{app}/release.yaml"),
            Self::DeployLock(app) => write!(f, "apps/{app}/locked.json"),
            Self::Data(app) => write!(f, "apps/{app}/data.tar"),
            Self::Service(app, name) => write!(f, "apps/{app}/services/{name}.dump"),
            Self::Host => f.write_str("host.tar"),
        }
    }
}

impl FromStr for BackupPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let shown: String = text.chars().take(100).collect();
            format!("this piku knows no part '{}'", shown.escape_debug())
        };
        if text == "host.tar" {
            return Ok(Self::Host);
        }
        let (app, name) = text.strip_prefix("apps/").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
        let app: AppName = app.parse().map_err(|_| bad())?;
        Ok(match name {
            "repo.bundle" => Self::Repository(app),
            "shallow" => Self::Shallow(app),
            "config.json" => Self::Config(app),
            "formation.json" => Self::Formation(app),
            "release.yaml" => Self::Release(app),
            "locked.json" => Self::DeployLock(app),
            "data.tar" => Self::Data(app),
            _ => {
                let name = name.strip_prefix("services/").and_then(|name| name.strip_suffix(".dump"));
                let is_plain = |name: &&str| {
                    (1..=63).contains(&name.len())
                        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
                };
                Self::Service(app, name.filter(is_plain).ok_or_else(bad)?.to_owned())
            }
        })
    }
}

impl Serialize for BackupPart {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackupPart {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Size and hash of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSum {
    /// The part.
    pub part: BackupPart,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex digits.
    pub sha256: String,
    /// Files and data that could not be saved; `None` for a part that lacks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// The one field that every format has.
#[derive(Deserialize)]
struct BackupFormat {
    format: u32,
}

impl BackupHead {
    /// Parses and checks a head: it may come from anyone.
    pub(crate) fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let BackupFormat { format } = serde_json::from_slice(text).context("bad head")?;
        if format != FORMAT {
            let what = format!("this backup has format {format}; this piku reads {FORMAT}");
            return Err(UserError::new(what).hint("install the piku that wrote it, or a newer one").into());
        }
        let head: Self = serde_json::from_slice(text).context("bad head")?;
        ensure!(head.apps.len() <= MOST && head.parts.len() <= MOST, "bad head: it has too many parts");
        let is_shown = |text: &String| text.len() <= LONGEST && !text.chars().any(char::is_control);
        ensure!(is_shown(&head.host) && is_shown(&head.piku), "bad head: a name cannot be printed");
        let is_told = |one: &MissingApp| is_shown(&one.error);
        ensure!(
            head.missing.len() <= MOST && head.missing.iter().all(is_told),
            "bad head: an error cannot be printed"
        );
        let mut apps = BTreeSet::new();
        for SavedApp { app, branch, commit, .. } in &head.apps {
            ensure!(apps.insert(app), "bad head: it has the app '{app}' twice");
            ensure!(branch.iter().all(is_branch), "bad head: the branch of '{app}' is no branch");
            ensure!(commit.iter().all(is_commit), "bad head: the commit of '{app}' is no commit");
        }
        for SavedApp { app, services, .. } in &head.apps {
            ensure!(services.len() <= MOST_SERVICES, "bad head: '{app}' has too many services");
            let mut variables = BTreeSet::new();
            for one in services {
                let names = one.variables.iter().chain([&one.variable]);
                ensure!(names.clone().count() <= MOST_SERVICES, "bad head: a service has too many variables");
                ensure!(
                    names.clone().all(is_variable)
                        && variables.insert(&one.variable)
                        && is_shown(&one.version),
                    "bad head: a service of '{app}' has a bad name"
                );
                let dump = BackupPart::Service(app.clone(), one.variable.clone());
                ensure!(head.parts.contains(&dump), "bad head: '{dump}' is missing");
            }
        }
        let mut parts = BTreeSet::new();
        for part in &head.parts {
            ensure!(parts.insert(part), "bad head: it has the part '{part}' twice");
            ensure!(part.app().is_none_or(|app| apps.contains(app)), "bad head: '{part}' is of no app");
            ensure!(head.has_service(part), "bad head: it says nothing of '{part}'");
            ensure!(
                *part != BackupPart::Host || head.kind == BackupKind::Host,
                "bad head: '{part}' is in a backup of apps"
            );
        }
        Ok(head)
    }

    /// Returns false for a dump of a binding that the head does not describe.
    fn has_service(&self, part: &BackupPart) -> bool {
        let BackupPart::Service(app, variable) = part else { return true };
        let saved = self.apps.iter().find(|saved| saved.app == *app);
        saved.is_some_and(|saved| saved.services.iter().any(|one| one.variable == *variable))
    }

    /// Returns the parts of an app.
    pub fn parts_of<'a>(&'a self, app: &'a AppName) -> impl Iterator<Item = &'a BackupPart> {
        self.parts.iter().filter(move |part| part.app() == Some(app))
    }
}

/// Returns true for the name of a branch that git accepts as an argument. git checks the rest.
#[expect(clippy::ptr_arg, reason = "a predicate of options")]
fn is_branch(name: &String) -> bool {
    (1..=LONGEST).contains(&name.len())
        && !name.starts_with(['-', '/'])
        && name.chars().all(|c| !c.is_control() && !" ~^:?*[\\".contains(c))
        && !name.contains("..")
}

#[expect(clippy::ptr_arg, reason = "a predicate of lists")]
fn is_variable(name: &String) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[expect(clippy::ptr_arg, reason = "a predicate of options")]
fn is_commit(text: &String) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
