//! The runtimes, one file each behind one trait, tried in the order of the table.

pub(crate) mod binary;
pub(crate) mod buildpack;
mod choice;
mod go;
mod java;
mod misspelt;
mod node;
mod python;
mod ruby;
mod rust;
mod static_files;
mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcfileEntry;
use piku_report::user_error::UserError;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::build_target::BuildTarget;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;

pub(crate) use choice::{DetectedRuntime, RuntimeChoice, choose};
pub(crate) use version::RequestedVersion;

/// All runtimes. The first one that fits has the app. A back end comes before what often lies beside it for its front end;
/// the one that needs least is last.
static ALL: &[&dyn Runtime] = &[
    // What says in its own file which runtime it is comes before what is recognised by other files.
    &buildpack::BuildpackRuntime,
    // Back ends that often have a package.json beside them.
    &python::PythonRuntime,
    // What is built by its own compiler.
    &go::GoRuntime,
    &rust::RustRuntime,
    &java::JavaRuntime,
    // Back ends that nearly always have a package.json beside them; a Gemfile may be there for a tool alone.
    &ruby::RubyRuntime,
    // Front ends, and back ends in their language.
    &node::NodeRuntime,
    &static_files::StaticRuntime,
    // Ready to run.
    &binary::BinaryRuntime,
];

/// The homes of the interpreters beside the system's, of all runtimes that have such: what a release may need to see of this
/// machine where it is.
pub(crate) fn homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut homes = python::homes(build_env);
    homes.extend(ruby::homes(build_env));
    homes
}

/// What a runtime says to an app.
pub(crate) enum DetectResult {
    /// It is one of mine, because.
    Fits(String),
    /// It may be, because; anything that fits better has it.
    Perhaps(String),
    /// It is not: what was looked for, or why that does not count.
    Not(String),
    /// It is one of mine, and cannot be built as it is; it is another's where that fits.
    Refused(UserError),
}

/// One kind of app: how it is recognised, what is done to build it, and what a failure means.
pub(crate) trait Runtime: Sync {
    /// The name, as in `release.yaml`.
    fn name(&self) -> &'static str;

    /// Whether the app is of this kind. Runs nothing.
    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult>;

    /// What is to be done. Runs nothing of the app's.
    fn plan(&self, source: &AppSource, site: &BuildTarget) -> anyhow::Result<BuildPlan>;

    /// Takes from the tree of the release before, a copy each, what the steps would make again in this one.
    fn carry(&self, _plan: &BuildPlan, _before: &TreeHandle, _tree: &TreeHandle) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether a step's end is good enough to go on; the error explains.
    fn judge(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        _plan: &BuildPlan,
        _view: &RootView,
    ) -> anyhow::Result<()> {
        if ended.succeeded() {
            return Ok(());
        }
        // What was shown is not repeated.
        let lines: &[String] = if step.quiet { &ended.lines } else { &[] };
        Err(errors::step_failed(step.name, ended, lines).into())
    }

    /// What only the built tree can tell, once the steps are done: the process types of an app without a Procfile, their
    /// environment.
    fn finish(&self, _plan: &mut BuildPlan, _view: &RootView) -> anyhow::Result<()> {
        Ok(())
    }

    /// What it knows about the process types of the finished tree beyond whether their programs are there.
    fn check(&self, _plan: &BuildPlan, _view: &RootView) -> anyhow::Result<()> {
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
fn procfile(source: &AppSource) -> Option<IndexMap<ProcessName, String>> {
    source.procfile.as_ref().map(|procfile| procfile.entries.iter().map(process).collect())
}

/// A line of the Procfile as a release has it: a schedule stays in front of its command.
pub(crate) fn process(entry: &ProcfileEntry) -> (ProcessName, String) {
    let command = match &entry.schedule {
        Some(schedule) => format!("{schedule} {}", entry.command),
        None => entry.command.clone(),
    };
    (entry.name.clone(), command)
}
