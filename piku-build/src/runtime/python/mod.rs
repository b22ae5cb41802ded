//! Python: installs the dependencies into a virtualenv, which is a layer, and byte-compiles the app's files
//! in its tree. An app with a Procfile and Python files, but without dependencies, gets an empty
//! virtualenv.

mod bytecode;
mod callable_search;
mod compile_check;
mod default_command;
mod dependency_files;
mod django;
mod failures;
mod package_bytecode;
mod package_managers;
mod server_check;
mod shared_bytecode;
mod venv_seed;
mod version;
mod virtualenv;

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcessKind;
use piku_report::progress;

use super::{BuildTarget, DetectResult, Runtime, binary, node};
use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;
use default_command::DefaultProcess;
use dependency_files::PythonDependencies;
use dependency_files::requirements::{FILE, LocalRequirement};
use package_managers::{installer, pipenv, poetry, program, uv};
use version::interpreter::{self, PythonChoice};
use version::pyenv;

pub(super) use interpreter::list_homes;

/// Files that only conda reads.
const CONDA: [&str; 2] = ["environment.yml", "environment.yaml"];

pub(super) struct PythonRuntime;

impl Runtime for PythonRuntime {
    fn name(&self) -> &'static str {
        "python"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        if let Some(manifest) = dependency_files::find(source)? {
            return Ok(DetectResult::Match(format!("there is a {}", manifest.file)));
        }
        let own = source.names.iter().find(|name| is_python_file(name));
        let failure = match dependency_files::find_misspelt(source) {
            Some((name, meant)) => Some((name, errors::python::misspelt(name, meant))),
            None => CONDA
                .into_iter()
                .find(|name| source.has_entry(name))
                .map(|name| (name, errors::python::conda(name))),
        };
        if let Some((name, failure)) = failure {
            return Ok(super::refuse_or_warn(own.is_some(), name, failure));
        }
        Ok(match own {
            Some(name) if source.procfile.is_some() => DetectResult::WeakMatch(format!(
                "there are a Procfile and {name}, and no {FILE}: no dependencies"
            )),
            Some(name) => match find_lone_script(source)? {
                Some(script) => {
                    DetectResult::WeakMatch(format!("there is {script}, and no {FILE}: no dependencies"))
                }
                None => DetectResult::NoMatch(format!("{FILE}, or a Procfile beside {name}, is missing")),
            },
            None => DetectResult::NoMatch(format!(
                "{}, or *.py files with a Procfile are missing",
                dependency_files::names().join(", ")
            )),
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let PythonChoice { interpreter, from, unmet, layer, mut warnings } =
            interpreter::choose(source, target)?;
        let mut all = package_managers::read_dependencies(source, target.jailed)?;
        let (processes, default) = processes(source, &all)?;
        let added = added_servers(source, &processes, &all);
        if let Some(process) = default.as_ref().filter(|process| process.is_doubtful) {
            warnings.push(errors::python::script_as_worker(&process.file));
        }
        if source.procfile.is_some() {
            let is_there = |program: &str| {
                target.find_tool(program).is_some() || source.has_entry(&format!("bin/{program}"))
            };
            warnings.append(&mut server_check::check(&processes, &all, &added, is_there)?);
        }
        if (all.is_installing() || !added.is_empty()) && !interpreter.has_ensurepip {
            return Err(errors::python::no_venv(&interpreter.version.minor()).into());
        }
        if let Some(local) = all.local.iter().find(|local| local.editable && !target.jailed) {
            let LocalRequirement { path, file, line, .. } = local;
            let path = if path.as_os_str().is_empty() { ".".into() } else { path.to_string_lossy() };
            return Err(errors::python::editable_without_jail(file, *line, &path).into());
        }
        let tool = program::find_program(all.manager, source, target, &interpreter)?;
        let installer = installer::choose(source, target, &interpreter, &all, &added)?;
        let index = installer.index.clone();
        let own = layer.is_none().then(|| interpreter.path.clone());
        let venv = virtualenv::plan_layer(source, target, &interpreter, &all, tool, installer, &added)?;
        let python = venv.mount.join("bin/python").to_string_lossy().into_owned();
        warnings.append(&mut all.warnings);
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(interpreter.version.to_string()),
            version_from: Some(from),
            version_asked: unmet,
            interpreter: own,
            host: interpreter.home.into_iter().filter(|_| target.jailed).collect(),
            steps: std::iter::once(bytecode::compile_step(&python))
                .chain(django::plan_step(source, &python)?)
                .collect(),
            processes,
            processes_from: default.map(|process| process.file),
            env: virtualenv::env(&venv.mount),
            build_env: package_managers::build_env(&venv.mount, all.manager, index),
            layers: layer.into_iter().chain([venv]).collect(),
            warnings,
            ..BuildPlan::default()
        })
    }

    fn reuse_previous(&self, plan: &BuildPlan, before: &TreeHandle, tree: &TreeHandle) -> anyhow::Result<()> {
        bytecode::reuse_compiled(plan.version.as_deref().unwrap_or_default(), before, tree)
    }

    fn check_step(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Result<()> {
        match step.name {
            bytecode::NAME => return compile_check::check_step(ended, plan, view),
            django::STEP => return django::check_step(ended),
            _ if ended.succeeded() => return Ok(()),
            poetry::ROOT => {
                progress::warning(&poetry::root_warning(ended));
                return Ok(());
            }
            _ => {}
        }
        let source = AppSource::read_tree(&view.tree, None)?;
        let file = dependency_files::find(&source)?.map_or(FILE, |manifest| manifest.file);
        let version = plan.version.as_deref().unwrap_or_default();
        let from = plan.version_from.as_deref().unwrap_or_default();
        let asked = plan.version_asked.as_deref().filter(|_| step.name != program::STEP);
        if let Some((asked, why)) = asked.zip(failures::find_python_refusal(ended)) {
            return Err(errors::python::refused_python(asked, from, version, &why).into());
        }
        let failure = match step.name {
            uv::STEP => failures::explain_uv(step.name, ended),
            poetry::STEP => failures::explain_poetry(step.name, ended),
            pipenv::STEP => errors::step_failed(step.name, ended, &ended.lines),
            pyenv::STEP => pyenv::explain_failure(ended, version, from),
            program::STEP => {
                let why = failures::explain_pip(step.name, ended, &view.tree, file);
                errors::python::no_tool(step.run.last().map_or("", String::as_str), why)
            }
            _ => failures::explain_pip(step.name, ended, &view.tree, file),
        };
        Err(match asked.filter(|_| failures::is_failed_build(ended)) {
            Some(asked) => errors::python::perhaps_the_python(failure, asked, from, version),
            None => failure,
        }
        .into())
    }

    fn check_processes(&self, plan: &BuildPlan, view: &RootView) -> anyhow::Result<()> {
        compile_check::check_modules(plan, view)
    }
}

