//! The `release.yaml` of a release that another machine has built. It is untrusted: it may only contain what
//! an app may declare in a push; this machine decides everything else.
//!
//! | field | what becomes of it |
//! |---|---|
//! | `app`, `commit`, `jailed` | checked here, then held against the head and against this machine |
//! | `architecture` | the same, and found again by looking at the files |
//! | `runtime`, `version`, `version_from`, `subject`, `by` | shown to people: bounded, without control characters |
//! | `at` | not later than now |
//! | `layers` | names, keys and mounts of the forms that a build makes, no mount twice |
//! | `processes` | what a Procfile could say |
//! | `env` | what an environment can hold, without the platform's own names |
//! | `host` | a wish: found again among the interpreters of this machine, or refused |
//! | `number`, `origin`, `tree_of`, `kept`, `profile`, `native` | never read: this machine numbers, counts and looks itself |
//! | any other | dropped |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indexmap::IndexMap;
use jiff::Timestamp;
use piku_files::untrusted_yaml;
use piku_layout::jail::{APP, LAYERS};
use piku_layout::name::{AppName, ProcessName};
use piku_procfile::procfile::{ParseOptions, Procfile};
use serde::Deserialize;

use crate::architecture::ReleaseArchitecture;
use crate::layers::is_key;
use crate::manifest::{BuiltRelease, ReleaseLayer, ReleaseOrigin};

/// Limits that no build reaches: layers, process types and variables.
const MOST_LAYERS: usize = 64;
const MOST_PROCESSES: usize = 256;
const MOST_VARIABLES: usize = 1024;
/// More homes of interpreters than a release has runtimes.
const MOST_HOMES: usize = 16;
/// The longest value of a variable, in bytes: the kernel takes it together with its name.
const LONGEST_VARIABLE: usize = 100_000;
/// The most characters of a file's name that are shown.
const LONGEST_NAME: usize = 300;
/// Variables that piku sets for each process, or that say which release it is of.
const PLATFORM: [&str; 6] = ["PORT", "BIND_ADDRESS", "DATA_DIR", "PS", "PROC_TYPE", "NOTIFY_SOCKET"];

/// A `release.yaml` that has been read and found to say nothing that a push could not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedManifest {
    app: AppName,
    commit: String,
    subject: String,
    by: String,
    at: Timestamp,
    architecture: String,
    runtime: String,
    version: Option<String>,
    version_from: Option<String>,
    layers: Vec<ReleaseLayer>,
    homes: Vec<PathBuf>,
    processes: IndexMap<ProcessName, String>,
    formation: BTreeMap<ProcessName, u32>,
    env: BTreeMap<String, String>,
    jailed: bool,
}

/// The facts about an incoming release that this machine knows and the release cannot.
#[derive(Debug)]
pub struct LocalFacts<'a> {
    /// The number that it gets here.
    pub number: u64,
    /// Name of the key that sent the release, shown after the name of the key that pushed it.
    pub via: Option<&'a str>,
    /// The kind of machine that its files need.
    pub architecture: &'a ReleaseArchitecture,
    /// Native file that needs this architecture.
    pub native: Option<String>,
    /// True if its tree has files that a shell reads before each command.
    pub has_profile: bool,
    /// The homes of interpreters that a build on this machine would show to its jail.
    pub homes: &'a [PathBuf],
    /// True if the operator allows releases to run without a jail.
    pub may_be_unjailed: bool,
    /// Current time; the time of a release is not later.
    pub now: Timestamp,
}

/// The fields that are read; all others are ignored.
#[derive(Deserialize)]
struct UntrustedFields {
    app: AppName,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    by: String,
    at: Timestamp,
    architecture: String,
    runtime: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    version_from: Option<String>,
    #[serde(default)]
    layers: Vec<ReleaseLayer>,
    #[serde(default)]
    host: Vec<PathBuf>,
    processes: IndexMap<ProcessName, String>,
    #[serde(default)]
    formation: BTreeMap<ProcessName, u32>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    jailed: bool,
}

impl ReceivedManifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// Fails if it is not a manifest, or contains a value that no build makes; the message names the field.
    pub fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let raw: UntrustedFields = untrusted_yaml::parse(text)
            .map_err(|err| anyhow::anyhow!("{}", first_line(&err.to_string(), 300)))
            .context("bad release.yaml")?;
        raw.check().context("bad release.yaml")
    }

    /// Returns the app that the manifest names.
    #[must_use]
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// Returns the commit, 40 or 64 hex digits, or nothing.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the architecture that the manifest names.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns whether it was built for a jail.
    #[must_use]
    pub fn is_jailed(&self) -> bool {
        self.jailed
    }

    /// Returns the layers that it needs.
    #[must_use]
    pub fn layers(&self) -> &[ReleaseLayer] {
        &self.layers
    }

    /// Converts the manifest to a release of this machine.
    ///
    /// # Errors
    /// Fails if it needs directories that no build on this machine shows, or an unallowed run without a jail.
    pub fn into_release(self, here: &LocalFacts<'_>) -> anyhow::Result<BuiltRelease> {
        ensure!(
            self.jailed || here.may_be_unjailed,
            "the release wants to run without a jail, which it may where host.yaml says 'sandbox: off'"
        );
        let host =
            self.homes.iter().map(|wanted| find_home(wanted, here.homes)).collect::<anyhow::Result<_>>()?;
        let by = match here.via {
            Some(via) => format!("{} via {via}", self.by),
            None => self.by,
        };
        Ok(BuiltRelease {
            app: self.app,
            number: here.number,
            commit: self.commit,
            subject: self.subject,
            by,
            // No other release here could have the same tree.
            origin: ReleaseOrigin::Deploy,
            tree_of: None,
            at: self.at.min(here.now),
            architecture: here.architecture.to_string(),
            native: here.native.as_deref().map(|path| first_line(path, LONGEST_NAME)),
            runtime: self.runtime,
            version: self.version,
            version_from: self.version_from,
            layers: self.layers,
            host,
            profile: here.has_profile,
            // Layers that only its builder has.
            kept: Vec::new(),
            processes: self.processes,
            formation: self.formation,
            env: self.env,
            jailed: self.jailed,
        })
    }
}

