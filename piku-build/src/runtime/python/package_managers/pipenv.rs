//! pipenv: exports `Pipfile.lock`, which pip installs with its hashes. A stale lock is rejected before
//! anything is installed. `pipenv verify` does that too, but it calls each lock of an older pipenv stale.

use serde_json::{Map, Value};

use crate::app::app_source::AppSource;
use crate::errors;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::pyproject;
use crate::runtime::python::dependency_files::requirements::normalize_name;
use crate::runtime::python::package_managers::{pip, pipfile_hash};
use crate::runtime::python::virtualenv::VenvTarget;
use crate::step::build_step::BuildStep;

/// The lock file, and the name of the steps.
const LOCK: &str = "Pipfile.lock";
pub(crate) const STEP: &str = "pipenv";
/// The largest number of differences that are listed.
const SHOWN: usize = 5;

/// Reads the lock file, or else the Pipfile.
pub(crate) fn read(source: &AppSource) -> anyhow::Result<PythonDependencies> {
    let mut all =
        PythonDependencies { hashes: true, locked: source.has_entry(LOCK), ..PythonDependencies::default() };
    all.add_fact(source, FILE)?;
    all.add_fact(source, LOCK)?;
    let table = pyproject::read_table(source, FILE)?.unwrap_or_default();
    let Some(text) = source.read_bytes(LOCK)? else {
        let packages = table.get("packages").and_then(toml::Value::as_table);
        for (name, value) in packages.into_iter().flatten() {
            let version = value.as_str().filter(|version| *version != "*").unwrap_or_default();
            all.packages.insert(normalize_name(name), version.to_owned());
        }
        all.warnings.push(errors::python::no_lock(LOCK, "pipenv lock"));
        return Ok(all);
    };
    let lock: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|err| errors::python::bad_lock(LOCK, err.line(), "pipenv lock"))?;
    check_lock(&table, &lock)?;
    for (name, entry) in lock.get("default").and_then(Value::as_object).into_iter().flatten() {
        let text = |name| entry.get(name).and_then(Value::as_str);
        all.packages.insert(normalize_name(name), text("version").unwrap_or_default().to_owned());
        if let Some(path) = text("path").or_else(|| text("file").filter(|file| !file.contains("://"))) {
            let editable = entry.get("editable").and_then(Value::as_bool) == Some(true);
            all.add_local(source, LOCK, path, editable)?;
        }
        all.hashes &= entry.get("hashes").is_some();
    }
    Ok(all)
}

/// Rejects a lock that was made from another Pipfile.
fn check_lock(pipfile: &toml::Table, lock: &Map<String, Value>) -> anyhow::Result<()> {
    let hash = lock.get("_meta").and_then(|meta| meta.get("hash")?.get("sha256")?.as_str());
    if pipfile_hash::matches(pipfile, hash.unwrap_or_default()) {
        return Ok(());
    }
    let locked = lock.get("default").and_then(Value::as_object);
    let locked =
        |name: &str| locked.and_then(|all| all.iter().find(|(other, _)| normalize_name(other) == name));
    let mut differences = Vec::new();
    for (name, value) in pipfile.get("packages").and_then(toml::Value::as_table).into_iter().flatten() {
        let wanted = value.as_str().or_else(|| value.get("version")?.as_str()).unwrap_or_default();
        match locked(&normalize_name(name)) {
            None => differences.push(format!("'{name}' is in the Pipfile and not in the lock")),
            Some((_, entry)) => {
                let pinned = entry.get("version").and_then(Value::as_str).unwrap_or_default();
                if wanted.starts_with("==") && !wanted.contains('*') && wanted != pinned {
                    differences.push(format!("'{name}' is {wanted} in the Pipfile and {pinned} in the lock"));
                }
            }
        }
    }
    differences.truncate(SHOWN);
    Err(errors::python::stale_pipfile_lock(&differences).into())
}

/// Returns the steps that make the virtualenv.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let pipenv = target.tool_program();
    let mut export = "exec \"$0\" requirements".to_owned();
    if all.hashes {
        export.push_str(" --hash");
    }
    if target.mirror {
        export.push_str(" --exclude-index");
    }
    export.push_str(" > \"$TMPDIR/requirements.txt\"");
    let mut steps = vec![target.venv_step(true)];
    if !all.locked {
        steps.push(BuildStep::new(STEP, &[&pipenv, "lock"], true));
    }
    steps.push(BuildStep::new(STEP, &["sh", "-c", &export, &pipenv], true));
    steps.push(pip::from_export(target));
    steps.extend(pip::install_added(target, all));
    steps
}

pub(crate) const FILE: &str = "Pipfile";

/// Returns the Python version that the Pipfile requests.
pub(crate) fn requested_python(source: &AppSource) -> anyhow::Result<Option<String>> {
    let table = pyproject::read_table(source, FILE)?.unwrap_or_default();
    let requires = table.get("requires");
    let text = |name| requires.and_then(|requires| requires.get(name)).and_then(toml::Value::as_str);
    Ok(text("python_full_version").or_else(|| text("python_version")).map(str::to_owned))
}
