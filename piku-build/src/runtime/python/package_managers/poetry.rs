//! poetry: exports `poetry.lock`, which pip installs with its hashes. poetry's installer needs the index's
//! JSON interface, which mirrors often lack.

use std::path::Path;

use toml::Value;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::pyproject::{self, PyprojectFile};
use crate::runtime::python::package_managers::pip;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::step::build_step::{BuildStep, StepOutcome};

/// The lock file, and the names of the steps.
const LOCK: &str = "poetry.lock";
pub(crate) const STEP: &str = "poetry";
pub(crate) const ROOT: &str = "poetry-root";

/// Reads the lock file.
pub(crate) fn read(source: &AppSource, jailed: bool) -> anyhow::Result<PythonDependencies> {
    let mut all =
        PythonDependencies { hashes: true, locked: source.has_entry(LOCK), ..PythonDependencies::default() };
    all.add_fact(source, LOCK)?;
    let lock = pyproject::read_table(source, LOCK)?.unwrap_or_default();
    if let Some(project) = PyprojectFile::read(source)? {
        all.facts.push((pyproject::FILE.to_owned(), project.facts()));
        all.package = project.is_poetry_package();
        all.sources = project.poetry_sources();
    }
    for package in all.locked_packages(&lock) {
        let text = |name| package.get("source").and_then(|source| source.get(name)).and_then(Value::as_str);
        match (text("type"), text("url")) {
            (Some("directory"), Some(path)) => {
                let develop = package.get("develop").and_then(Value::as_bool) == Some(true);
                all.hashes = false;
                all.add_local(source, LOCK, path, develop && jailed)?;
            }
            (Some("file"), Some(path)) => all.add_local(source, LOCK, path, false)?,
            (Some("git"), _) => all.hashes = false,
            _ => {}
        }
    }
    if all.package {
        all.add_local(source, pyproject::FILE, ".", jailed)?;
    }
    if !all.locked {
        all.warnings.push(errors::python::no_lock(LOCK, "poetry lock"));
    }
    Ok(all)
}

/// Prints poetry's requirements in pip's syntax, without extras.
const REQUIREMENTS: &str = r"from pathlib import Path; from poetry.core.factory import Factory; print(*(it.to_pep_508() for it in Factory().create_poetry(Path.cwd()).package.requires if not it.is_optional()), sep='\n')";

/// Returns the steps that make the virtualenv.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let poetry = target.tool_program();
    let mut steps = vec![target.venv_step(true)];
    if all.locked || !all.sources.is_empty() {
        if !all.locked {
            steps.push(BuildStep::new(STEP, &[&poetry, "lock"], false));
        }
        steps.extend(export_steps(target, all));
    } else {
        // poetry's resolver needs the JSON interface too.
        let python = Path::new(&poetry).with_file_name("python");
        let read = "exec \"$0\" -c \"$1\" > \"$TMPDIR/requirements.txt\"";
        steps.push(BuildStep::new(STEP, &["sh", "-c", read, &python.to_string_lossy(), REQUIREMENTS], true));
        steps.push(pip::from_file(target));
    }
    if all.package {
        let pip = target.pip_program();
        let root: &[&str] = if !all.locked && target.jailed {
            // Without a lock file poetry would make one first.
            &[&pip, "install", "--no-deps", "--editable", "."]
        } else if target.jailed {
            &[&poetry, "install", "--only-root", "--no-interaction"]
        } else {
            &[&pip, "install", "--no-deps", "."]
        };
        steps.push(BuildStep::new(ROOT, root, true));
    }
    steps.extend(pip::install_added(target, all));
    steps
}

/// Exports the lock file and installs it.
fn export_steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> [BuildStep; 2] {
    let poetry = target.tool_program();
    let hashes = if all.hashes { "" } else { " --without-hashes" };
    let export = format!(
        "exec \"$0\" export --only main --with-credentials{hashes} --format requirements.txt --output \"$TMPDIR/requirements.txt\""
    );
    [BuildStep::new(STEP, &["sh", "-c", &export, &poetry], true), pip::from_export(target)]
}

/// Returns the warning for an app that could not be installed as a package, which most need not be.
pub(crate) fn root_warning(ended: &StepOutcome) -> String {
    let why = ended
        .lines
        .iter()
        .find(|line| line.contains("Error") || line.contains("error"))
        .or(ended.lines.last());
    errors::python::no_root(why.map_or("", |line| line.trim()))
}
