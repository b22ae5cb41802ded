//! Kinds of services: directories of small programs, from the installation or the operator's own.

#![expect(clippy::disallowed_methods, reason = "directories of the installation and of the operator")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;
use serde::Deserialize;

/// Environment variable with the directory of the scripts.
const SCRIPTS: &str = "PIKU_SCRIPTS";
/// Directory of the kinds among the scripts.
const KINDS: &str = "services";
/// Description of a kind in its directory.
const FILE: &str = "kind.yaml";

/// Content of `kind.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindDescription {
    /// Name of the server for people: `PostgreSQL`.
    pub(crate) description: String,
    /// Package of Debian with the server.
    pub(crate) package: String,
    /// Prefix of the variables of a binding: `DATABASE` for `DATABASE_URL`.
    pub(crate) variable: String,
    /// A server belongs to one binding only.
    #[serde(default)]
    pub(crate) exclusive: bool,
    /// Its data may be lost at any time, and a backup has none of it.
    #[serde(default)]
    pub(crate) cache: bool,
    /// Kind whose programs it uses, beside its own directory.
    #[serde(default)]
    pub(crate) programs: Option<AppName>,
}

/// A kind of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceKind {
    pub(crate) name: AppName,
    /// Directory of its programs.
    pub(crate) folder: PathBuf,
    pub(crate) about: KindDescription,
}

impl ServiceKind {
    /// Finds a kind: one of the operator before one of the installation.
    ///
    /// # Errors
    /// Fails if there is none of this name, naming those that there are, or if its description is bad.
    pub(crate) fn find(root: &PikuRoot, name: &AppName) -> anyhow::Result<Self> {
        let places = places(root);
        let folder =
            places.iter().map(|place| place.join(name.as_str())).find(|dir| dir.join(FILE).is_file());
        let Some(folder) = folder else {
            let known = list_names(&places);
            let error = UserError::new(format!("there is no kind of service '{name}'"));
            return Err(match known.as_slice() {
                [] => error.hint("reinstall piku: its directory of scripts has no 'services'"),
                known => error.hint(format!("the kinds are: {}", known.join(", "))),
            }
            .into());
        };
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
        let about: KindDescription = serde_yaml::from_str(&text)
            .with_context(|| format!("bad kind of service in '{}'", path.display()))?;
        if !piku_procfile::env::is_name(&about.variable) {
            let what = format!("'{}': '{}' cannot begin a variable's name", path.display(), about.variable);
            return Err(UserError::new(what).hint("such as variable: DATABASE").into());
        }
        let folder = match &about.programs {
            Some(other) => folder.with_file_name(other.as_str()),
            None => folder,
        };
        // The same directory whatever links lead to it.
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        Ok(Self { name: name.clone(), folder, about })
    }

    /// Returns true if the kind has this program.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.folder.join(program).is_file()
    }

    /// Fails unless the kind has this program.
    pub(crate) fn must_have(&self, program: &str) -> anyhow::Result<()> {
        if self.has(program) {
            return Ok(());
        }
        let what = format!("a service of the kind {} has no '{program}'", self.name);
        Err(UserError::new(what)
            .hint(format!("it would be the program '{}'", self.folder.join(program).display()))
            .into())
    }

    /// Returns the installed versions of the server, the newest first.
    ///
    /// # Errors
    /// Fails if the server is not installed.
    pub(crate) fn versions(&self) -> anyhow::Result<Vec<String>> {
        let program = self.folder.join("versions");
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SERVICE_KIND", self.name.as_str());
        let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let out = out.with_context(|| format!("cannot run '{}'", program.display()))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let versions: Vec<String> =
            text.lines().map(str::trim).filter(|line| is_version(line)).map(str::to_owned).collect();
        if versions.is_empty() {
            return Err(UserError::new(format!("{} is not installed", self.about.description))
                .hint(format!("sudo apt install {}", self.about.package))
                .into());
        }
        Ok(versions)
    }
}

/// Returns true if a version can be a part of a path.
fn is_version(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ".+~-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 40 && text.chars().all(is_good)
}

/// Returns the directories with kinds, the operator's first.
fn places(root: &PikuRoot) -> Vec<PathBuf> {
    let mut places = vec![root.service_kinds()];
    if let Some(scripts) = std::env::var_os(SCRIPTS).filter(|named| !named.is_empty()) {
        places.push(Path::new(&scripts).join(KINDS));
    } else {
        let own = std::env::current_exe().unwrap_or_default();
        places.extend(own.parent().map(|bin| bin.join("../lib/piku").join(KINDS)));
    }
    places
}

fn list_names(places: &[PathBuf]) -> Vec<String> {
    let mut names = Vec::new();
    for entry in places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten() {
        if entry.path().join(FILE).is_file() {
            names.extend(entry.file_name().to_str().map(str::to_owned));
        }
    }
    names.sort();
    names.dedup();
    names
}
