//! Which file of an app says what it depends on: a lock file before anything that leaves versions open.

use super::pyproject::{self, PyprojectFile};
use super::requirements;
use crate::app_source::AppSource;

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PythonManager {
    Uv,
    Poetry,
    Pipenv,
    /// pip, with requirements.
    Pip,
    /// pip, with what the app says of itself as a package.
    Project,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PythonManifest {
    pub(super) manager: PythonManager,
    /// Its name.
    pub(super) file: &'static str,
    /// Others that are there and do not count.
    pub(super) others: Vec<&'static str>,
}

/// The lock files with what has to be beside them, then what leaves more and more open.
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

/// The names of all of them, for whoever looks for one.
pub(super) fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, ..)| *name).collect()
}

/// The app's; `None` when it has none.
///
/// # Errors
/// When one that may be it cannot be read.
pub(super) fn find(source: &AppSource) -> anyhow::Result<Option<PythonManifest>> {
    let mut found: Option<PythonManifest> = None;
    for (file, beside, manager) in FILES {
        if !source.has(file) || beside.is_some_and(|beside| !source.has(beside)) {
            continue;
        }
        match &mut found {
            // Two that say the same twice over: a lock and what it locks, a package's old and new description.
            Some(first) if manager == PythonManager::Project || first.manager == manager => {}
            Some(first) => first.others.push(file),
            None => {
                let counting = counts(source, file, manager)?;
                found = counting.map(|manager| PythonManifest { manager, file, others: Vec::new() });
            }
        }
    }
    Ok(found)
}

/// Who reads the file; nobody when it is about something else, as pyproject.toml is in many apps: linters' settings.
fn counts(source: &AppSource, file: &str, manager: PythonManager) -> anyhow::Result<Option<PythonManager>> {
    Ok(match file {
        pyproject::FILE => match PyprojectFile::read(source)? {
            Some(project) if project.is_project() => {
                Some(if project.is_poetry() { PythonManager::Poetry } else { manager })
            }
            _ => None,
        },
        "setup.cfg" => {
            let text = source.text(file)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let about = text.lines().any(|line| matches!(line.trim(), "[metadata]" | "[options]"));
            about.then_some(manager)
        }
        _ => Some(manager),
    })
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
