//! `pyproject.toml`: dependencies and requested versions (PEP 518, 621, 735; poetry's tables).

use toml::{Table, Value};

use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::requirements::{self, package_name};

pub(crate) const FILE: &str = "pyproject.toml";

/// Tools whose settings do not affect what is installed.
const NO_MATTER: [&str; 20] = [
    "bandit",
    "basedpyright",
    "black",
    "codespell",
    "commitizen",
    "coverage",
    "djlint",
    "flake8",
    "interrogate",
    "isort",
    "mypy",
    "pydocstyle",
    "pylint",
    "pyrefly",
    "pyright",
    "pytest",
    "ruff",
    "semantic_release",
    "towncrier",
    "tox",
];

/// The app's pyproject.toml.
#[derive(Debug)]
pub(crate) struct PyprojectFile(Table);

/// Parses a TOML file of the app; `None` if it does not exist.
///
/// # Errors
/// Fails if it is not TOML, with the place.
pub(crate) fn read_table(source: &AppSource, file: &str) -> anyhow::Result<Option<Table>> {
    let Some(bytes) = source.read_bytes(file)? else { return Ok(None) };
    let text = decode(&bytes);
    let table = text.parse::<Table>().map_err(|err| {
        let before = err.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
        errors::python::bad_toml(file, before.matches('\n').count() + 1, err.message())
    })?;
    Ok(Some(table))
}

impl PyprojectFile {
    pub(crate) fn read(source: &AppSource) -> anyhow::Result<Option<Self>> {
        Ok(read_table(source, FILE)?.map(Self))
    }

    fn value_at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }

    /// Returns whether it describes a project.
    pub(crate) fn is_project(&self) -> bool {
        self.value_at(&["project"]).is_some() || self.is_poetry()
    }

    /// Returns whether only poetry can read the dependencies.
    pub(crate) fn is_poetry(&self) -> bool {
        self.value_at(&["project"]).is_none() && self.value_at(&["tool", "poetry"]).is_some()
    }

    /// Returns whether the project can be built as a package.
    pub(crate) fn is_package(&self) -> bool {
        self.value_at(&["build-system"]).is_some()
    }

    /// Returns whether poetry installs the project itself.
    pub(crate) fn is_poetry_package(&self) -> bool {
        self.value_at(&["tool", "poetry", "package-mode"]).and_then(Value::as_bool) != Some(false)
    }

    /// Returns the names of additional indexes in poetry's table.
    pub(crate) fn poetry_sources(&self) -> Vec<String> {
        let all = self.value_at(&["tool", "poetry", "source"]).and_then(Value::as_array);
        let name = |source: &Value| source.get("name").and_then(Value::as_str).map(str::to_owned);
        all.into_iter().flatten().filter_map(name).collect()
    }

    /// Returns the dependencies in the `project` table.
    pub(crate) fn dependencies(&self) -> Vec<String> {
        let all = self.value_at(&["project", "dependencies"]).and_then(Value::as_array);
        all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Returns the range of Python versions that it supports.
    pub(crate) fn requires_python(&self) -> Option<&str> {
        let places: [&[&str]; 2] =
            [&["project", "requires-python"], &["tool", "poetry", "dependencies", "python"]];
        places.iter().find_map(|path| self.value_at(path)).and_then(Value::as_str)
    }

    /// Returns the range of uv versions that it requires: `>=0.5`.
    pub(crate) fn requires_uv(&self) -> Option<&str> {
        self.value_at(&["tool", "uv", "required-version"]).and_then(Value::as_str)
    }

    /// Returns the content that determines what is installed.
    pub(crate) fn facts(&self) -> Vec<u8> {
        let mut table = self.0.clone();
        if let Some(tools) = table.get_mut("tool").and_then(Value::as_table_mut) {
            tools.retain(|name, _| !NO_MATTER.contains(&name));
        }
        // The keys are sorted, so equal facts are equal bytes.
        serde_json::to_vec(&table).unwrap_or_default()
    }
}

/// Reads the dependencies of an app that declares them as a package does: in `pyproject.toml` (PEP 621),
/// `setup.py` or `setup.cfg`.
pub(crate) fn read_dependencies(
    source: &AppSource,
    file: &str,
    jailed: bool,
) -> anyhow::Result<PythonDependencies> {
    let mut all = PythonDependencies::default();
    let project = PyprojectFile::read(source)?;
    let named = project.as_ref().map(PyprojectFile::dependencies).unwrap_or_default();
    for dependency in &named {
        if let Some(name) = package_name(dependency) {
            all.packages.insert(name, requirements::specifier(dependency));
        }
    }
    if let Some(project) = &project {
        all.facts.push((FILE.to_owned(), project.facts()));
    }
    all.package = file != FILE || project.is_some_and(|project| project.is_package());
    if all.package {
        all.add_local(source, file, ".", jailed)?;
        // Editable, if the build and the release have the same path: then a change of the code installs
        // nothing.
        let install: &[&str] = if jailed { &["--use-pep517", "--editable", "."] } else { &["."] };
        all.targets = install.iter().map(|word| (*word).to_owned()).collect();
    } else {
        // Without a build system it is not a package; pip would guess one and fail with a second folder.
        all.targets = named;
    }
    // uv does not check for which Pythons an archive is.
    all.only_pip = named_url(&all.targets).then(|| format!("{file}: an archive or a URL"));
    if file == FILE {
        all.warnings.push(errors::python::no_lock("uv.lock", "uv lock"));
    }
    Ok(all)
}

/// Returns whether a dependency is at a URL.
fn named_url(dependencies: &[String]) -> bool {
    dependencies.iter().any(|dependency| dependency.contains("://") || dependency.contains("file:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(text: &str) -> anyhow::Result<PyprojectFile> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        PyprojectFile::read(&AppSource::read(dir.path(), None).unwrap()).map(Option::unwrap)
    }

    #[test]
    fn what_a_linter_is_told_changes_nothing() {
        let one = read("[project]\nname = 'x'\ndependencies = ['flask>=3']\n[tool.ruff]\nline-length = 1\n")
            .unwrap();
        let two = read("[tool.ruff]\nline-length = 2\n[project]\ndependencies = ['flask>=3']\nname = 'x'\n")
            .unwrap();
        assert_eq!(one.facts(), two.facts());
        let other = read("[project]\nname = 'x'\ndependencies = ['flask>=2']\n").unwrap();
        assert_ne!(one.facts(), other.facts());
        assert_eq!(one.dependencies(), ["flask>=3"]);
    }

    #[test]
    fn poetrys_own_and_the_standard() {
        let poetry =
            read("[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = '^3.11'\n")
                .unwrap();
        assert!(poetry.is_poetry() && !poetry.is_poetry_package() && poetry.poetry_sources().is_empty());
        let source =
            read("[tool.poetry]\n[[tool.poetry.source]]\nname = 'own'\nurl = 'https://own.example'\n");
        assert_eq!(source.unwrap().poetry_sources(), ["own"]);
        assert_eq!(poetry.requires_python(), Some("^3.11"));
        let both = read("[project]\nrequires-python = '>=3.9'\n[tool.poetry]\n[build-system]\n").unwrap();
        assert!(!both.is_poetry() && both.is_poetry_package() && both.is_package());
        assert_eq!(both.requires_python(), Some(">=3.9"));
    }

    #[test]
    fn a_mistake_has_its_line() {
        let err = read("[project]\nname = 'x'\nversion = \n").unwrap_err().to_string();
        assert!(err.starts_with("pyproject.toml:3: "), "{err}");
    }
}
