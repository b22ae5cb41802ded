//! Go: builds every program of the module, the workspace or the lone files into `bin/`. Downloads and
//! compiled packages stay in the app's build cache. The release contains the programs, and no Go sources.

mod build_constraint;
mod cross;
mod failures;
mod file_header;
mod go_mod;
mod packages;
mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use super::version::RuntimeVersion;
use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::{AppSource, decode, normalize_path};
use crate::app::command_check::split_simple;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::programs::{self, BuiltProgram, FOLDER};
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::{RootView, is_executable};
use build_constraint::BuildTags;
use file_header::FileHeader;
use go_mod::GoModule;
use packages::GoPackage;
use piku_layout::jail::PATH;
use toolchain::GoChoice;

const MODULE: &str = "go.mod";
const WORKSPACE: &str = "go.work";
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
        let tags = BuildTags { architecture: machine, asked: build_tags(source, build_target) };
        let (head, packages) = find_packages(source, &tags)?;
        if packages.is_empty() {
            return Err(errors::go::no_program(&tags.asked).into());
        }
        let choice = toolchain::choose(source, &head)?;
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
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(choice.version()),
            version_from: Some(choice.from.clone()),
            steps: steps(source, build_target, &choice, &packages),
            processes: processes(source, &programs)?,
            programs,
            env: programs::env(build_target),
            build_env: build_env(source, build_target, &choice)?,
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
        || ["go.mod", "go.sum", "go.work", "go.work.sum"].iter().any(|file| name == *file)
}

/// Reads the module or workspace, and finds its programs.
fn find_packages(source: &AppSource, tags: &BuildTags) -> anyhow::Result<(GoModule, Vec<GoPackage>)> {
    let read = |name: PathBuf| -> anyhow::Result<Option<GoModule>> {
        Ok(source.read_bytes(name)?.map(|text| GoModule::parse(&decode(&text))))
    };
    if let Some(work) = read(WORKSPACE.into())? {
        let mut found = Vec::new();
        for dir in &work.uses {
            let dir = normalize_path(dir);
            if let Some(module) = read(dir.join(MODULE))? {
                found.extend(packages::find_programs(source, &dir, &module, tags)?);
            }
        }
        return Ok((work, found));
    }
    if let Some(module) = read(MODULE.into())? {
        let mut found = packages::find_programs(source, Path::new(""), &module, tags)?;
        let asked = selected_patterns(source, &module);
        if !asked.is_empty() {
            found.retain(|package| asked.iter().any(|pattern| matches_pattern(pattern, &package.pattern())));
        }
        return Ok((module, found));
    }
    let mut found: Vec<GoPackage> =
        packages::read_package(source, Path::new(""), tags)?.into_iter().collect();
    for package in &mut found {
        package.name = started_program(source).unwrap_or_else(|| NAMELESS.to_owned());
    }
    Ok((GoModule::default(), found))
}

/// Returns the package patterns that the app selects in Heroku's way; empty means all.
fn selected_patterns(source: &AppSource, module: &GoModule) -> Vec<String> {
    match source.variable("GO_INSTALL_PACKAGE_SPEC") {
        Some((text, _)) => text.split_whitespace().map(str::to_owned).collect(),
        None => module.heroku_install.clone(),
    }
}

/// Matches a package pattern: `./...` and `./cmd/...` include the packages below.
fn matches_pattern(pattern: &str, package: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches("./").trim_end_matches('/').to_owned();
    match pattern.strip_suffix("...") {
        Some(front) => {
            let (front, package) = (bare(front), bare(package));
            front.is_empty() || front == "." || package == front || package.starts_with(&format!("{front}/"))
        }
        None => bare(pattern) == bare(package),
    }
}

/// Returns the name of the program that the Procfile starts by a path which does not exist yet.
fn started_program(source: &AppSource) -> Option<String> {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    entries.into_iter().find_map(|entry| {
        let words = split_simple(&entry.command)?;
        let path = Path::new(&words[0]);
        let plain = path.extension().is_none()
            && words[0].contains('/')
            && !source.has_path(path).is_ok_and(|found| found);
        plain.then(|| path.file_name().map(|name| name.to_string_lossy().into_owned())).flatten()
    })
}

