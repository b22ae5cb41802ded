//! Rust: `cargo build --release --locked` in an incremental work tree. The release contains the programs,
//! and no Rust sources.

mod cargo_run;
mod cross;
mod failures;
mod manifest;
mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::app::started_programs::{StartedProgram, find_started};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::programs::{self, BuiltProgram};
use crate::plan::tool_commands::replace_tool_commands;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::step::step_runner::StepMount;
use crate::tree::kept_tree::KeptFolders;
use crate::tree::root_view::RootView;
use cross::RustTarget;
use manifest::{CargoBinary, CargoManifest, FILE};
use piku_layout::jail::PATH;
use toolchain::{InstalledRust, RustChoice};

const LOCK: &str = "Cargo.lock";
/// Folder of cargo's output.
const TARGET: &str = "target";
/// Path at which steps see a toolchain outside of `/usr`.
const TOOLCHAIN: &str = "/toolchain";
/// Variable with further options of cargo, as in Heroku's buildpack.
const FLAGS: &str = "RUST_CARGO_BUILD_FLAGS";

pub(super) struct RustRuntime;

impl Runtime for RustRuntime {
    fn name(&self) -> &'static str {
        "rust"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        if source.has_entry(FILE) {
            return Ok(DetectResult::Match(format!("there is a {FILE}")));
        }
        Ok(match source.names.iter().find(|name| name.eq_ignore_ascii_case(FILE)) {
            Some(name) => {
                let is_rust = source.has_entry("src/") || source.names_ending(&["rs"]).next().is_some();
                super::refuse_or_warn(is_rust, name, errors::rust::misnamed(name))
            }
            None => DetectResult::NoMatch(format!("{FILE} is missing")),
        })
    }

    fn plan(&self, source: &AppSource, build_target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let manifest = manifest::read(source)?;
        let binaries = wanted_binaries(source, &manifest);
        if binaries.is_empty() {
            return Err(errors::rust::no_program().into());
        }
        let RustChoice { installed, from, mut warnings } =
            toolchain::choose(source, &manifest, build_target.cross)?;
        if build_target.find_tool("cc").is_none() {
            return Err(errors::rust::no_linker().into());
        }
        let cross = build_target
            .cross
            .map(|target| RustTarget::find(&installed, build_target, target))
            .transpose()?;
        let made = match &cross {
            Some(cross) => Path::new(TARGET).join(cross.triple).join("release"),
            None => Path::new(TARGET).join("release"),
        };
        let locked = source.has_entry(LOCK);
        if !locked {
            warnings.push(format!("there is no {LOCK}: what is built may differ each time; commit it"));
        }
        let program =
            |binary: &&CargoBinary| BuiltProgram { name: binary.name.clone(), made: made.join(&binary.name) };
        let programs: Vec<_> = binaries.iter().map(program).collect();
        let mut processes = processes(source, &manifest, &programs)?;
        let has_flags = source.variable(FLAGS).is_some();
        let interpret = |started: &StartedProgram| cargo_run::interpret(started, &manifest, has_flags);
        warnings.extend(replace_tool_commands(&mut processes, &programs, interpret)?);
        let root =
            if build_target.jailed && !installed.shown { TOOLCHAIN.into() } else { installed.root.clone() };
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(installed.version.to_string()),
            version_from: Some(from),
            mounts: toolchain_mounts(&installed, &root),
            steps: vec![build_step(source, &root, locked, cross.as_ref(), &binaries)],
            keep: Some(KeptFolders { folders: &[TARGET], forgets: false }),
            processes,
            programs,
            env: programs::env(build_target),
            build_env: build_env(&root, cross.as_ref()),
            warnings,
            ..BuildPlan::default()
        })
    }

    fn explain_failure(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        _plan: &BuildPlan,
        _view: &RootView,
    ) -> anyhow::Error {
        failures::explain(step.name, ended).into()
    }

    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let missing = programs::missing_programs(&plan.programs, &view.work);
        if !missing.is_empty() {
            return Err(errors::rust::nothing_built(&missing).into());
        }
        programs::check_target(&plan.programs, &view.work, view.cross)?;
        programs::prune_tree(&view.tree, &is_build_input)?;
        programs::install_programs(&plan.programs, &view.work, &view.tree)?;
        programs::link_programs(&plan.processes, &plan.programs, &view.tree)
    }
}