/// Returns the servers that a process type starts and that the app does not depend on.
fn added_servers(
    source: &AppSource,
    processes: &IndexMap<ProcessName, String>,
    all: &PythonDependencies,
) -> Vec<&'static str> {
    let ours = source.procfile.is_none() || has_wsgi(source);
    [default_command::WSGI, default_command::ASGI]
        .into_iter()
        .filter(|server| ours && !all.packages.contains_key(*server))
        .filter(|server| processes.values().any(|command| command.split(' ').next() == Some(server)))
        .collect()
}

fn is_python_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "py")
}

fn has_wsgi(source: &AppSource) -> bool {
    source.procfile.iter().flat_map(|procfile| &procfile.entries).any(|entry| entry.kind == ProcessKind::Wsgi)
}

/// Endings of programs of other languages, beside which Python's scripts are but tools.
const OTHER_PROGRAMS: [&str; 4] = ["go", "java", "jar", "war"];

/// Returns the script that an app is if it has no dependencies and is nothing else. A callable needs at least
/// its framework.
fn find_lone_script(source: &AppSource) -> anyhow::Result<Option<String>> {
    // Files that start an app of another kind by themselves.
    let mut other_starts = node::SERVERS.into_iter().chain([binary::SCRIPT]);
    let is_other = other_starts.any(|name| source.has_entry(name))
        || source.names_ending(&OTHER_PROGRAMS).next().is_some();
    if is_other || !callable_search::find(source)?.is_empty() {
        return Ok(None);
    }
    Ok(default_command::find_script(source, &BTreeMap::new(), "")?.map(|process| process.file))
}

/// Returns the process types of the Procfile, with `wsgi` entries as commands of gunicorn, or else the
/// default one, alone and in the map.
fn processes(
    source: &AppSource,
    all: &PythonDependencies,
) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<DefaultProcess>)> {
    let Some(procfile) = &source.procfile else {
        let process = default_command::find(source, &all.packages)?;
        return Ok((IndexMap::from([(process.name.parse()?, process.command.clone())]), Some(process)));
    };
    let mut processes = IndexMap::new();
    for entry in &procfile.entries {
        let (name, mut command) = super::convert_entry(entry);
        if entry.kind == ProcessKind::Wsgi {
            if !compile_check::is_callable(&entry.command) {
                return Err(errors::python::bad_wsgi(&entry.command).into());
            }
            command = default_command::serve_by(default_command::WSGI, &entry.command);
        }
        processes.insert(name, command);
    }
    Ok((processes, None))
}
