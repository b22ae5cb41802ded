//! uv: installs `uv.lock` itself, and rejects a stale one.

use toml::Value;

use crate::app::app_source::AppSource;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::pyproject::{self, PyprojectFile};
use crate::runtime::python::package_managers::pip;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::step::build_step::BuildStep;

/// The lock file, and the name of the step.
const LOCK: &str = "uv.lock";
pub(crate) const STEP: &str = "uv";
/// Variables by which an operator names another index than the one in the lock file.
pub(crate) const INDEXES: [&str; 3] = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];

/// Reads the lock file.
pub(crate) fn read(source: &AppSource, jailed: bool) -> anyhow::Result<PythonDependencies> {
    let mut all = PythonDependencies { hashes: true, locked: true, ..PythonDependencies::default() };
    all.add_fact(source, LOCK)?;
    let lock = pyproject::read_table(source, LOCK)?.unwrap_or_default();
    if let Some(project) = PyprojectFile::read(source)? {
        all.facts.push((pyproject::FILE.to_owned(), project.facts()));
    }
    for package in all.locked_packages(&lock) {
        let place = |kind| package.get("source").and_then(|source| source.get(kind)).and_then(Value::as_str);
        if let Some(path) = place("editable") {
            all.add_local(source, LOCK, path, jailed)?;
            all.package = true;
        } else if let Some(path) = place("directory").or_else(|| place("path")) {
            all.add_local(source, LOCK, path, false)?;
        }
    }
    Ok(all)
}

/// Returns the steps that make the virtualenv.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let python = target.interpreter.path.to_string_lossy();
    let uv = target.tool_program();
    let venv = target.python_program();
    let mut steps = Vec::new();
    if target.mirror {
        // The lock file contains URLs of its index; a mirror has the same files under others.
        steps.push(BuildStep::new(
            STEP,
            &[&uv, "venv", "--allow-existing", "--python", &python, &target.venv.to_string_lossy()],
            false,
        ));
        let export = "exec \"$0\" export --quiet --frozen --no-default-groups --no-emit-workspace --format requirements-txt --output-file \"$TMPDIR/requirements.txt\"";
        steps.push(BuildStep::new(STEP, &["sh", "-c", export, &uv], true));
        let install =
            "exec \"$0\" pip install --python \"$1\" --no-deps --requirement \"$TMPDIR/requirements.txt\"";
        steps.push(BuildStep::new(STEP, &["sh", "-c", install, &uv, &venv], false));
        for local in &all.local {
            let path = format!("./{}", local.path.display());
            let mut run = vec![uv.as_str(), "pip", "install", "--python", &venv, "--no-deps"];
            run.extend(local.editable.then_some("--editable"));
            run.push(&path);
            steps.push(BuildStep::new(STEP, &run, false));
        }
    } else {
        let mut sync = vec![uv.as_str(), "sync", "--locked", "--no-default-groups", "--python", &python];
        if !target.jailed {
            sync.push("--no-editable");
        }
        steps.push(BuildStep::new(STEP, &sync, false));
    }
    let added = pip::added_packages(target, all);
    if !added.is_empty() {
        let mut install = vec![uv.as_str(), "pip", "install", "--python", &venv];
        install.extend(added);
        steps.push(BuildStep::new(STEP, &install, false));
    }
    steps
}
