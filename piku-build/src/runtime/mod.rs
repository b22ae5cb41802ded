//! The runtimes: one module for each language, behind one trait, tried in the order of a table.

pub(crate) mod binary;
pub(crate) mod buildpack;
mod detection;
#[cfg(test)]
mod example;
mod go;
mod java;
mod node;
mod python;
mod ruby;
mod rust;
mod semver_range;
pub(crate) mod static_files;
mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcfileEntry;
use piku_report::user_error::UserError;

use crate::app::app_source::AppSource;
use crate::app::command_check::parse_entries;
use crate::app::started_programs::find_started;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::build_target::BuildTarget;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;

pub(crate) use detection::{DetectedRuntime, RuntimeChoice, choose, none_fits};
pub(crate) use version::RequestedVersion;

/// All runtimes; the first that matches is chosen. A back end comes before the language that its front end
/// is often written in, and the runtime that requires least is last.
pub(crate) static RUNTIMES: &[&dyn Runtime] = &[
    // Explicit choices come before detected languages.
    &buildpack::BuildpackRuntime,
    &python::PythonRuntime,
    // Compiled languages.
    &go::GoRuntime,
    &rust::RustRuntime,
    &java::JavaRuntime,
    // Ruby apps nearly always have a package.json too; a Gemfile may be there for a tool alone.
    &ruby::RubyRuntime,
    &node::NodeRuntime,
    &static_files::StaticRuntime,
    &binary::BinaryRuntime,
];

/// Returns the homes of interpreters outside of `/usr`, which a release may need mounted.
pub(crate) fn list_homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut homes = python::list_homes(build_env);
    homes.extend(ruby::homes(build_env));
    homes
}

/// The result of asking a runtime whether it builds an app. The texts are reasons, shown to the user.
pub(crate) enum DetectResult {
    /// The app is written for this runtime.
    Match(String),
    /// The app may be; a runtime with a full match is preferred.
    WeakMatch(String),
    /// The app is not; the text names what was looked for.
    NoMatch(String),
    /// The app is, but cannot be built as it is. Another runtime that matches is preferred.
    Unsupported(UserError),
    /// A file has nearly the name that was looked for. Any other runtime that matches is preferred, even
    /// weakly.
    Resembles {
        /// Name of the file.
        name: String,
        failure: UserError,
    },
}

/// Returns the result for a file with nearly the right name: the refusal if the app has code of the language.
fn refuse_or_warn(has_code: bool, name: &str, failure: UserError) -> DetectResult {
    if has_code {
        DetectResult::Unsupported(failure)
    } else {
        DetectResult::Resembles { name: name.to_owned(), failure }
    }
}

/// A language or kind of app: detects it, plans its build and explains failures.
pub(crate) trait Runtime: Sync {
    /// Returns the name, as in `release.yaml` and `RUNTIME=`.
    fn name(&self) -> &'static str;

    /// Returns whether its steps, as a rule, write into the app's tree. The files then are copied at once,
    /// which is faster than links that are replaced by copies.
    fn writes_tree(&self) -> bool {
        true
    }

    /// Says whether the app is of this kind. Runs no program of the app.
    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult>;

    /// Plans the build. Runs no program of the app.
    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan>;

    /// Copies from the previous release's tree what the steps would otherwise make again.
    fn reuse_previous(
        &self,
        _plan: &BuildPlan,
        _before: &TreeHandle,
        _tree: &TreeHandle,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    /// Checks the outcome of a step. The error explains why the build cannot go on.
    fn check_step(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Result<()> {
        if ended.succeeded() { Ok(()) } else { Err(self.explain_failure(step, ended, plan, view)) }
    }

    /// Explains a failed step.
    fn explain_failure(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        _plan: &BuildPlan,
        _view: &RootView,
    ) -> anyhow::Error {
        unexplained(step, ended).into()
    }

    /// Completes the plan with what only the built tree can tell, such as the default process types.
    fn complete_plan(&self, _plan: &mut BuildPlan, _view: &RootView) -> anyhow::Result<()> {
        Ok(())
    }

    /// Checks the process types of the finished tree beyond the existence of their programs.
    fn check_processes(&self, _plan: &BuildPlan, _view: &RootView) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Returns a path from the operator's `build_env` in host.yaml, or else from piku-build's environment. An
/// app cannot decide which folders of the machine it sees.
fn operator_path(build_env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let told = build_env.get(name).map(Into::into).or_else(|| std::env::var_os(name));
    told.filter(|told| !told.is_empty()).map(PathBuf::from)
}

/// Returns the process types of the Procfile; `None` without one. A runtime's defaults count only without a
/// Procfile.
fn procfile_processes(source: &AppSource) -> Option<IndexMap<ProcessName, String>> {
    source.procfile.as_ref().map(|procfile| procfile.entries.iter().map(convert_entry).collect())
}

/// Refuses process types that start Deno or Bun where neither the machine nor the `packages` of the app have
/// it.
fn check_js_runtimes(
    processes: &IndexMap<ProcessName, String>,
    target: &BuildTarget,
    packages: &[&str],
) -> anyhow::Result<()> {
    for entry in parse_entries(processes) {
        for started in find_started(&entry.command) {
            let program = match started.words[0].as_str() {
                "bun" | "bunx" => "bun",
                "deno" => "deno",
                _ => continue,
            };
            if !packages.contains(&program) && target.find_tool(program).is_none() {
                return Err(errors::detection::no_js_runtime(program, &entry.command).into());
            }
        }
    }
    Ok(())
}

/// Returns whether a process type of the Procfile starts one of these programs.
fn starts_program(source: &AppSource, programs: &[&str]) -> bool {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    let mut started = entries.flat_map(|entry| find_started(&entry.command));
    started.any(|started| programs.contains(&started.name()))
}

/// Returns the error of a failed step without an explanation. Lines that were already shown are not repeated.
fn unexplained(step: &BuildStep, ended: &StepOutcome) -> UserError {
    let lines: &[String] = if step.quiet { &ended.lines } else { &[] };
    errors::step_failed(step.name, ended, lines)
}

/// Converts a Procfile entry into that of a release. A schedule stays in front of its command.
pub(crate) fn convert_entry(entry: &ProcfileEntry) -> (ProcessName, String) {
    let command = match &entry.schedule {
        Some(schedule) => format!("{schedule} {}", entry.command),
        None => entry.command.clone(),
    };
    (entry.name.clone(), command)
}