/// Finds a home among those of this machine; it is this machine's path that is mounted.
fn find_home(wanted: &Path, here: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let found = here.iter().find(|home| home.as_path() == wanted).cloned();
    found.with_context(|| {
        format!(
            "the release needs the interpreter in '{}', and no interpreter of this machine is there",
            first_line(&wanted.to_string_lossy(), 200)
        )
    })
}

impl UntrustedFields {
    fn check(self) -> anyhow::Result<ReceivedManifest> {
        let is_commit = [0, 40, 64].contains(&self.commit.len()) && self.commit.bytes().all(is_hex);
        ensure!(is_commit, "'commit' is no commit");
        for (field, word) in [("architecture", Some(&self.architecture)), ("runtime", Some(&self.runtime))]
            .into_iter()
            .chain([("version", self.version.as_ref())])
        {
            ensure!(word.is_none_or(|word| is_word(word)), "'{field}' is no plain word");
        }
        ensure!(self.host.len() <= MOST_HOMES, "'host' names more than {MOST_HOMES} folders");
        check_layers(&self.layers, self.jailed)?;
        check_processes(&self.processes)?;
        ensure!(self.formation.len() <= MOST_PROCESSES, "'formation' has more than {MOST_PROCESSES}");
        check_env(&self.env)?;
        Ok(ReceivedManifest {
            app: self.app,
            commit: self.commit,
            subject: first_line(&self.subject, 300),
            by: first_line(&self.by, 64),
            at: self.at,
            architecture: self.architecture,
            runtime: self.runtime,
            version: self.version,
            version_from: self.version_from.map(|from| first_line(&from, 200)),
            layers: self.layers,
            homes: self.host,
            processes: self.processes,
            formation: self.formation,
            env: self.env,
            jailed: self.jailed,
        })
    }
}

/// Checks the mounts. Layers of a release without a jail must be where they were built; the caller compares
/// these paths.
fn check_layers(layers: &[ReleaseLayer], jailed: bool) -> anyhow::Result<()> {
    ensure!(layers.len() <= MOST_LAYERS, "'layers' has more than {MOST_LAYERS}");
    let mut mounts = BTreeSet::new();
    for ReleaseLayer { name, key, mount } in layers {
        ensure!(is_word(name), "a layer's name is no plain word");
        ensure!(is_key(key), "the layer '{name}' has no key");
        ensure!(mounts.insert(mount), "two layers are mounted at one place");
        if !jailed {
            continue;
        }
        // Node finds the app's packages in the app.
        let below = |top: &str| mount.to_str()?.strip_prefix(top)?.strip_prefix('/');
        let place = below(LAYERS).or_else(|| below(APP)).unwrap_or_default();
        let is_plain =
            place.len() <= 255 && place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        ensure!(
            is_plain && !["", ".", ".."].contains(&place),
            "the layer '{name}' has no place below {LAYERS} or {APP}"
        );
    }
    Ok(())
}

/// Checks that a Procfile could say it.
fn check_processes(processes: &IndexMap<ProcessName, String>) -> anyhow::Result<()> {
    ensure!(processes.len() <= MOST_PROCESSES, "'processes' has more than {MOST_PROCESSES}");
    ensure!(!processes.is_empty(), "'processes' is empty");
    for (name, command) in processes {
        let line = format!("{name}: {command}");
        let parsed = Procfile::parse(line.as_bytes(), ParseOptions::default());
        let is_one = parsed.is_ok_and(|parsed| parsed.entries.len() == 1);
        ensure!(
            is_one && !command.chars().any(char::is_control) && command.trim() == command,
            "the command of '{name}' is none that a Procfile can have"
        );
    }
    Ok(())
}

fn check_env(env: &BTreeMap<String, String>) -> anyhow::Result<()> {
    ensure!(env.len() <= MOST_VARIABLES, "'env' has more than {MOST_VARIABLES} variables");
    for (name, value) in env {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= 255
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        ensure!(is_name, "'env' has a name that no variable has");
        ensure!(
            !PLATFORM.contains(&name.as_str()) && !name.starts_with("PIKU_"),
            "'env' sets {name}, which is piku's own"
        );
        ensure!(
            !value.contains('\0') && value.len() <= LONGEST_VARIABLE,
            "the value of {name} in 'env' fits into no environment"
        );
    }
    Ok(())
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Returns whether the text is the name of an architecture, a runtime, a version or a layer: nothing that a
/// shell, a path or a terminal takes for anything else.
fn is_word(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// Returns the start of the first line without control characters.
fn first_line(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests;
