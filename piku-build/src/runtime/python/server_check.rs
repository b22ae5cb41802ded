//! Finds servers that a process type starts and that no list of dependencies names, before minutes are spent
//! on installing the rest.

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use crate::app::command_check::{parse_entries, split_simple};
use crate::errors;
use crate::runtime::python::dependency_files::{PythonDependencies, PythonManager};

/// Programs, the packages that bring them, and whether other packages often depend on those.
const SERVERS: [(&str, &str, bool); 10] = [
    ("gunicorn", "gunicorn", false),
    ("waitress-serve", "waitress", false),
    ("hypercorn", "hypercorn", false),
    ("daphne", "daphne", false),
    ("granian", "granian", false),
    ("uwsgi", "uwsgi", false),
    ("celery", "celery", false),
    ("streamlit", "streamlit", false),
    ("uvicorn", "uvicorn", true),
    ("flask", "flask", true),
];

/// Returns warnings about servers that a list of dependencies lacks. `is_there` tells whether the machine or
/// the app has a program.
///
/// # Errors
/// Fails if such a server is certainly missing: every package that is installed is known.
pub(super) fn check(
    processes: &IndexMap<ProcessName, String>,
    all: &PythonDependencies,
    added: &[&str],
    is_there: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<String>> {
    let is_complete = all.locked || all.manager.is_none();
    // A setup.py may say anything.
    let is_listed = !all.packages.is_empty() || all.manager == Some(PythonManager::Pip);
    let mut warnings = Vec::new();
    for entry in parse_entries(processes) {
        let Some(words) = split_simple(&entry.command) else { continue };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (program, is_module) = match words.as_slice() {
            ["python" | "python3", "-m", module, ..] => (*module, true),
            ["poetry" | "pipenv" | "uv", "run", program, ..] | [program, ..] => (*program, false),
            [] => continue,
        };
        let Some((_, package, often)) = SERVERS.iter().find(|(name, ..)| *name == program) else { continue };
        if all.packages.contains_key(*package) || added.contains(package) || !is_module && is_there(program) {
            continue;
        }
        if is_complete {
            let file = all.manager.map(|_| all.file);
            let fix = add_command(all, package);
            return Err(errors::python::missing_server(entry.name.as_str(), program, file, &fix).into());
        }
        if is_listed && !often {
            warnings.push(errors::python::perhaps_missing_server(
                entry.name.as_str(),
                program,
                package,
                all.file,
            ));
        }
    }
    Ok(warnings)
}

/// Returns how the author adds the package.
fn add_command(all: &PythonDependencies, package: &str) -> String {
    match all.manager {
        Some(PythonManager::Uv) => format!("uv add {package}; then commit pyproject.toml and uv.lock"),
        Some(PythonManager::Poetry) => {
            format!("poetry add {package}; then commit pyproject.toml and poetry.lock")
        }
        Some(PythonManager::Pipenv) => {
            format!("pipenv install {package}; then commit Pipfile and Pipfile.lock")
        }
        _ => format!("add the line '{package}' to {} and commit it", all.file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(command: &str, packages: &[&str], locked: bool) -> anyhow::Result<usize> {
        let all = PythonDependencies {
            manager: Some(PythonManager::Pip),
            file: "requirements.txt",
            packages: packages.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
            locked,
            ..PythonDependencies::default()
        };
        let processes = [("web".parse().unwrap(), command.to_owned())].into();
        Ok(check(&processes, &all, &[], |program| program == "celery")?.len())
    }

    #[test]
    fn a_server_that_nothing_names() {
        for (command, packages, warnings) in [
            ("gunicorn app:app", &["flask"][..], 1),
            ("gunicorn app:app", &["flask", "gunicorn"], 0),
            ("FOO=1 gunicorn app:app", &["flask"], 0),
            ("waitress-serve app:app", &["waitress"], 0),
            ("python -m gunicorn app:app", &[], 1),
            ("poetry run gunicorn app:app", &["flask"], 1),
            // fastapi[standard] brings it.
            ("uvicorn app:app", &["fastapi"], 0),
            ("celery -A tasks worker", &[], 0),
            ("python app.py", &[], 0),
        ] {
            assert_eq!(checked(command, packages, false).unwrap(), warnings, "{command}");
        }
        let err = checked("uvicorn app:app", &["fastapi"], true).unwrap_err().to_string();
        assert_eq!(err, "Procfile: web starts 'uvicorn', which requirements.txt does not list");
        checked("uvicorn app:app", &["fastapi", "uvicorn"], true).unwrap();
    }
}