/// Returns the build tags in `GOFLAGS`.
fn build_tags(source: &AppSource, build_target: &BuildTarget) -> Vec<String> {
    let flags = go_flags(source, build_target);
    let mut words = flags.split_whitespace().map(|word| word.trim_start_matches('-'));
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let value = word.strip_prefix("tags=").or_else(|| (word == "tags").then(|| words.next()).flatten());
        found.extend(value.unwrap_or_default().split(',').filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    found
}

fn go_flags<'a>(source: &'a AppSource, build_target: &'a BuildTarget) -> &'a str {
    let host = || build_target.operator_env.get("GOFLAGS").map_or("", String::as_str);
    source.variable("GOFLAGS").map_or_else(host, |(value, _)| value)
}

fn steps(
    source: &AppSource,
    build_target: &BuildTarget,
    choice: &GoChoice,
    packages: &[GoPackage],
) -> Vec<BuildStep> {
    let go = choice.installed.program().to_string_lossy().into_owned();
    let lists = cross::list_step(source, build_target, &go, packages);
    lists.into_iter().chain([build_step(source, build_target, go, packages)]).collect()
}

/// Builds all programs in one call, so that shared packages are compiled once.
fn build_step(
    source: &AppSource,
    build_target: &BuildTarget,
    go: String,
    packages: &[GoPackage],
) -> BuildStep {
    let mut run = vec![go];
    // Programs contain no path of this machine, and the module cache can be removed.
    run.extend(["build", "-trimpath", "-modcacherw"].map(str::to_owned));
    let is_module = source.has_entry(MODULE) || source.has_entry(WORKSPACE);
    if let Some(flags) = linker_flags(source, build_target, packages) {
        run.extend(["-ldflags".to_owned(), flags]);
    }
    run.push("-o".to_owned());
    match packages {
        [only] if !is_module => {
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

/// Returns the linker flags that set `main.version` and `main.commit`, if the programs have these
/// variables, and Heroku's `GO_LINKER_SYMBOL`. Returns none if the app sets its own.
fn linker_flags(source: &AppSource, build_target: &BuildTarget, packages: &[GoPackage]) -> Option<String> {
    if go_flags(source, build_target).contains("-ldflags") {
        return None;
    }
    let mut words = Vec::new();
    let has = |stamp: &str| packages.iter().any(|package| package.stamps.contains(&stamp));
    if !build_target.commit.is_empty() {
        let short = build_target.commit.get(..12).unwrap_or(build_target.commit);
        for (stamp, value) in [("version", short), ("commit", build_target.commit)] {
            if has(stamp) {
                words.push(format!("-X main.{stamp}={value}"));
            }
        }
    }
    if let (Some((symbol, _)), Some((value, _))) =
        (source.variable("GO_LINKER_SYMBOL"), source.variable("GO_LINKER_VALUE"))
    {
        words.push(format!("-X '{symbol}={value}'"));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// Returns the process types of the Procfile, else the only program, else the one called `web`.
fn processes(source: &AppSource, programs: &[BuiltProgram]) -> anyhow::Result<IndexMap<ProcessName, String>> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok(processes);
    }
    let web = match programs {
        [only] => Some(only),
        _ => programs.iter().find(|program| program.name == "web"),
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

/// Returns Go's name of an architecture.
fn go_architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" | "i586" | "i386" => "386",
        other if other.starts_with("arm") => "arm",
        other => other,
    }
    .to_owned()
}

fn build_env(
    source: &AppSource,
    build_target: &BuildTarget,
    choice: &GoChoice,
) -> anyhow::Result<BTreeMap<String, String>> {
    let root = choice.installed.root.display();
    let toolchain =
        choice.fetched.as_ref().map_or_else(|| "local".to_owned(), |version| format!("go{version}"));
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), format!("{root}/bin:{PATH}")),
        ("GOTOOLCHAIN".to_owned(), toolchain),
        // git must not ask for a password.
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
    ]);
    if let Some(target) = build_target.cross {
        env.extend(cross::env(source, build_target, target)?);
        return Ok(env);
    }
    // Go 1.20 and newer detect that no C compiler is installed.
    let compiler = ["gcc", "cc"].iter().any(|name| is_executable(&Path::new("/usr/bin").join(name)));
    if !compiler && choice.installed.version < RuntimeVersion([1, 20, 0]) {
        env.insert("CGO_ENABLED".to_owned(), "0".to_owned());
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, package) in [
            ("./...", "./cmd/web"),
            ("./...", "."),
            ("./cmd/...", "./cmd/web"),
            ("./cmd/web", "./cmd/web"),
            (".", "."),
        ] {
            assert!(matches_pattern(pattern, package), "{pattern} {package}");
        }
        for (pattern, package) in [("./cmd/...", "./cmdline"), ("./cmd", "./cmd/web"), (".", "./cmd/web")] {
            assert!(!matches_pattern(pattern, package), "{pattern} {package}");
        }
    }

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
