//! The file that declares the dependencies of an app: a lock file before one that leaves versions open.

mod dependencies;
pub(crate) mod pyproject;
pub(crate) mod requirements;

use piku_procfile::misspelt::is_close;

use crate::app::app_source::AppSource;
pub(crate) use dependencies::PythonDependencies;
use pyproject::PyprojectFile;

/// The package manager that reads a dependency file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PythonManager {
    Uv,
    Poetry,
    Pipenv,
    /// pip, with a requirements file.
    Pip,
    /// pip, with the metadata of the app as a package.
    Project,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PythonManifest {
    pub(crate) manager: PythonManager,
    pub(crate) file: &'static str,
    /// Other dependency files, which are ignored.
    pub(crate) others: Vec<&'static str>,
}

/// Lock files with the file that must be beside them, then files that fix less and less.
const FILES: [(&str, Option<&str>, PythonManager); 8] = [
    ("uv.lock", Some(pyproject::FILE), PythonManager::Uv),
    ("poetry.lock", Some(pyproject::FILE), PythonManager::Poetry),
    ("Pipfile.lock", Some("Pipfile"), PythonManager::Pipenv),
    (requirements::FILE, None, PythonManager::Pip),
    ("Pipfile", None, PythonManager::Pipenv),
    (pyproject::FILE, None, PythonManager::Project),
    ("setup.py", None, PythonManager::Project),
    ("setup.cfg", None, PythonManager::Project),
];

/// A file of Cloud Native Buildpacks, whose name is near to that of a Python project.
const PROJECT: &str = "project.toml";

/// Returns the names of all dependency files.
pub(crate) fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, ..)| *name).collect()
}

/// Finds the dependency file of the app.
///
/// # Errors
/// Fails if one that may be it cannot be read.
pub(crate) fn find(source: &AppSource) -> anyhow::Result<Option<PythonManifest>> {
    let mut found: Option<PythonManifest> = None;
    for (file, beside, manager) in FILES {
        if !source.has_entry(file) || beside.is_some_and(|beside| !source.has_entry(beside)) {
            continue;
        }
        match &mut found {
            // A lock and what it locks, or the old and new metadata of a package, say the same.
            Some(first) if manager == PythonManager::Project || first.manager == manager => {}
            Some(first) => first.others.push(file),
            None => {
                let counting = reading_manager(source, file, manager)?;
                found = counting.map(|manager| PythonManifest { manager, file, others: Vec::new() });
            }
        }
    }
    Ok(found)
}

/// Returns the package manager for a file; `None` if it holds only the settings of tools, as many a
/// pyproject.toml.
fn reading_manager(
    source: &AppSource,
    file: &str,
    manager: PythonManager,
) -> anyhow::Result<Option<PythonManager>> {
    Ok(match file {
        pyproject::FILE => match PyprojectFile::read(source)? {
            Some(project) if project.is_project() => {
                Some(if project.is_poetry() { PythonManager::Poetry } else { manager })
            }
            _ => None,
        },
        "setup.cfg" => {
            let text = source.read_bytes(file)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let about = text.lines().any(|line| matches!(line.trim(), "[metadata]" | "[options]"));
            about.then_some(manager)
        }
        _ => Some(manager),
    })
}

/// Finds a misspelt dependency file at the top, and returns it with the right name: `requirments.txt`,
/// `Requirements.txt`, `pyproject.tml`, `pipfile`.
pub(crate) fn find_misspelt(source: &AppSource) -> Option<(&str, &'static str)> {
    let meant = |name: &str| {
        [(requirements::FILE, 2), ("pyproject.toml", 2), ("Pipfile", 0)]
            .into_iter()
            .find(|(wanted, far)| is_close(name, wanted, *far) && name != PROJECT)
            .map(|(wanted, _)| wanted)
    };
    source.names.iter().find_map(|name| Some((name.as_str(), meant(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(files: &[(&str, &str)]) -> Option<(&'static str, PythonManager, Vec<&'static str>)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let source = AppSource::read(dir.path(), None).unwrap();
        find(&source).unwrap().map(|found| (found.file, found.manager, found.others))
    }

    #[test]
    fn locks_come_first() {
        let project = ("pyproject.toml", "[project]\nname = 'x'\n");
        let all = [("uv.lock", ""), project, ("requirements.txt", ""), ("setup.py", "")];
        assert_eq!(found(&all), Some(("uv.lock", PythonManager::Uv, vec!["requirements.txt"])));
        assert_eq!(found(&all[1..]), Some(("requirements.txt", PythonManager::Pip, vec![])));
        assert_eq!(found(&[project]), Some(("pyproject.toml", PythonManager::Project, vec![])));
        assert_eq!(found(&[("uv.lock", "")]), None, "a lock of nothing");
        let poetry = ("pyproject.toml", "[tool.poetry]\nname = 'x'\n");
        assert_eq!(found(&[poetry]), Some(("pyproject.toml", PythonManager::Poetry, vec![])));
        let pipenv = [("Pipfile", ""), ("Pipfile.lock", ""), ("requirements.txt", "")];
        assert_eq!(found(&pipenv), Some(("Pipfile.lock", PythonManager::Pipenv, vec!["requirements.txt"])));
        assert_eq!(found(&pipenv[..1]), Some(("Pipfile", PythonManager::Pipenv, vec![])));
    }

    #[test]
    fn settings_of_linters_are_no_project() {
        assert_eq!(found(&[("pyproject.toml", "[tool.black]\nline-length = 100\n")]), None);
        assert_eq!(found(&[("setup.cfg", "[flake8]\n")]), None);
        assert_eq!(
            found(&[("setup.cfg", "[metadata]\n")]),
            Some(("setup.cfg", PythonManager::Project, vec![]))
        );
    }
}
