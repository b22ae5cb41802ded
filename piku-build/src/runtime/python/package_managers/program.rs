//! The programs of uv, poetry and pipenv: the machine's, or a pinned version from the package index in a
//! layer of tools, or the version that the app requests (`UV_VERSION`, `POETRY_VERSION`, `PIPENV_VERSION`).

#![expect(clippy::disallowed_methods, reason = "programs of the machine")]

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::runtime::python::dependency_files::PythonManager;
use crate::runtime::python::dependency_files::pyproject::PyprojectFile;
use crate::runtime::python::venv_seed;
use crate::runtime::python::version::interpreter::{self, PythonInterpreter};
use crate::step::build_step::BuildStep;
use crate::tree::root_view::is_executable;
use piku_files::free_space::SpaceNeeded;

pub(crate) const STEP: &str = "tool";
/// Increased when the layers are made in another way.
const FORMAT: u32 = 2;
/// Directories with the machine's programs; the jail shows /usr alone.
const FOLDERS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];

/// A package manager that is a program of its own.
struct PythonTool {
    name: &'static str,
    /// Variable that requests another version.
    setting: &'static str,
    /// The version that is tested.
    pinned: &'static str,
    /// Plugins that it needs; the machine's program may lack them and is not used.
    plugins: &'static [&'static str],
    /// Its approximate size.
    megabytes: u64,
}

const UV: PythonTool =
    PythonTool { name: "uv", setting: "UV_VERSION", pinned: "0.13.9", plugins: &[], megabytes: 45 };
const POETRY: PythonTool = PythonTool {
    name: "poetry",
    setting: "POETRY_VERSION",
    pinned: "2.5.1",
    plugins: &["poetry-plugin-export"],
    megabytes: 90,
};
const PIPENV: PythonTool = PythonTool {
    name: "pipenv",
    setting: "PIPENV_VERSION",
    pinned: "2026.10.3",
    plugins: &[],
    megabytes: 60,
};

pub(crate) struct ToolSource {
    /// Path of the program for build steps.
    pub(crate) program: PathBuf,
    /// Its identity for cache keys.
    pub(crate) fact: String,
    /// The layer that holds it, unless the machine has it.
    pub(crate) layer: Option<LayerPlan>,
    /// Home of the Python that it runs on, if no jail shows that by itself.
    pub(crate) home: Option<PathBuf>,
}

/// Finds uv, which installs what pip would.
pub(crate) fn find_uv(
    source: &AppSource,
    target: &BuildTarget,
    own: &PythonInterpreter,
) -> anyhow::Result<ToolSource> {
    let asked = requested_version(&UV, source, target)?;
    find_tool(&UV, asked, source, target, own)
}

/// Finds the program that reads the app's lock file; `None` if pip is enough.
///
/// # Errors
/// Fails if the requested version is malformed, or no Python can run the program.
pub(crate) fn find_program(
    manager: Option<PythonManager>,
    source: &AppSource,
    target: &BuildTarget,
    own: &PythonInterpreter,
) -> anyhow::Result<Option<ToolSource>> {
    let tool = match manager {
        Some(PythonManager::Uv) => UV,
        Some(PythonManager::Poetry) => POETRY,
        Some(PythonManager::Pipenv) => PIPENV,
        Some(PythonManager::Pip | PythonManager::Project) | None => return Ok(None),
    };
    let asked = requested_specifier(&tool, source, target)?;
    find_tool(&tool, asked, source, target, own).map(Some)
}

/// Finds a tool on the machine, or plans to install it. `asked` is a specifier for pip.
fn find_tool(
    tool: &PythonTool,
    asked: Option<String>,
    source: &AppSource,
    target: &BuildTarget,
    own: &PythonInterpreter,
) -> anyhow::Result<ToolSource> {
    let on_machine = FOLDERS.map(|folder| Path::new(folder).join(tool.name));
    let there = on_machine
        .iter()
        .find(|path| path.canonicalize().is_ok_and(|real| real.starts_with("/usr") && is_executable(&real)));
    if let (None, true, Some(program)) = (&asked, tool.plugins.is_empty(), there) {
        let fact = format!("{} {}", program.display(), file_stamp(program));
        return Ok(ToolSource { program: program.clone(), fact, layer: None, home: None });
    }
    let requirement = asked.unwrap_or_else(|| format!("=={}", tool.pinned));
    let Some(python) = interpreter::find_for_tools(target).or_else(|| own.has_ensurepip.then(|| own.clone()))
    else {
        return Err(errors::python::no_venv(&own.version.minor()).into());
    };
    let is_shared = target.tools.is_shared() && !python.is_apps && !changes_pip(source);
    Ok(plan_install(tool, &requirement, &python, target, is_shared))
}

/// Returns whether the app sets variables of pip, such as an index: what that fetches is no tool for others.
fn changes_pip(source: &AppSource) -> bool {
    source.env.keys().chain(source.config.keys()).any(|name| name.starts_with("PIP_"))
}

/// Returns the version that a variable requests as a specifier for pip.
fn requested_version(
    tool: &PythonTool,
    source: &AppSource,
    target: &BuildTarget,
) -> anyhow::Result<Option<String>> {
    let told = source
        .variable(tool.setting)
        .or(target.operator_env.get(tool.setting).map(|value| (value.as_str(), "host.yaml")));
    if let Some((version, place)) = told.filter(|(version, _)| !version.trim().is_empty()) {
        if !is_version(version.trim()) {
            return Err(errors::python::bad_tool_version(tool.setting, place, version).into());
        }
        return Ok(Some(format!("=={}", version.trim())));
    }
    Ok(None)
}

