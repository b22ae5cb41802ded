//! Go: builds every program of the module, the workspace or the lone files into `bin/`. Downloads and
//! compiled packages stay in the app's build cache. The release contains the programs, and no Go sources.

mod build_constraint;
mod build_env;
mod cross;
mod failures;
mod file_header;
mod go_mod;
mod go_run;
mod linker_flags;
mod packages;
mod selection;
mod std_cache;
mod toolchain;

use std::path::Path;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::command;
use piku_procfile::procfile::ProcessKind;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::{AppSource, decode, normalize_path};
use crate::app::started_programs::{StartedProgram, find_started};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::programs::{self, BuiltProgram, FOLDER};
use crate::plan::tool_commands::replace_tool_commands;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;
use build_constraint::BuildTags;
use build_env::{build_env, build_tags, go_architecture, go_flags};
use file_header::FileHeader;
use go_mod::GoModule;
use packages::GoPackage;
use toolchain::GoChoice;

const MODULE: &str = "go.mod";
const WORKSPACE: &str = "go.work";
/// File with the import path of an app from before there were modules.
const GODIR: &str = ".godir";
/// Files in which the tools before modules list dependencies.
const OLD_DEPENDENCIES: [&str; 4] = ["Godeps/Godeps.json", "Gopkg.toml", "glide.yaml", "vendor/vendor.json"];
/// Name of the program of an app without a module, if the Procfile does not give one.
const NAMELESS: &str = "app";

pub(super) struct GoRuntime;

impl Runtime for GoRuntime {
    fn name(&self) -> &'static str {
        "go"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        for name in [WORKSPACE, MODULE] {
            if source.has_entry(name) {
                return Ok(DetectResult::Match(format!("there is a {name}")));
            }
        }
        if source.has_entry(GODIR) {
            return Ok(DetectResult::Match(format!("there is a {GODIR}")));
        }
        let mut file = None;
        for name in source.names.iter().filter(|name| is_go(Path::new(name)) && !name.ends_with("_test.go")) {
            let text = source.read_bytes(name)?.unwrap_or_default();
            if FileHeader::parse(&decode(&text)).package == Some("main") {
                file = Some(name);
                break;
            }
        }
        Ok(match file {
            Some(name) => {
                DetectResult::WeakMatch(format!("there is {name}, and no {MODULE}: no dependencies"))
            }
            None => DetectResult::NoMatch(format!(
                "{MODULE}, {WORKSPACE} or *.go files with a 'package main' are missing"
            )),
        })
    }

    fn plan(&self, source: &AppSource, build_target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let machine = build_target
            .cross
            .map_or_else(|| go_architecture(build_target.architecture), |target| target.go.to_owned());
        let head = read_module(source)?;
        let mut choice = toolchain::choose(source, &head)?;
        let tags = BuildTags {
            architecture: machine,
            minor: choice.minor(),
            asked: build_tags(source, build_target),
        };
        let packages = find_packages(source, build_target, &head, &tags)?;
        if packages.is_empty() {
            return Err(errors::go::no_program(&tags.asked).into());
        }
        let programs: Vec<BuiltProgram> = packages
            .iter()
            .map(|package| BuiltProgram {
                name: package.name.clone(),
                made: Path::new(FOLDER).join(&package.name),
            })
            .collect();
        if let Some(twice) = find_duplicate(&programs) {
            return Err(errors::go::same_name(twice).into());
        }
        let mut processes = processes(source, &packages, &programs)?;
        let interpret = |started: &StartedProgram| go_run::interpret(started, &packages);
        choice.warnings.extend(replace_tool_commands(&mut processes, &programs, interpret)?);
        let build_env = build_env(source, build_target, &choice)?;
        choice.warnings.extend(find_old_dependencies(source)?.map(errors::go::old_dependencies));
        let std = std_cache::plan_layer(&choice, build_target, &build_env);
        let build = steps(source, build_target, &choice, &head, &packages);
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(choice.version()),
            version_from: Some(choice.from.clone()),
            steps: std.iter().map(std_cache::copy_step).chain(build).collect(),
            tools: std.into_iter().collect(),
            processes,
            programs,
            env: programs::env(build_target),
            build_env,
            warnings: choice.warnings,
            ..BuildPlan::default()
        })
    }

    fn check_step(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Result<()> {
        if step.name == cross::STEP {
            return cross::check_list_step(ended, view.cross);
        }
        if ended.succeeded() {
            return Ok(());
        }
        Err(failures::explain(step.name, ended, plan.version.as_deref().unwrap_or_default()).into())
    }

    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let missing = programs::missing_programs(&plan.programs, &view.tree);
        if !missing.is_empty() {
            return Err(errors::go::nothing_built(&missing).into());
        }
        programs::check_target(&plan.programs, &view.tree, view.cross)?;
        programs::prune_tree(&view.tree, &is_build_input)?;
        programs::link_programs(&plan.processes, &plan.programs, &view.tree)
    }
}

