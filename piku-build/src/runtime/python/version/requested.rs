//! Which Python an app asks for, and where it says so: the most deliberate place first.

use crate::app::app_source::{AppSource, decode};
use crate::explain;
use crate::runtime::python::dependency_files::pyproject::PyprojectFile;
use crate::runtime::python::dependency_files::{self, PythonManager, PythonManifest};
use crate::runtime::python::package_managers::pipenv;
use crate::runtime::python::version::range::PythonRange;

/// What an app asks for.
#[derive(Debug)]
pub(crate) struct RequestedPython {
    /// As it stands there.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) from: String,
    /// What it means, the best first: pyenv's file may name several versions.
    pub(crate) any_of: Vec<PythonRange>,
}

impl RequestedPython {
    /// One that its author has to mend where it is no version.
    fn strict(text: &str, from: &str) -> anyhow::Result<Self> {
        let lines: Vec<_> = text.lines().collect();
        let parse = |line: &&str| {
            PythonRange::parse(line).map_err(|err| explain::python::bad_version(line, from, &err.to_string()))
        };
        // Of several the first counts; the others may be another program's business: `pypy3.10`.
        let first = lines.first().map(parse).transpose()?;
        let others = lines.iter().skip(1).filter_map(|line| PythonRange::parse(line).ok());
        Ok(Self {
            text: lines.join(" or "),
            from: from.to_owned(),
            any_of: first.into_iter().chain(others).collect(),
        })
    }

    /// One whose grammar is larger than ours: what is not understood is left to whoever reads that file later.
    fn lenient(text: &str, from: &str) -> Option<Self> {
        let asked = PythonRange::parse(text).ok()?;
        Some(Self { text: text.trim().to_owned(), from: from.to_owned(), any_of: vec![asked] })
    }
}

/// What the app asks for; nothing when any Python is good.
///
/// # Errors
/// When what it says in a place of its own for that is no version.
pub(crate) fn asked(
    source: &AppSource,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<RequestedPython>> {
    // An empty one is how a config takes back what ENV says.
    let variable = source.variable("PYTHON_VERSION").filter(|(value, _)| !value.trim().is_empty());
    if let Some((value, place)) = variable {
        return RequestedPython::strict(value.trim(), &format!("PYTHON_VERSION in {place}")).map(Some);
    }
    let mut found: Vec<(String, &str)> = Vec::new();
    for name in [".python-version", "runtime.txt"] {
        let Some(text) = source.text(name)? else { continue };
        let text = decode(&text);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        match lines.first() {
            Some(&"system") => {}
            Some(_) => found.push((lines.join("\n"), name)),
            None => warnings.push(format!("{name} is empty")),
        }
    }
    if let [(first, place), (second, other)] = found.as_slice() {
        if second.trim_start_matches("python-") != first.trim_start_matches("python-") {
            let (first, second) = (first.replace('\n', " or "), second.replace('\n', " or "));
            warnings.push(format!("{place} says {first} and {other} says {second}: taking {place}"));
        }
    }
    if let Some((text, place)) = found.first() {
        return RequestedPython::strict(text, place).map(Some);
    }
    let Some(PythonManifest { manager, .. }) = dependency_files::find(source)? else { return Ok(None) };
    if manager == PythonManager::Pipenv {
        return Ok(
            pipenv::requested_python(source)?.and_then(|text| RequestedPython::lenient(&text, pipenv::FILE))
        );
    }
    // A file that does not parse is the business of whoever needs it.
    let project = PyprojectFile::read(source).ok().flatten();
    Ok(project.and_then(|project| {
        project.requires_python().and_then(|text| RequestedPython::lenient(text, "pyproject.toml"))
    }))
}