/// Returns the requested version as a specifier for pip.
fn requested_specifier(
    tool: &PythonTool,
    source: &AppSource,
    target: &BuildTarget,
) -> anyhow::Result<Option<String>> {
    if let Some(asked) = requested_version(tool, source, target)? {
        return Ok(Some(asked));
    }
    if tool.name != UV.name {
        return Ok(None);
    }
    let project = PyprojectFile::read(source)?;
    let wanted = project.as_ref().and_then(PyprojectFile::requires_uv);
    let Some(wanted) = wanted else { return Ok(None) };
    let asked = if wanted.starts_with(|c: char| c.is_ascii_digit()) {
        format!("=={wanted}")
    } else {
        wanted.to_owned()
    };
    if !is_specifier(&asked) {
        let setting = "tool.uv.required-version";
        return Err(errors::python::bad_tool_version(setting, "pyproject.toml", wanted).into());
    }
    Ok(Some(asked))
}

/// Returns whether a text is a version: numbers, and the words that versions have. pip takes other texts for
/// URLs and files, and all apps share what it installs.
fn is_version(text: &str) -> bool {
    const WORDS: [&str; 11] = ["a", "alpha", "b", "beta", "c", "dev", "post", "pre", "preview", "r", "rc"];
    let is_known = |c: char| c.is_ascii_alphanumeric() || ".!-".contains(c);
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(is_known)
        && words.all(|word| WORDS.contains(&word.to_ascii_lowercase().as_str()))
}

/// Returns whether a text is a list of versions with operators: `>=0.5,<0.14`.
fn is_specifier(text: &str) -> bool {
    const OPERATORS: [&str; 8] = ["===", "==", "!=", "~=", "<=", ">=", "<", ">"];
    text.split(',').all(|clause| {
        let version = OPERATORS.iter().find_map(|operator| clause.trim().strip_prefix(operator));
        version.is_some_and(|version| is_version(version.trim().trim_end_matches(".*")))
    })
}

/// Returns size and date of a program, which change when it is upgraded.
fn file_stamp(program: &Path) -> String {
    let meta = program.canonicalize().and_then(|real| real.metadata());
    meta.map_or_else(
        |_| String::new(),
        |meta| {
            let changed = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            format!("{} {}", meta.len(), changed.unwrap_or_default().as_secs())
        },
    )
}

fn plan_install(
    tool: &PythonTool,
    requirement: &str,
    python: &PythonInterpreter,
    target: &BuildTarget,
    is_shared: bool,
) -> ToolSource {
    let fact = format!("{}{requirement}", tool.name);
    let mut key = target.tool_key(tool.name, FORMAT, is_shared);
    for (name, value) in [
        ("tool", fact.as_str()),
        ("python", &python.path.to_string_lossy()),
        ("version", &python.version.to_string()),
        ("libc", &python.libc),
        ("mount", &target.tool_mount("", "").to_string_lossy()),
    ] {
        key.field(name, value.as_bytes());
    }
    if is_shared && !requirement.starts_with("==") {
        BuildTarget::add_week(&mut key);
    }
    let key = key.finish();
    let mount = target.tool_mount(tool.name, &key);
    let seed = venv_seed::plan_seed(python, target);
    let steps = match &seed {
        // It is one program that needs no Python. It is never compiled here: that takes an hour.
        Some(seed) if tool.name == UV.name => {
            let pip = seed.mount.join("bin/pip").to_string_lossy().into_owned();
            let place = mount.to_string_lossy();
            let install = [&pip, "install", "--quiet", "--only-binary", ":all:", "--target", &place, &fact];
            vec![BuildStep::new(STEP, &install, true)]
        }
        _ => {
            let pip = mount.join("bin/pip").to_string_lossy().into_owned();
            let mut install = vec![pip.as_str(), "install", "--quiet", &fact];
            install.extend(tool.plugins);
            let venv = venv_seed::venv_step(STEP, python, seed.as_ref(), &mount);
            vec![venv, BuildStep::new(STEP, &install, true)]
        }
    };
    let program = mount.join("bin").join(tool.name);
    let layer = LayerPlan {
        name: tool.name,
        key,
        mount,
        steps,
        need: SpaceNeeded { bytes: tool.megabytes * 1_000_000, files: 3000 },
        tools: seed.into_iter().collect(),
        host: python.home.iter().cloned().collect(),
        is_shared,
        env: super::tool_env(),
        ..LayerPlan::default()
    };
    ToolSource { program, fact, layer: Some(layer), home: python.home.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_are_shared() {
        for good in
            ["==0.13.9", ">=0.5, <0.14", "~=0.4.1", "==0.4.*", "==2026.10.3", "==1.0.dev1", "!=1.0rc1"]
        {
            assert!(is_specifier(good), "{good}");
        }
        for bad in [
            "@ https://example.org/uv.whl",
            "@https://example.org/uv.whl",
            "==1.0.tgz",
            "==1.0.tar.bz2",
            "==1 @ file:///x",
            "==1; python_version > '3'",
            "[x]==1",
            "-other",
            "other==1",
            "==1 -r x",
            "==",
            "",
        ] {
            assert!(!is_specifier(bad), "{bad}");
        }
    }
}
