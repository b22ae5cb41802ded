//! Python: what the app's lock file or requirements say, in a virtualenv, which is a layer; the app's own files byte-compiled in
//! its tree. An app with a Procfile and Python files and no dependencies is one too, with an empty virtualenv.

mod asked;
mod bytecode;
mod dependencies;
mod django;
mod interpreter;
mod managed;
mod manifest;
mod misspelt;
mod pip;
mod pipenv;
mod pipfile;
mod poetry;
mod project;
mod pyenv;
mod pyproject;
mod reason;
mod requirements;
mod serve;
mod syntax;
mod target;
mod tool;
mod uv;
mod version;
mod virtualenv;

use std::path::Path;

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcessKind;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app_source::AppSource;
use crate::build_step::{BuildStep, StepOutcome};
use crate::explain;
use crate::plan::BuildPlan;
use crate::progress;
use crate::root_view::RootView;
use dependencies::PythonDependencies;
use interpreter::PythonChoice;
pub(super) use interpreter::homes;
use requirements::{FILE, LocalRequirement};

/// What conda reads.
const CONDA: [&str; 2] = ["environment.yml", "environment.yaml"];

/// The runtime.
pub(super) struct PythonRuntime;

impl Runtime for PythonRuntime {
    fn name(&self) -> &'static str {
        "python"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        if let Some(manifest) = manifest::find(source)? {
            return Ok(DetectResult::Fits(format!("there is a {}", manifest.file)));
        }
        if let Some((name, meant)) = misspelt::find(source) {
            return Ok(DetectResult::Refused(explain::python::misspelt(name, meant)));
        }
        if let Some(name) = CONDA.iter().find(|name| source.has(name)) {
            return Ok(DetectResult::Refused(explain::python::conda(name)));
        }
        let own = source.names.iter().find(|name| is_python_file(name));
        Ok(match own {
            Some(name) if source.procfile.is_some() => DetectResult::Perhaps(format!(
                "there are a Procfile and {name}, and no {FILE}: no dependencies"
            )),
            Some(name) => {
                DetectResult::Not(format!("{FILE}, or a Procfile beside {name}, which are not there"))
            }
            None => DetectResult::Not(format!(
                "{}, or *.py files with a Procfile, which are not there",
                manifest::names().join(", ")
            )),
        })
    }

    fn plan(&self, source: &AppSource, site: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let PythonChoice { interpreter, from, unmet, layer, mut warnings } =
            interpreter::choose(source, site)?;
        let mut all = managed::read(source, site.jailed)?;
        let (processes, processes_from) = processes(source)?;
        let added = added(source, &processes, &all);
        if (all.any() || !added.is_empty()) && !interpreter.has_ensurepip {
            return Err(explain::python::no_venv(&interpreter.version.minor()).into());
        }
        if let Some(local) = all.local.iter().find(|local| local.editable && !site.jailed) {
            let LocalRequirement { path, file, line, .. } = local;
            let path = if path.as_os_str().is_empty() { ".".into() } else { path.to_string_lossy() };
            return Err(explain::python::editable_without_jail(file, *line, &path).into());
        }
        let tool = tool::provide(all.manager, source, site, &interpreter)?;
        let venv = virtualenv::layer(source, site, &interpreter, &all, tool, &added)?;
        let python = venv.mount.join("bin/python").to_string_lossy().into_owned();
        warnings.append(&mut all.warnings);
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(interpreter.version.to_string()),
            version_from: Some(from),
            version_asked: unmet,
            host: interpreter.home.into_iter().filter(|_| site.jailed).collect(),
            steps: std::iter::once(bytecode::step(&python))
                .chain(django::step_for(source, &python)?)
                .collect(),
            processes,
            processes_from,
            env: virtualenv::env(&venv.mount),
            build_env: managed::build_env(&venv.mount, all.manager),
            layers: layer.into_iter().chain([venv]).collect(),
            warnings,
            ..BuildPlan::default()
        })
    }

    fn carry(&self, plan: &BuildPlan, before: &TreeHandle, tree: &TreeHandle) -> anyhow::Result<()> {
        bytecode::carry(plan.version.as_deref().unwrap_or_default(), before, tree)
    }

    fn judge(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Result<()> {
        match step.name {
            bytecode::NAME => return syntax::judge(ended, plan, view),
            django::STEP => return django::judge(ended),
            _ if ended.succeeded() => return Ok(()),
            poetry::ROOT => {
                progress::warning(&poetry::no_root(ended));
                return Ok(());
            }
            _ => {}
        }
        let source = AppSource::of_tree(&view.tree, None)?;
        let file = manifest::find(&source)?.map_or(FILE, |manifest| manifest.file);
        let version = plan.version.as_deref().unwrap_or_default();
        let from = plan.version_from.as_deref().unwrap_or_default();
        let asked = plan.version_asked.as_deref().filter(|_| step.name != tool::STEP);
        if let Some((asked, why)) = asked.zip(reason::refuses_python(&ended.lines)) {
            return Err(explain::python::refused_python(asked, from, version, &why).into());
        }
        let failure = match step.name {
            uv::STEP => uv::explain(ended),
            poetry::STEP => poetry::explain(ended),
            pipenv::STEP => pipenv::explain(ended),
            pyenv::STEP => pyenv::explain(ended, version, from),
            tool::STEP => {
                let why = reason::explain(step.name, ended, &view.tree, file);
                explain::python::no_tool(step.run.last().map_or("", String::as_str), why)
            }
            _ => reason::explain(step.name, ended, &view.tree, file),
        };
        Err(match asked.filter(|_| reason::is_build(&ended.lines)) {
            Some(asked) => explain::python::perhaps_the_python(failure, asked, from, version),
            None => failure,
        }
        .into())
    }

    fn check(&self, plan: &BuildPlan, view: &RootView) -> anyhow::Result<()> {
        syntax::check_modules(plan, view)
    }
}

/// What is installed that the app does not name: the server that it is started with.
fn added(
    source: &AppSource,
    processes: &IndexMap<ProcessName, String>,
    all: &PythonDependencies,
) -> Vec<&'static str> {
    let ours = source.procfile.is_none() || has_wsgi(source);
    [serve::WSGI, serve::ASGI]
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

/// The process types: the Procfile's, `wsgi` entries as commands of gunicorn; or, without a Procfile, what is obvious, and the
/// file that makes it so.
fn processes(source: &AppSource) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<String>)> {
    let Some(procfile) = &source.procfile else {
        let served = serve::find(source)?.ok_or_else(explain::python::no_process_types)?;
        return Ok((IndexMap::from([("web".parse()?, served.command())]), Some(served.file)));
    };
    let mut processes = IndexMap::new();
    for entry in &procfile.entries {
        let (name, mut command) = super::process(entry);
        if entry.kind == ProcessKind::Wsgi {
            if !syntax::is_callable(&entry.command) {
                return Err(explain::python::bad_wsgi(&entry.command).into());
            }
            command = serve::wsgi(&entry.command).command();
        }
        processes.insert(name, command);
    }
    Ok((processes, None))
}
