//! Buildpacks with Heroku's classic interface: `bin/detect`, `bin/compile`, `bin/release`, `export`,
//! `.profile.d`. An app names them in `BUILDPACK_URL` or `.buildpacks`; those that the operator keeps on
//! the host detect their apps themselves.
//!
//! Source of the rules: Heroku's "Buildpack API".

#![expect(clippy::disallowed_methods, reason = "the folder with the operator's buildpacks")]

mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexmap::IndexMap;
use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;
use piku_files::untrusted_yaml;
use piku_layout::name::ProcessName;
use piku_procfile::env::is_name;
use piku_procfile::procfile::{ParseOptions, Procfile};
use serde::Deserialize;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_file;
use crate::app::app_source::AppSource;
use crate::errors::buildpack as told;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::step::step_runner::StepMount;
use crate::tree::root_view::RootView;
use piku_layout::jail::APP;
use piku_layout::jail::PATH;
use reference::{BuildpackOrigin, BuildpackReference};

/// Path at which build steps see the host's buildpacks.
const PACKS: &str = "/buildpacks";
/// File in the tree with the output of `bin/release`, until it is read.
const RELEASE_OUTPUT: &str = ".piku-release";
/// The value of `STACK` for buildpacks: the Heroku stack that is as old as Debian 12 and 13.
const STACK: &str = "heroku-24";
/// Exit code of the shell for a file that cannot be executed.
const NOT_EXECUTABLE: i32 = 126;
/// Names of steps.
const DETECT: &str = "detect";
const COMPILE: &str = "compile";
const RELEASE: &str = "release";

/// The output of `bin/release`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ReleaseScriptOutput {
    default_process_types: Option<IndexMap<ProcessName, String>>,
    /// Defaults of variables, which ENV and the config take precedence over.
    config_vars: Option<IndexMap<String, Option<ConfigValue>>>,
}

/// A value as YAML reads it: `PORT: 80` is a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum ConfigValue {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
}