/// Returns whether only cargo needs a file. Included files are in the programs.
fn is_build_input(below: &Path) -> bool {
    let at_top = [TARGET, ".cargo", "rust-toolchain", "rust-toolchain.toml"];
    below.extension().is_some_and(|extension| extension == "rs")
        || below.file_name().is_some_and(|name| name == FILE || name == LOCK)
        || at_top.iter().any(|name| below == Path::new(name))
}

/// Returns the programs that cargo builds by default, and those that the Procfile starts.
fn wanted_binaries<'a>(source: &AppSource, manifest: &'a CargoManifest) -> Vec<&'a CargoBinary> {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    let all: Vec<_> = entries.flat_map(|entry| find_started(&entry.command)).collect();
    let started = |binary: &CargoBinary| {
        all.iter().any(|started| {
            started.name() == binary.name || cargo_run::find_binary(started, manifest) == Some(binary)
        })
    };
    manifest.binaries.iter().filter(|binary| binary.default || started(binary)).collect()
}

fn build_step(
    source: &AppSource,
    root: &Path,
    locked: bool,
    cross: Option<&RustTarget>,
    binaries: &[&CargoBinary],
) -> BuildStep {
    let mut run = vec![root.join("bin/cargo").to_string_lossy().into_owned()];
    run.extend(["build", "--release", "--bins"].map(str::to_owned));
    if let Some(cross) = cross {
        run.extend(["--target", cross.triple].map(str::to_owned));
    }
    if locked {
        run.push("--locked".to_owned());
    }
    // Without the option, cargo builds those by itself.
    if !binaries.iter().all(|binary| binary.default) {
        let mut packages: Vec<String> = binaries.iter().map(|binary| package_spec(binary)).collect();
        packages.dedup();
        for package in packages {
            run.extend(["--package".to_owned(), package]);
        }
    }
    if let Some((flags, _)) = source.variable(FLAGS) {
        run.extend(shell_words::split(flags).unwrap_or_default());
    }
    BuildStep { name: "cargo", run, quiet: false }
}

/// Returns the name of a package for cargo. The version tells it from a dependency of the same name.
fn package_spec(binary: &CargoBinary) -> String {
    match &binary.version {
        Some(version) => format!("{}@{version}", binary.package),
        None => binary.package.clone(),
    }
}

/// Returns the mount of a toolchain that the jail does not show by itself.
fn toolchain_mounts(installed: &InstalledRust, root: &Path) -> Vec<StepMount> {
    if installed.root == root {
        return Vec::new();
    }
    vec![StepMount { real: installed.root.clone(), inside: root.to_owned(), writable: false }]
}

/// Returns the process types of the Procfile, else the only program, that of `cargo run`, the one called
/// `web`, or that of the package at the top.
fn processes(
    source: &AppSource,
    manifest: &CargoManifest,
    programs: &[BuiltProgram],
) -> anyhow::Result<IndexMap<ProcessName, String>> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok(processes);
    }
    let called = |name: &str| programs.iter().find(|program| program.name == name);
    let web = match programs {
        [only] => Some(only),
        _ => manifest.default_run.as_deref().and_then(called).or_else(|| called("web")).or_else(|| {
            // src/main.rs beside others in src/bin.
            let is_main =
                |binary: &&CargoBinary| binary.folder.as_os_str().is_empty() && binary.name == binary.package;
            called(&manifest.binaries.iter().find(is_main)?.name)
        }),
    };
    let Some(program) = web else {
        let names: Vec<_> = programs.iter().map(|program| program.name.clone()).collect();
        return Err(errors::rust::no_process_types(&names).into());
    };
    Ok(IndexMap::from([("web".parse()?, program.release_path().display().to_string())]))
}

fn build_env(root: &Path, cross: Option<&RustTarget>) -> BTreeMap<String, String> {
    let path: PathBuf = root.join("bin");
    [
        ("PATH", format!("{}:{PATH}", path.display())),
        // Overrides the app's .cargo/config.toml.
        ("CARGO_TARGET_DIR", TARGET.to_owned()),
        ("CARGO_TERM_COLOR", "never".to_owned()),
        ("CARGO_TERM_PROGRESS_WHEN", "never".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .chain(cross.map(RustTarget::linker_variable))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds() {
        for name in ["src/main.rs", "Cargo.toml", "crates/x/Cargo.toml", "Cargo.lock", "target"] {
            assert!(is_build_input(Path::new(name)), "{name}");
        }
        for name in ["Rocket.toml", "templates/a.html", "static/target", "migrations/1.sql"] {
            assert!(!is_build_input(Path::new(name)), "{name}");
        }
    }
}