fn is_go(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "go")
}

/// Returns whether only `go build` needs a file. Embedded files are in the programs.
fn is_build_input(below: &Path) -> bool {
    let name = below.file_name().unwrap_or_default();
    is_go(below)
        || below == Path::new("vendor")
        || ["go.mod", "go.sum", "go.work", "go.work.sum", GODIR].iter().any(|file| name == *file)
}

/// Reads go.work, go.mod, or the import path of an app from before there were modules.
fn read_module(source: &AppSource) -> anyhow::Result<GoModule> {
    for name in [WORKSPACE, MODULE] {
        if let Some(text) = source.read_bytes(name)? {
            return Ok(GoModule::parse(&decode(&text)));
        }
    }
    let path = source.read_bytes(GODIR)?.map(|text| decode(&text).trim().to_owned()).unwrap_or_default();
    Ok(GoModule { path, ..GoModule::default() })
}

/// Finds the programs of the module or workspace.
fn find_packages(
    source: &AppSource,
    build_target: &BuildTarget,
    module: &GoModule,
    tags: &BuildTags,
) -> anyhow::Result<Vec<GoPackage>> {
    let top = Path::new("");
    if source.has_entry(WORKSPACE) {
        let mut found = Vec::new();
        for dir in module.uses.iter().map(|dir| normalize_path(dir)) {
            if let Some(text) = source.read_bytes(dir.join(MODULE))? {
                let used = GoModule::parse(&decode(&text));
                found.extend(packages::find_programs(source, &dir, &used, tags)?);
            }
        }
        return selection::select(source, module, found);
    }
    if source.has_entry(MODULE) {
        return selection::select(source, module, packages::find_programs(source, top, module, tags)?);
    }
    if needs_module(source, module)? {
        return packages::find_programs(source, top, module, tags);
    }
    let mut found: Vec<GoPackage> = packages::read_package(source, top, tags)?.into_iter().collect();
    for package in &mut found {
        let own = Some(module.program_name()).filter(|name| !name.is_empty()).map(str::to_owned);
        let name = started_program(source, build_target).or(own);
        package.name = name.unwrap_or_else(|| NAMELESS.to_owned());
    }
    Ok(found)
}

/// Returns whether a build first makes a go.mod: an app with an import path alone has packages in folders.
fn needs_module(source: &AppSource, module: &GoModule) -> anyhow::Result<bool> {
    let has_module = source.has_entry(MODULE) || source.has_entry(WORKSPACE);
    Ok(!has_module && !module.path.is_empty() && packages::has_folders(source)?)
}

