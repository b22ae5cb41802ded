//! Cross-compilation of Go. Go code needs no extra tools for that, C code needs a cross compiler.

use std::collections::BTreeMap;

use super::packages::GoPackage;
use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_target::BuildTarget;
use crate::step::build_step::{BuildStep, StepOutcome};
use piku_release::target::TargetArchitecture;

/// Name of the step that searches for C code.
pub(super) const STEP: &str = "go list";
/// Variable that turns C code on or off.
const SETTING: &str = "CGO_ENABLED";

/// Returns the variables that tell Go of the target.
///
/// # Errors
/// Fails if the app requires C code and this machine has no C compiler for the target.
pub(super) fn env(
    source: &AppSource,
    build_target: &BuildTarget,
    target: &TargetArchitecture,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut env: BTreeMap<String, String> = [("GOOS", "linux"), ("GOARCH", target.go)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    if let Some(level) = target.go_arm {
        env.insert("GOARM".to_owned(), level.to_owned());
    }
    let Some(compiler) = build_target.cross_compiler() else {
        if cgo_setting(source, build_target) == Some("1") {
            return Err(errors::go::no_cross_compiler(&[], target).into());
        }
        env.insert(SETTING.to_owned(), "0".to_owned());
        return Ok(env);
    };
    env.insert(SETTING.to_owned(), "1".to_owned());
    env.insert("CXX".to_owned(), format!("{}g++", compiler.trim_end_matches("gcc")));
    env.insert("CC".to_owned(), compiler);
    Ok(env)
}

/// Returns a step that lists packages with C code, if it cannot be compiled: `go build` would leave it out,
/// and the program may build without it and not work.
pub(super) fn list_step(
    source: &AppSource,
    build_target: &BuildTarget,
    go: &str,
    packages: &[GoPackage],
) -> Option<BuildStep> {
    if build_target.cross.is_none()
        || build_target.cross_compiler().is_some()
        || cgo_setting(source, build_target).is_some()
    {
        return None;
    }
    let with_c = "{{if and .CgoFiles (not .Standard)}}{{.ImportPath}}{{end}}";
    let mut run: Vec<String> =
        ["env", "CGO_ENABLED=1", go, "list", "-deps", "-f", with_c].map(str::to_owned).into();
    run.extend(packages.iter().map(GoPackage::pattern));
    Some(BuildStep { name: STEP, run, quiet: true })
}

/// Rejects an app with C code. If the listing failed, `go build` explains why.
pub(super) fn check_list_step(
    ended: &StepOutcome,
    target: Option<&TargetArchitecture>,
) -> anyhow::Result<()> {
    let is_package = |line: &&String| !line.is_empty() && !line.contains([' ', ':', '\t']);
    let found: Vec<String> = ended.lines.iter().filter(is_package).cloned().collect();
    match target {
        Some(target) if ended.succeeded() && !found.is_empty() => {
            Err(errors::go::no_cross_compiler(&found, target).into())
        }
        _ => Ok(()),
    }
}

/// Returns the setting of the app, or else of the operator, for C code.
fn cgo_setting<'a>(source: &'a AppSource, build_target: &'a BuildTarget) -> Option<&'a str> {
    let host = || build_target.operator_env.get(SETTING).map(String::as_str);
    source.variable(SETTING).map(|(value, _)| value.trim()).or_else(host)
}
