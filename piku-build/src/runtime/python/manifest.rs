//! Which file of an app says what it depends on: a lock file before anything that leaves versions open.

use super::pyproject::{self, Pyproject};
use super::requirements;
use crate::source::Source;

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
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
pub(super) struct Manifest {
    pub(super) manager: Manager,
    /// Its name.
    pub(super) file: &'static str,
    /// Others that are there and do not count.
    pub(super) others: Vec<&'static str>,
}

/// The lock files with what has to be beside them, then what leaves more and more open.
const FILES: [(&str, Option<&str>, Manager); 8] = [
    ("uv.lock", Some(pyproject::FILE), Manager::Uv),
    ("poetry.lock", Some(pyproject::FILE), Manager::Poetry),
    ("Pipfile.lock", Some("Pipfile"), Manager::Pipenv),
    (requirements::FILE, None, Manager::Pip),
    ("Pipfile", None, Manager::Pipenv),
    (pyproject::FILE, None, Manager::Project),
    ("setup.py", None, Manager::Project),
    ("setup.cfg", None, Manager::Project),
];

/// The names of all of them, for whoever looks for one.
pub(super) fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, ..)| *name).collect()
}

/// The app's; `None` when it has none.
///
/// # Errors
/// When one that may be it cannot be read.
pub(super) fn find(source: &Source) -> anyhow::Result<Option<Manifest>> {
    let mut found: Option<Manifest> = None;
    for (file, beside, manager) in FILES {
        if !source.has(file) || beside.is_some_and(|beside| !source.has(beside)) {
            continue;
        }
        match &mut found {
            // Two that say the same twice over: a lock and what it locks, a package's old and new description.
            Some(first) if manager == Manager::Project || first.manager == manager => {}
            Some(first) => first.others.push(file),
            None => {
                let counting = counts(source, file, manager)?;
                found = counting.map(|manager| Manifest { manager, file, others: Vec::new() });
            }
        }
    }
    Ok(found)
}

/// Who reads the file; nobody when it is about something else, as pyproject.toml is in many apps: linters' settings.
fn counts(source: &Source, file: &str, manager: Manager) -> anyhow::Result<Option<Manager>> {
    Ok(match file {
        pyproject::FILE => match Pyproject::read(source)? {
            Some(project) if project.is_project() => {
                Some(if project.is_poetry() { Manager::Poetry } else { manager })
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

    fn found(files: &[(&str, &str)]) -> Option<(&'static str, Manager, Vec<&'static str>)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let source = Source::read(dir.path(), None).unwrap();
        find(&source).unwrap().map(|found| (found.file, found.manager, found.others))
    }

    #[test]
    fn locks_come_first() {
        let project = ("pyproject.toml", "[project]\nname = 'x'\n");
        let all = [("uv.lock", ""), project, ("requirements.txt", ""), ("setup.py", "")];
        assert_eq!(found(&all), Some(("uv.lock", Manager::Uv, vec!["requirements.txt"])));
        assert_eq!(found(&all[1..]), Some(("requirements.txt", Manager::Pip, vec![])));
        assert_eq!(found(&[project]), Some(("pyproject.toml", Manager::Project, vec![])));
        assert_eq!(found(&[("uv.lock", "")]), None, "a lock of nothing");
        let poetry = ("pyproject.toml", "[tool.poetry]\nname = 'x'\n");
        assert_eq!(found(&[poetry]), Some(("pyproject.toml", Manager::Poetry, vec![])));
        let pipenv = [("Pipfile", ""), ("Pipfile.lock", ""), ("requirements.txt", "")];
        assert_eq!(found(&pipenv), Some(("Pipfile.lock", Manager::Pipenv, vec!["requirements.txt"])));
        assert_eq!(found(&pipenv[..1]), Some(("Pipfile", Manager::Pipenv, vec![])));
    }

    #[test]
    fn settings_of_linters_are_no_project() {
        assert_eq!(found(&[("pyproject.toml", "[tool.black]\nline-length = 100\n")]), None);
        assert_eq!(found(&[("setup.cfg", "[flake8]\n")]), None);
        assert_eq!(found(&[("setup.cfg", "[metadata]\n")]), Some(("setup.cfg", Manager::Project, vec![])));
    }
}