/// Returns the file of an older tool that lists the dependencies of an app without a module.
fn find_old_dependencies(source: &AppSource) -> anyhow::Result<Option<&'static str>> {
    if source.has_entry(MODULE) || source.has_entry(WORKSPACE) {
        return Ok(None);
    }
    for file in OLD_DEPENDENCIES {
        if source.has_path(file)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Returns the name of the program that the Procfile starts and that neither the app nor this machine has.
fn started_program(source: &AppSource, build_target: &BuildTarget) -> Option<String> {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    let entries = entries.filter(|entry| !matches!(entry.kind, ProcessKind::Preflight | ProcessKind::Static));
    let all: Vec<_> = entries.flat_map(|entry| find_started(&entry.command)).collect();
    let by_path = all.iter().find_map(|started| {
        let path = started.path()?;
        let is_new = path.extension().is_none() && !source.has_path(&path).is_ok_and(|found| found);
        is_new.then(|| path.file_name().map(|name| name.to_string_lossy().into_owned())).flatten()
    });
    let by_name = || {
        let names = all.iter().map(|started| started.words[0].as_str());
        let is_plain =
            |name: &&str| name.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter));
        let is_known = |name: &str| {
            name == "go" || command::is_shell_word(name) || build_target.find_tool(name).is_some()
        };
        names.into_iter().filter(is_plain).find(|name| !is_known(name)).map(str::to_owned)
    };
    by_path.or_else(by_name)
}

fn steps(
    source: &AppSource,
    build_target: &BuildTarget,
    choice: &GoChoice,
    module: &GoModule,
    packages: &[GoPackage],
) -> Vec<BuildStep> {
    let go = choice.installed.program().to_string_lossy().into_owned();
    let is_nameless = packages.iter().all(|package| package.import.is_empty());
    let has_module = source.has_entry(MODULE) || source.has_entry(WORKSPACE);
    let init = (!has_module && !is_nameless)
        .then(|| BuildStep::new("go mod", &[&go, "mod", "init", &module.path], true));
    let lists = cross::list_step(source, build_target, &go, packages);
    let build = build_step(source, build_target, go, packages, is_nameless);
    init.into_iter().chain(lists).chain([build]).collect()
}

/// Builds all programs in one call, so that shared packages are compiled once.
fn build_step(
    source: &AppSource,
    build_target: &BuildTarget,
    go: String,
    packages: &[GoPackage],
    is_nameless: bool,
) -> BuildStep {
    let mut run = vec![go];
    // Programs contain no path of this machine, and the module cache can be removed.
    run.extend(["build", "-trimpath", "-modcacherw"].map(str::to_owned));
    if let Some(flags) = linker_flags::find(source, build_target, packages) {
        run.extend(["-ldflags".to_owned(), flags]);
    }
    run.push("-o".to_owned());
    match packages {
        [only] if is_nameless => {
            run.push(format!("{FOLDER}/{}", only.name));
            run.extend(only.files.iter().cloned());
        }
        _ => {
            run.push(format!("{FOLDER}/"));
            run.extend(packages.iter().map(GoPackage::pattern));
        }
    }
    BuildStep { name: "go", run, quiet: false }
}

/// Returns the process types of the Procfile, else the only program, else the one called `web`, else the one
/// at the top.
fn processes(
    source: &AppSource,
    packages: &[GoPackage],
    programs: &[BuiltProgram],
) -> anyhow::Result<IndexMap<ProcessName, String>> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok(processes);
    }
    let web = match programs {
        [only] => Some(only),
        _ => programs.iter().find(|program| program.name == "web").or_else(|| {
            let top = packages
                .iter()
                .position(|package| package.dir.as_os_str().is_empty() && !package.is_external);
            programs.get(top?)
        }),
    };
    let Some(program) = web else {
        let names: Vec<_> = programs.iter().map(|program| program.name.clone()).collect();
        return Err(errors::go::no_process_types(&names).into());
    };
    Ok(IndexMap::from([("web".parse()?, program.release_path().display().to_string())]))
}

/// Returns a name that two programs share.
fn find_duplicate(programs: &[BuiltProgram]) -> Option<&str> {
    let mut names: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds() {
        for name in ["main.go", "cmd/web/main_test.go", "go.sum", "api/go.mod", "vendor"] {
            assert!(is_build_input(Path::new(name)), "{name}");
        }
        for name in ["static/vendor", "page.html", "bin/web", "config.toml"] {
            assert!(!is_build_input(Path::new(name)), "{name}");
        }
    }
}