impl ConfigValue {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Fraction(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

pub(super) struct BuildpackRuntime;

impl Runtime for BuildpackRuntime {
    fn name(&self) -> &'static str {
        "buildpack"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        let named = match reference::read_references(source) {
            Ok(named) => named,
            Err(err) => return err.downcast().map(DetectResult::Unsupported),
        };
        if let Some((packs, from)) = named {
            let all: Vec<_> = packs.iter().map(|pack| pack.name.as_str()).collect();
            return Ok(DetectResult::Match(format!("{from} names {}", all.join(", "))));
        }
        if let Some((pack, answer)) = detect_on_host(source)? {
            return Ok(DetectResult::Match(format!("the host's buildpack '{pack}' says: {answer}")));
        }
        Ok(DetectResult::NoMatch(
            "BUILDPACK_URL or a file .buildpacks is missing, and no buildpack of the host detects the app"
                .to_owned(),
        ))
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let packs = if let Some((packs, _)) = reference::read_references(source)? {
            packs
        } else {
            let (name, _) = detect_on_host(source)?.ok_or_else(told::none)?;
            vec![BuildpackReference::from_host(&name, source)?]
        };
        let mut steps = Vec::new();
        let mut mounts = Vec::new();
        for (at, pack) in packs.iter().enumerate() {
            if let BuildpackOrigin::Host(real) = &pack.origin {
                let inside = if target.jailed { Path::new(PACKS).join(&pack.name) } else { real.clone() };
                mounts.push(StepMount { real: real.clone(), inside, writable: false });
            }
            if matches!(pack.origin, BuildpackOrigin::Git { .. }) {
                target.tool("an app with a buildpack in git", "git")?;
            }
            steps.extend(pack_steps(at, pack, source, target));
        }
        let processes = super::procfile_processes(source);
        Ok(BuildPlan {
            runtime: self.name(),
            steps,
            mounts,
            processes_from: processes.is_none().then(|| "bin/release".to_owned()),
            processes: processes.unwrap_or_default(),
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            build_env: BTreeMap::from([("STACK".to_owned(), STACK.to_owned())]),
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
        if step.name == DETECT && ended.code == 1 {
            let pack = step.run.last().map_or("", String::as_str);
            return told::not_its_own(pack).into();
        }
        if matches!(step.name, DETECT | COMPILE) && ended.code == NOT_EXECUTABLE {
            return super::unexplained(step, ended).hint(told::HOW_TO_MAKE_EXECUTABLE).into();
        }
        super::unexplained(step, ended).into()
    }

    /// Takes the process types and the defaults of variables from `bin/release`. A Procfile that a buildpack wrote comes
    /// before them.
    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let read = |name: &str| app_file::read_bytes(&view.tree, Path::new(name));
        let mut said = Vec::new();
        // An old buildpack sets `PATH` for a system that is not this one.
        let own: Vec<String> = plan.env.keys().cloned().collect();
        // A step may have made more such files.
        let packs = plan.steps.iter().filter(|step| step.name == RELEASE).count();
        for at in 0..packs {
            let name = format!("{RELEASE_OUTPUT}-{at}");
            let Some(text) = read(&name)? else { break };
            view.tree.remove_file(&name)?;
            let one: Option<ReleaseScriptOutput> =
                untrusted_yaml::parse(&text).map_err(|err| told::bad_release(&err.to_string()))?;
            let mut one = one.unwrap_or_default();
            for (name, value) in one.config_vars.take().unwrap_or_default() {
                let text = value.map_or_else(String::new, ConfigValue::into_text);
                if is_name(&name) && name != "PORT" && !own.contains(&name) && !text.contains('\0') {
                    plan.env.insert(name, text);
                }
            }
            said.push(one);
        }
        if plan.processes_from.is_none() {
            return Ok(());
        }
        if let Some(text) = read("Procfile")? {
            let procfile = Procfile::parse(&text, ParseOptions::default())?;
            plan.processes = procfile.entries.iter().map(super::convert_entry).collect();
            plan.processes_from = Some("the Procfile that a buildpack has written".to_owned());
            return Ok(());
        }
        // The last buildpack is for the app; those before it install what that needs.
        let types =
            said.into_iter().filter_map(|one| one.default_process_types).rfind(|types| !types.is_empty());
        plan.processes = types.ok_or_else(told::nothing_started)?;
        Ok(())
    }
}

/// Returns the steps of one buildpack. It is copied first, because it writes `export` into its folder.
fn pack_steps(
    at: usize,
    pack: &BuildpackReference,
    source: &AppSource,
    target: &BuildTarget,
) -> Vec<BuildStep> {
    let here = format!("\"$HOME/packs/{at}\"");
    let fetch = match &pack.origin {
        BuildpackOrigin::Host(real) => {
            let from = if target.jailed { Path::new(PACKS).join(&pack.name) } else { real.clone() };
            format!("mkdir -p \"$HOME/packs\" && cp -R {} {here}", quoted(&from.to_string_lossy()))
        }
        BuildpackOrigin::App(path) => {
            format!("mkdir -p \"$HOME/packs\" && cp -R {} {here}", quoted(&format!("./{path}")))
        }
        BuildpackOrigin::Git { url, branch: Some(commit) } if is_commit(commit) => {
            let url = quoted(url);
            format!(
                "mkdir -p \"$HOME/packs\" && git clone --quiet --no-checkout -- {url} {here} && cd {here} && \
                 git checkout --quiet {commit} && git submodule --quiet update --init --recursive"
            )
        }
        BuildpackOrigin::Git { url, branch } => {
            let branch =
                branch.as_ref().map_or_else(String::new, |name| format!("--branch {} ", quoted(name)));
            format!(
                "mkdir -p \"$HOME/packs\" && git clone --quiet --depth 1 --recurse-submodules {branch}-- {} {here}",
                quoted(url)
            )
        }
    };
    let names = source.env.keys().chain(source.config.keys()).filter(|name| is_name(name));
    let write = |name: &String| format!("printf %s \"${name}\" >\"$HOME/env/{name}\"\n");
    let variables = names.map(write).collect::<Vec<_>>().concat();
    let compile = format!(
        "set -e\nmkdir -p \"$HOME/env\" \"$HOME/exports\" \"$BUILDPACK_CACHE/{name}\"\n{variables}\
         for file in \"$HOME\"/exports/*; do [ ! -f \"$file\" ] || . \"$file\"; done\n\
         {here}/bin/compile \"$PWD\" \"$BUILDPACK_CACHE/{name}\" \"$HOME/env\"\n\
         [ ! -f {here}/export ] || cp {here}/export \"$HOME/exports/{at}\"",
        name = pack.name
    );
    let release =
        format!("if [ -x {here}/bin/release ]; then {here}/bin/release \"$PWD\"; fi >{RELEASE_OUTPUT}-{at}");
    let step = |name, text: String, quiet| BuildStep {
        name,
        // The last word only names the buildpack to the reader of a plan.
        run: vec!["/bin/bash".to_owned(), "-c".to_owned(), text, pack.name.clone()],
        quiet,
    };
    vec![
        step("fetch", fetch, true),
        step(DETECT, format!("{here}/bin/detect \"$PWD\""), false),
        step(COMPILE, compile, false),
        step(RELEASE, release, true),
    ]
}

/// Returns whether a revision looks like a commit: its full hash, or the first digits.
fn is_commit(revision: &str) -> bool {
    (7..=64).contains(&revision.len()) && revision.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn quoted(text: &str) -> String {
    shell_words::quote(text).into_owned()
}

/// Returns the first buildpack of the host that detects the app, and the line that it prints. Detection
/// runs in the jail, with the app's folder read-only, unless the build runs without one too.
fn detect_on_host(source: &AppSource) -> anyhow::Result<Option<(String, String)>> {
    if source.packs.is_empty() {
        return Ok(None);
    }
    let jailed = source.sandbox.use_jail(false)?;
    let all = source.packs.iter();
    let mut answers =
        all.filter_map(|(name, dir)| Some((name.clone(), run_detect(source, name, dir, jailed)?)));
    Ok(answers.next())
}

fn run_detect(source: &AppSource, name: &str, dir: &Path, jailed: bool) -> Option<String> {
    let mut command = if jailed {
        let inside = Path::new(PACKS).join(name);
        let program = inside.join("bin/detect").to_string_lossy().into_owned();
        let env =
            BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("STACK".to_owned(), STACK.to_owned())]);
        let jail = JailSpec::profile(BuiltinProfile::Build).die_with_caller();
        let jail = jail.ro(source.tree.path(), Path::new(APP)).ro(dir, &inside);
        jail.command(&env, &[program, APP.to_owned()])
    } else {
        let mut command = Command::new(dir.join("bin/detect"));
        let app = source.tree.path();
        command.arg(app).env_clear().env("PATH", PATH).env("STACK", STACK).current_dir(app);
        command
    };
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(text)
}

/// Lists the operator's buildpacks, folders with a `bin/detect`, by name.
pub(crate) fn list_host_buildpacks(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut packs: Vec<_> = entries
        .filter_map(|entry| {
            Some((entry.file_name().into_string().ok()?, fs::canonicalize(entry.path()).ok()?))
        })
        .filter(|(name, path)| reference::is_safe_name(name) && path.join("bin/detect").is_file())
        .collect();
    packs.sort();
    packs
}
