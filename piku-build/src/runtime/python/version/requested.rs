//! The Python version that an app requests, and where: the most deliberate place first.

use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::runtime::python::dependency_files::pyproject::PyprojectFile;
use crate::runtime::python::dependency_files::{self, PythonManager, PythonManifest};
use crate::runtime::python::package_managers::pipenv;
use crate::runtime::python::version::range::PythonRange;
use crate::runtime::version::{RequestedVersion, TOOL_VERSIONS, find_tool_version};

#[derive(Debug)]
pub(crate) struct RequestedPython {
    pub(crate) version: RequestedVersion,
    /// The ranges that it means, the best first: pyenv's file may name several versions.
    pub(crate) any_of: Vec<PythonRange>,
}

impl RequestedPython {
    /// Parses a request from a place that is for a Python version alone.
    ///
    /// # Errors
    /// Fails if the first line is not a version; the others may be for another program: `pypy3.10`.
    fn parse(version: RequestedVersion) -> anyhow::Result<Self> {
        let mut any_of = Vec::new();
        for (at, line) in version.text.lines().enumerate() {
            match PythonRange::parse(line) {
                Ok(range) => any_of.push(range),
                Err(err) if at == 0 => {
                    let first = RequestedVersion::new(line, version.from);
                    return Err(errors::python::bad_version(&first, &err.to_string()).into());
                }
                Err(_) => {}
            }
        }
        let text = version.text.replace('\n', " or ");
        Ok(Self { version: RequestedVersion { text, ..version }, any_of })
    }

    /// Parses a request whose grammar is larger than ours. What is not understood is left to the tool that
    /// reads the file.
    fn parse_lenient(text: &str, from: &str) -> Option<Self> {
        let any_of = vec![PythonRange::parse(text).ok()?];
        Some(Self { version: RequestedVersion::new(text.trim(), from), any_of })
    }
}

/// Returns whether any Python will do: the machine's own then.
fn is_any(text: &str) -> bool {
    matches!(text, "system" | "latest" | "*")
}

/// Reads the request of the app; `None` if any Python will do.
///
/// # Errors
/// Fails if a place that is for a Python version alone holds something else.
pub(crate) fn read(
    source: &AppSource,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<RequestedPython>> {
    if let Some(version) = RequestedVersion::from_variable(source, "PYTHON_VERSION") {
        return if is_any(&version.text) { Ok(None) } else { RequestedPython::parse(version).map(Some) };
    }
    let mut found: Vec<RequestedVersion> = Vec::new();
    for name in [".python-version", "runtime.txt"] {
        let Some(text) = source.read_bytes(name)? else { continue };
        let text = decode(&text);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        match lines.first() {
            Some(first) if is_any(first) => {}
            Some(_) => found.push(RequestedVersion::new(lines.join("\n"), name)),
            None => warnings.push(format!("{name} is empty")),
        }
    }
    if let Some(text) = source.read_bytes(TOOL_VERSIONS)?.filter(|_| found.is_empty()) {
        let named = find_tool_version(&decode(&text), &["python"]);
        found.extend(
            named.filter(|text| !is_any(text)).map(|text| RequestedVersion::new(text, TOOL_VERSIONS)),
        );
    }
    if let [first, second] = found.as_slice() {
        if second.text.trim_start_matches("python-") != first.text.trim_start_matches("python-") {
            let [one, other] = [first, second].map(|version| version.text.replace('\n', " or "));
            warnings
                .push(format!("{0} says {one} and {1} says {other}: taking {0}", first.from, second.from));
        }
    }
    if let Some(version) = found.into_iter().next() {
        return RequestedPython::parse(version).map(Some);
    }
    let Some(PythonManifest { manager, .. }) = dependency_files::find(source)? else { return Ok(None) };
    if manager == PythonManager::Pipenv {
        let text = pipenv::requested_python(source)?;
        return Ok(text.and_then(|text| RequestedPython::parse_lenient(&text, pipenv::FILE)));
    }
    // A file that does not parse is reported by the step that needs it.
    let project = PyprojectFile::read(source).ok().flatten();
    Ok(project.and_then(|project| {
        project.requires_python().and_then(|text| RequestedPython::parse_lenient(text, "pyproject.toml"))
    }))
}
