//! The installer of requirements: uv, in a fraction of pip's time, and pip where uv would not do the same.
//! Where uv fails, pip begins again.

#![expect(clippy::disallowed_methods, reason = "pip's settings of the machine")]

use std::fs;
use std::path::Path;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::LayerRecipe;
use crate::runtime::BuildTarget;
use crate::runtime::python::dependency_files::{PythonDependencies, PythonManager};
use crate::runtime::python::package_bytecode;
use crate::runtime::python::package_managers::program::{self, ToolSource};
use crate::runtime::python::package_managers::{pip, uv};
use crate::runtime::python::version::interpreter::PythonInterpreter;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::runtime::version::RuntimeVersion;
use crate::step::build_step::BuildStep;

/// Variable that chooses the installer: `pip`, or `uv` where that can do it.
pub(crate) const VARIABLE: &str = "PIKU_INSTALLER";
/// Variable with the package index of pip, which uv calls otherwise.
const INDEX: &str = "PIP_INDEX_URL";
/// pip's settings for all users. The jail shows the first.
const SETTINGS: [&str; 2] = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf"];
/// The oldest Python into which uv installs.
const OLDEST: RuntimeVersion = RuntimeVersion([3, 8, 0]);
/// Index on Raspberry Pi OS, with wheels for 32-bit ARM alone of what the common index has too.
const PIWHEELS: &str = "https://www.piwheels.org/simple";

/// pip's settings that do not change what is installed.
const HARMLESS: [&str; 18] = [
    "break_system_packages",
    "cache_dir",
    "cert",
    "default_timeout",
    "disable_pip_version_check",
    "log",
    "no_cache_dir",
    "no_color",
    "no_input",
    "no_python_version_warning",
    "no_warn_script_location",
    "progress_bar",
    "quiet",
    "require_virtualenv",
    "retries",
    "root_user_action",
    "timeout",
    "verbose",
];

#[derive(Default)]
pub(crate) struct InstallerChoice {
    /// uv, if it is tried first.
    pub(crate) uv: Option<ToolSource>,
    /// The index that pip's settings name, for uv.
    pub(crate) index: Option<String>,
    /// The reason for pip, if the app or the machine has a setting that only pip reads.
    pub(crate) note: Option<String>,
}

/// Chooses the installer of requirements. Apps with a lock file have a tool of their own.
///
/// # Errors
/// Fails if the app asks for an unknown one.
pub(crate) fn choose(
    source: &AppSource,
    target: &BuildTarget,
    own: &PythonInterpreter,
    all: &PythonDependencies,
    added: &[&str],
) -> anyhow::Result<InstallerChoice> {
    let asked = source
        .variable(VARIABLE)
        .or(target.operator_env.get(VARIABLE).map(|value| (value.as_str(), "host.yaml")));
    let asks_pip = match asked {
        None | Some(("" | "uv", _)) => false,
        Some(("pip", _)) => true,
        Some((other, place)) => return Err(errors::python::no_such_installer(VARIABLE, place, other).into()),
    };
    let reads = matches!(all.manager, Some(PythonManager::Pip | PythonManager::Project) | None);
    if asks_pip || !reads || all.targets.is_empty() && added.is_empty() || own.version < OLDEST {
        return Ok(InstallerChoice::default());
    }
    let (index, only_pip) = read_settings(source, target);
    if let Some(why) = all.only_pip.clone().or(only_pip) {
        return Ok(InstallerChoice {
            note: Some(format!("pip installs them: {why}")),
            ..InstallerChoice::default()
        });
    }
    // Without a Python that can fetch it, or with a bad UV_VERSION, there is still pip.
    let uv = program::find_uv(source, target, own).ok();
    Ok(InstallerChoice { uv, index, note: None })
}

/// Returns the index that pip's settings name, and the first setting that only pip understands.
fn read_settings(source: &AppSource, target: &BuildTarget) -> (Option<String>, Option<String>) {
    let variables = source.env.keys().chain(source.config.keys()).chain(target.operator_env.keys());
    for name in variables.filter(|name| *name != INDEX) {
        let setting = name.strip_prefix("PIP_").map(str::to_ascii_lowercase);
        if setting.is_some_and(|setting| !HARMLESS.contains(&setting.as_str())) {
            return (None, Some(format!("{name} is set")));
        }
    }
    let mut index = source
        .variable(INDEX)
        .map(|(value, _)| value.to_owned())
        .or_else(|| target.operator_env.get(INDEX).cloned());
    for file in &SETTINGS[..if target.jailed { 1 } else { 2 }] {
        let Ok(text) = fs::read_to_string(Path::new(file)) else { continue };
        for (name, value) in parse_settings(&text) {
            // A 64-bit Python uses nothing of it.
            let is_needless = name == "extra_index_url"
                && target.architecture.ends_with("64")
                && value.trim_end_matches('/') == PIWHEELS;
            match name.as_str() {
                "index_url" => index = index.or(Some(value)),
                _ if is_needless => {}
                name => return (None, Some(format!("{file} sets {}", name.replace('_', "-")))),
            }
        }
    }
    (index, None)
}

/// Returns pip's settings in an INI file that change what is installed, with `_` in their names.
fn parse_settings(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let is_more = line.starts_with([' ', '\t']);
        match (line.trim(), found.last_mut()) {
            (line, _) if line.starts_with(['#', ';', '[']) => {}
            (more, Some((_, value))) if is_more => {
                value.push(' ');
                value.push_str(more);
            }
            (line, _) => {
                let (name, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
                let name = name.trim().to_ascii_lowercase().replace('-', "_");
                found.push((name, value.trim().to_owned()));
            }
        }
    }
    found.retain(|(name, _)| !HARMLESS.contains(&name.as_str()));
    found.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect()
}

/// Plans the installation by uv, in a virtualenv like that of pip.
pub(crate) fn plan_uv(tool: &ToolSource, target: &VenvTarget<'_>, all: &PythonDependencies) -> LayerRecipe {
    let program = tool.program.to_string_lossy();
    let python = target.python_program();
    // pip does not read [tool.uv.sources].
    let base = [&*program, "pip", "install", "--python", &python, "--no-sources"];
    let mut install = base.to_vec();
    if all.hashes {
        install.push("--require-hashes");
    }
    if !all.local.is_empty() {
        // The cache knows a folder of the app by the date of its setup.py alone.
        install.push("--refresh");
    }
    let options = install.len();
    install.extend(all.targets.iter().map(String::as_str).filter(|word| *word != "--use-pep517"));
    let added = pip::added_packages(target, all);
    if !all.hashes {
        install.extend(&added);
    }
    let mut steps = vec![target.venv_step(true)];
    if install.len() > options {
        steps.push(BuildStep::new(uv::STEP, &install, false));
    }
    if all.hashes && !added.is_empty() {
        steps.push(BuildStep::new(uv::STEP, &[&base, added.as_slice()].concat(), false));
    }
    steps.push(package_bytecode::compile_packages(&python, target.venv));
    let tools = tool.layer.iter().chain(target.seed).cloned().collect();
    LayerRecipe { program: "uv", otherwise: "pip", tools, steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_pip_that_count() {
        let text = "[global]\ntimeout = 60\nextra-index-url=https://www.piwheels.org/simple\n  https://x.org/\n\n\
                    [install]\n# no-binary = x\nNo-Binary: :all:\nfind_links\n";
        let found = parse_settings(text);
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let extra = "https://www.piwheels.org/simple https://x.org/";
        assert_eq!(found, [("extra_index_url", extra), ("no_binary", ":all:"), ("find_links", "")]);
    }
}
