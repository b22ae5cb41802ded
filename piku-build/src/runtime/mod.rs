//! The runtimes, one file each behind one trait, tried in the order of the table.

mod binary;
pub(crate) mod buildpack;
mod choice;
mod files;
mod go;
mod java;
mod misspelt;
mod node;
mod python;
mod ruby;
mod rust;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_procfile::failure::Failure;
use piku_procfile::name::ProcessName;
use piku_procfile::procfile::Entry;

use crate::environment::PATH;
use crate::explain;
use crate::hash::Key;
use crate::layer::Store;
use crate::plan::Plan;
use crate::source::Source;
use crate::step::{Ended, Step};
use crate::view::{Found, View};

pub(crate) use choice::{Choice, Detected, choose};

/// All runtimes. The first one that fits has the app. A back end comes before what often lies beside it for its front end;
/// the one that needs least is last.
static ALL: &[&dyn Runtime] = &[
    // What says in its own file which runtime it is comes before what is recognised by other files.
    &buildpack::Buildpack,
    // Back ends that often have a package.json beside them.
    &python::Python,
    // What is built by its own compiler.
    &go::Go,
    &rust::Rust,
    &java::Java,
    // Back ends that nearly always have a package.json beside them; a Gemfile may be there for a tool alone.
    &ruby::Ruby,
    // Front ends, and back ends in their language.
    &node::Node,
    &files::Files,
    // Ready to run.
    &binary::Binary,
];

/// What a runtime says to an app.
pub(crate) enum Detection {
    /// It is one of mine, because.
    Fits(String),
    /// It may be, because; anything that fits better has it.
    Perhaps(String),
    /// It is not: what was looked for, or why that does not count.
    Not(String),
    /// It is one of mine, and cannot be built as it is; it is another's where that fits.
    Refused(Failure),
}

/// Where a plan is for.
pub(crate) struct Site<'a> {
    /// Whether steps and processes run in the jail.
    pub(crate) jailed: bool,
    /// Where layers are kept; unknown when a plan is made without one.
    pub(crate) store: Option<&'a Store>,
    /// Where the tools that make layers are kept.
    pub(crate) tools: Option<&'a Store>,
    /// As `uname -m` says.
    pub(crate) architecture: &'a str,
    /// What the operator puts into the environment of build steps.
    pub(crate) build_env: &'a BTreeMap<String, String>,
    /// The commit that is built, 40 hex digits; empty when that is not known.
    pub(crate) commit: &'a str,
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

    /// Where the steps of a layer find the tool `name` of this key; without a key, what all such places have in common.
    pub(crate) fn tool_mount(&self, name: &str, key: &str) -> PathBuf {
        match self.tools {
            Some(store) if !self.jailed => store.content(key),
            _ => Path::new("/tools").join(name),
        }
    }

    /// A program of this machine, as steps and processes find it: in the jail only where the jail shows it.
    pub(crate) fn find_tool(&self, name: &str) -> Option<Found> {
        View::of_host(self.jailed, PATH).program(name)
    }

    /// The same for a program that an app of the kind `what` ("a Java app") cannot be built without.
    ///
    /// # Errors
    /// When it is not there, with the Debian package that has it.
    #[allow(dead_code, reason = "the runtimes that need it come one by one")]
    pub(crate) fn tool(&self, what: &str, name: &str) -> anyhow::Result<Found> {
        Ok(self.find_tool(name).ok_or_else(|| explain::missing_tool(what, name))?)
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

    /// Takes from the tree of the release before, a copy each, what the steps would make again in this one.
    fn carry(&self, _plan: &Plan, _before: &Path, _tree: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether a step's end is good enough to go on; the error explains.
    fn judge(&self, step: &Step, ended: &Ended, _plan: &Plan, _view: &View) -> anyhow::Result<()> {
        if ended.succeeded() {
            return Ok(());
        }
        // What was shown is not repeated.
        let lines: &[String] = if step.quiet { &ended.lines } else { &[] };
        Err(explain::step_failed(step.name, ended, lines).into())
    }

    /// What only the built tree can tell, once the steps are done: the process types of an app without a Procfile, their
    /// environment.
    fn finish(&self, _plan: &mut Plan, _view: &View) -> anyhow::Result<()> {
        Ok(())
    }

    /// What it knows about the process types of the finished tree beyond whether their programs are there.
    fn check(&self, _plan: &Plan, _view: &View) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What an operator says in `build_env` of host.yaml, or else piku-build's own environment. An app has no say in which folders
/// of the machine it sees.
fn told(build_env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let told = build_env.get(name).map(Into::into).or_else(|| std::env::var_os(name));
    told.filter(|told| !told.is_empty()).map(PathBuf::from)
}

/// The process types that the Procfile says; `None` without one. A Procfile always wins: what a runtime would start by
/// itself counts only where there is none.
fn procfile(source: &Source) -> Option<IndexMap<ProcessName, String>> {
    source.procfile.as_ref().map(|procfile| procfile.entries.iter().map(process).collect())
}

/// A line of the Procfile as a release has it: a schedule stays in front of its command.
pub(crate) fn process(entry: &Entry) -> (ProcessName, String) {
    let command = match &entry.schedule {
        Some(schedule) => format!("{schedule} {}", entry.command),
        None => entry.command.clone(),
    };
    (entry.name.clone(), command)
}
