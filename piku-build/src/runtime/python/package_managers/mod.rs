//! The package managers: what each reads, runs and gets as environment.

pub(crate) mod installer;
pub(crate) mod pip;
pub(crate) mod pipenv;
pub(crate) mod pipfile_hash;
pub(crate) mod poetry;
pub(crate) mod program;
pub(crate) mod uv;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::app::app_source::AppSource;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::pyproject;
use crate::runtime::python::dependency_files::requirements::{self, PythonRequirements};
use crate::runtime::python::dependency_files::{self, PythonManager, PythonManifest};
use crate::runtime::python::package_bytecode;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::step::build_step::BuildStep;

/// Reads the dependencies of the app.
///
/// # Errors
/// Fails if a file is not what its name says, or something leads out of the app.
pub(crate) fn read_dependencies(source: &AppSource, jailed: bool) -> anyhow::Result<PythonDependencies> {
    let Some(PythonManifest { manager, file, others }) = dependency_files::find(source)? else {
        return Ok(PythonDependencies { file: requirements::FILE, ..PythonDependencies::default() });
    };
    let mut all = match manager {
        PythonManager::Uv => uv::read(source, jailed)?,
        PythonManager::Poetry => poetry::read(source, jailed)?,
        PythonManager::Pipenv => pipenv::read(source)?,
        PythonManager::Project => pyproject::read_dependencies(source, file, jailed)?,
        PythonManager::Pip => PythonRequirements::read(source)?.into(),
    };
    all.manager = Some(manager);
    all.file = file;
    if !others.is_empty() {
        all.warnings.push(format!("{file} lists the dependencies; not read: {}", others.join(", ")));
    }
    Ok(all)
}

/// Returns the steps that install them.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let mut steps = match all.manager {
        Some(PythonManager::Uv) => uv::steps(target, all),
        Some(PythonManager::Poetry) => poetry::steps(target, all),
        Some(PythonManager::Pipenv) => pipenv::steps(target, all),
        Some(PythonManager::Pip | PythonManager::Project) | None => pip::steps(target, all),
    };
    if all.is_installing() || !target.added.is_empty() {
        steps.push(package_bytecode::compile_packages(&target.python_program(), target.venv));
    }
    steps
}

/// Returns the prefixes of variables that a package manager reads.
pub(crate) fn variable_prefixes(manager: Option<PythonManager>) -> BTreeSet<&'static str> {
    match manager {
        Some(PythonManager::Uv) => BTreeSet::from(["UV_"]),
        Some(PythonManager::Poetry) => BTreeSet::from(["PIP_", "POETRY_"]),
        Some(PythonManager::Pipenv) => BTreeSet::from(["PIP_", "PIPENV_"]),
        _ => BTreeSet::from(["PIP_", "UV_"]),
    }
}

/// Settings of pip for build steps.
const PIP: [(&str, &str); 5] = [
    ("PIP_NO_INPUT", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_NO_PYTHON_VERSION_WARNING", "1"),
    ("PIP_PROGRESS_BAR", "off"),
    ("PIP_ROOT_USER_ACTION", "ignore"),
];
/// Settings of uv for build steps.
const UV: [(&str, &str); 3] = [
    // The cache is on another mount, and a layer must not share files with it.
    ("UV_LINK_MODE", "copy"),
    ("UV_NO_PROGRESS", "1"),
    ("UV_PYTHON_DOWNLOADS", "never"),
];

/// Returns the environment of the steps of tools that all apps share.
pub(crate) fn tool_env() -> BTreeMap<String, String> {
    PIP.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Returns the environment of the package managers. `index` is the package index for uv that pip's settings
/// name.
pub(crate) fn build_env(
    venv: &Path,
    manager: Option<PythonManager>,
    index: Option<String>,
) -> BTreeMap<String, String> {
    let place = venv.to_string_lossy();
    let mut env = tool_env();
    let more: &[(&str, &str)] = match manager {
        Some(PythonManager::Uv) => &[("UV_PROJECT_ENVIRONMENT", &place), UV[0], UV[1], UV[2]],
        Some(PythonManager::Poetry) => {
            &[("POETRY_VIRTUALENVS_CREATE", "false"), ("POETRY_NO_INTERACTION", "1")]
        }
        Some(PythonManager::Pipenv) => &[
            ("PIPENV_VERBOSITY", "-1"),
            ("PIPENV_NOSPIN", "1"),
            ("PIPENV_YES", "1"),
            ("PIPENV_DONT_LOAD_ENV", "1"),
            ("PIPENV_MAX_DEPTH", "1"),
        ],
        // pip does not read uv's settings in pyproject.toml.
        Some(PythonManager::Pip | PythonManager::Project) | None => {
            &[("UV_NO_CONFIG", "1"), UV[0], UV[1], UV[2]]
        }
    };
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    env.extend(index.map(|index| ("UV_DEFAULT_INDEX".to_owned(), index)));
    env
}
