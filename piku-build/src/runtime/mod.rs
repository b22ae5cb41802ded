//! The runtimes, one file each behind one trait, tried in the order of the table.

mod binary;
mod python;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use piku_procfile::failure::Failure;
use piku_procfile::name::ProcessName;
use piku_procfile::procfile::Entry;
use serde::Serialize;

use crate::explain;
use crate::hash::Key;
use crate::layer::Store;
use crate::plan::Plan;
use crate::source::Source;
use crate::step::{Ended, Step};
use crate::view::View;

/// All runtimes. The first one that fits has the app; the one that needs least is last.
static ALL: [&dyn Runtime; 2] = [&python::Python, &binary::Binary];

/// What a runtime says to an app.
pub(crate) enum Detection {
    /// It is one of mine, because.
    Fits(String),
    /// It is not: what was looked for, or why that does not count.
    Not(String),
    /// It is one of mine, and cannot be built as it is.
    Refused(Failure),
}

/// Where a plan is for.
pub(crate) struct Site<'a> {
    /// Whether steps and processes run in the jail.
    pub(crate) jailed: bool,
    /// Where layers are kept; unknown when a plan is made without one.
    pub(crate) store: Option<&'a Store>,
    /// As `uname -m` says.
    pub(crate) architecture: &'a str,
    /// What the operator puts into the environment of build steps.
    pub(crate) build_env: &'a BTreeMap<String, String>,
}

impl Site<'_> {
    /// Where layers are mounted: their own path where there is no jail.
    pub(crate) fn layers(&self) -> &Path {
        match self.store {
            Some(store) if !self.jailed => store.path(),
            _ => Path::new("/layers"),
        }
    }

    /// The beginning of a layer's key: what all layers of this kind here have in common. A change of what they look like
    /// changes `format`.
    pub(crate) fn key(&self, kind: &str, format: u32) -> Key {
        let mut key = Key::new(kind, format);
        key.fact("architecture", self.architecture.as_bytes());
        if let Some(edition) = self.store.and_then(Store::edition) {
            key.fact("edition", edition.as_bytes());
        }
        key
    }

    /// Where processes find the layer `name` of this key.
    pub(crate) fn mount(&self, name: &str, key: &str) -> PathBuf {
        match self.store {
            Some(store) if !self.jailed => store.content(key),
            _ => self.layers().join(name),
        }
    }
}

/// One kind of app: how it is recognised, what is done to build it, and what a failure means.
pub(crate) trait Runtime: Sync {
    /// The name, as in `release.yaml`.
    fn name(&self) -> &'static str;

    /// Whether the app is of this kind. Runs nothing.
    fn detect(&self, source: &Source) -> anyhow::Result<Detection>;

    /// What is to be done. Runs nothing of the app's.
    fn plan(&self, source: &Source, site: &Site) -> anyhow::Result<Plan>;

    /// Whether a step's end is good enough to go on; the error explains.
    fn judge(&self, step: &Step, ended: &Ended, plan: &Plan, view: &View) -> anyhow::Result<()>;

    /// What it knows about the process types of the finished tree beyond whether their programs are there.
    fn check(&self, _plan: &Plan, _view: &View) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Which runtime an app is of. These names are a contract with scripts.
#[derive(Serialize)]
pub(crate) struct Detected {
    /// The runtime's name.
    pub(crate) runtime: &'static str,
    /// Why.
    pub(crate) because: String,
    /// The others, and why not.
    pub(crate) others: Vec<Other>,
}

/// A runtime that an app is not of.
#[derive(Serialize)]
pub(crate) struct Other {
    /// The runtime's name.
    pub(crate) runtime: &'static str,
    /// Why not.
    pub(crate) because: String,
}

/// Finds the app's runtime.
///
/// # Errors
/// When none fits, with the list of what was looked for; when the one that fits refuses.
pub(crate) fn detect(source: &Source) -> anyhow::Result<(&'static dyn Runtime, Detected)> {
    let mut chosen: Option<(&'static dyn Runtime, String)> = None;
    let mut others = Vec::new();
    for runtime in ALL {
        match runtime.detect(source)? {
            Detection::Fits(because) if chosen.is_none() => chosen = Some((runtime, because)),
            Detection::Refused(failure) if chosen.is_none() => return Err(failure.into()),
            Detection::Not(because) => others.push(Other { runtime: runtime.name(), because }),
            Detection::Fits(because) => {
                let first = chosen.as_ref().map_or("", |(runtime, _)| runtime.name());
                others.push(Other {
                    runtime: runtime.name(),
                    because: format!("{because}, but {first} comes first"),
                });
            }
            Detection::Refused(_) => {}
        }
    }
    let Some((runtime, because)) = chosen else {
        let looked_for: Vec<_> = others.into_iter().map(|other| (other.runtime, other.because)).collect();
        return Err(explain::nothing_fits(&looked_for, &source.names).into());
    };
    Ok((runtime, Detected { runtime: runtime.name(), because, others }))
}

impl std::fmt::Display for Detected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.runtime, self.because)?;
        self.others.iter().try_for_each(|other| writeln!(f, "not {}: {}", other.runtime, other.because))
    }
}

/// A line of the Procfile as a release has it: a schedule stays in front of its command.
fn process(entry: &Entry) -> (ProcessName, String) {
    let command = match &entry.schedule {
        Some(schedule) => format!("{schedule} {}", entry.command),
        None => entry.command.clone(),
    };
    (entry.name.clone(), command)
}
