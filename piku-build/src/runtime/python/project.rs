//! An app that says what it needs as a package does: `pyproject.toml` (PEP 621), `setup.py`, `setup.cfg`.

use super::dependencies::PythonDependencies;
use super::pyproject::{self, PyprojectFile};
use super::requirements::{self, name_of};
use crate::app_source::AppSource;
use crate::explain;

/// Reads what it says.
pub(super) fn read(source: &AppSource, file: &str, jailed: bool) -> anyhow::Result<PythonDependencies> {
    let mut all = PythonDependencies::default();
    let project = PyprojectFile::read(source)?;
    let named = project.as_ref().map(PyprojectFile::dependencies).unwrap_or_default();
    for dependency in &named {
        if let Some(name) = name_of(dependency) {
            all.packages.insert(name, requirements::specifier(dependency));
        }
    }
    if let Some(project) = &project {
        all.facts.push((pyproject::FILE.to_owned(), project.facts()));
    }
    all.package = file != pyproject::FILE || project.is_some_and(|project| project.is_package());
    if all.package {
        all.local(source, file, ".", jailed)?;
        // In place, where the path of the build is the path of the release: a change of the code installs nothing then.
        let install: &[&str] = if jailed { &["--use-pep517", "--editable", "."] } else { &["."] };
        all.targets = install.iter().map(|word| (*word).to_owned()).collect();
    } else {
        // Without a build system it is no package, and pip's guess at one goes wrong with any second folder.
        all.targets = named;
    }
    if file == pyproject::FILE {
        all.warnings.push(explain::python::no_lock("uv.lock", "uv lock"));
    }
    Ok(all)
}
