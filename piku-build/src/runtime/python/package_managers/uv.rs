//! `uv.lock`: uv itself installs what it says, and refuses one that pyproject.toml has left behind.

use toml::Value;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::dependency_files::pyproject::{self, PyprojectFile};
use crate::runtime::python::failures;
use crate::runtime::python::package_managers::pip;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::step::build_step::{BuildStep, StepOutcome};
use piku_report::user_error::UserError;

/// The lock file, and the step's name.
const LOCK: &str = "uv.lock";
pub(crate) const STEP: &str = "uv";
/// Where an operator names another index than the one that the lock was made with.
pub(crate) const INDEXES: [&str; 3] = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];

/// Reads the lock.
pub(crate) fn read(source: &AppSource, jailed: bool) -> anyhow::Result<PythonDependencies> {
    let mut all = PythonDependencies { hashes: true, locked: true, ..PythonDependencies::default() };
    all.fact(source, LOCK)?;
    let lock = pyproject::table(source, LOCK)?.unwrap_or_default();
    if let Some(project) = PyprojectFile::read(source)? {
        all.facts.push((pyproject::FILE.to_owned(), project.facts()));
    }
    for package in all.locked_packages(&lock) {
        let place = |kind| package.get("source").and_then(|source| source.get(kind)).and_then(Value::as_str);
        if let Some(path) = place("editable") {
            all.local(source, LOCK, path, jailed)?;
            all.package = true;
        } else if let Some(path) = place("directory").or_else(|| place("path")) {
            all.local(source, LOCK, path, false)?;
        }
    }
    Ok(all)
}

/// What makes the virtualenv.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let python = target.interpreter.path.to_string_lossy();
    let uv = target.program();
    let venv = target.python();
    let mut steps = Vec::new();
    if target.mirror {
        // The lock names the index that it was made with; another one has the same files under its own addresses.
        steps.push(BuildStep::new(
            STEP,
            &[&uv, "venv", "--allow-existing", "--python", &python, &target.venv.to_string_lossy()],
            false,
        ));
        let export = "exec \"$0\" export --quiet --frozen --no-default-groups --no-emit-workspace --format requirements-txt --output-file \"$TMPDIR/requirements.txt\"";
        steps.push(BuildStep::new(STEP, &["sh", "-c", export, &uv], true));
        let install = "exec \"$0\" pip install --python \"$1\" --no-deps --compile-bytecode --requirement \"$TMPDIR/requirements.txt\"";
        steps.push(BuildStep::new(STEP, &["sh", "-c", install, &uv, &venv], false));
        for local in &all.local {
            let path = format!("./{}", local.path.display());
            let mut run = vec![uv.as_str(), "pip", "install", "--python", &venv, "--no-deps"];
            run.extend(local.editable.then_some("--editable"));
            run.push(&path);
            steps.push(BuildStep::new(STEP, &run, false));
        }
    } else {
        let mut sync = vec![
            uv.as_str(),
            "sync",
            "--locked",
            "--no-default-groups",
            "--compile-bytecode",
            "--python",
            &python,
        ];
        if !target.jailed {
            sync.push("--no-editable");
        }
        steps.push(BuildStep::new(STEP, &sync, false));
    }
    let added = pip::added(target, all);
    if !added.is_empty() {
        let mut install = vec![uv.as_str(), "pip", "install", "--python", &venv, "--compile-bytecode"];
        install.extend(added);
        steps.push(BuildStep::new(STEP, &install, false));
    }
    steps
}

/// Why uv failed.
pub(crate) fn explain(ended: &StepOutcome) -> UserError {
    let lines = &ended.lines;
    let any = |needles: &[&str]| lines.iter().find(|line| needles.iter().any(|needle| line.contains(needle)));
    if any(&["needs to be updated, but `--locked`", "Unable to find lockfile"]).is_some() {
        return errors::python::stale_lock(LOCK, pyproject::FILE, "uv lock");
    }
    if let Some(line) =
        any(&["is incompatible with the project's Python requirement", "No interpreter found"])
    {
        return errors::python::other_python(line.trim_start_matches("error: "));
    }
    if let Some(line) = any(&["Required uv version", "does not match the running version"]) {
        return errors::python::other_tool(line.trim_start_matches("error: "), "UV_VERSION");
    }
    if any(&["Hash mismatch for"]).is_some() {
        return errors::python::bad_hashes(LOCK, &told(lines));
    }
    if let Some(line) = any(&["Failed to build `"]) {
        let package = line.split('`').nth(1).unwrap_or_default().replace("==", " ");
        return errors::python::build_failed(&package, failures::missing(lines), &told(lines));
    }
    if let Some(line) = any(&["invalid peer certificate", "certificate verify failed"]) {
        return errors::python::bad_certificate(line.contains("NotValidYet"));
    }
    if let Some(line) = any(&[
        "dns error",
        "error sending request",
        "tcp connect error",
        "Connection refused",
        "operation timed out",
        "client error (Connect)",
    ]) {
        return errors::python::no_network(line.trim_matches(|c: char| !c.is_alphanumeric()));
    }
    errors::step_failed(STEP, ended, &told(lines))
}

/// The lines of an error and of what caused it.
fn told(lines: &[String]) -> Vec<String> {
    let from = lines.iter().position(|line| {
        let line = line.trim_start();
        line.starts_with("error:") || line.starts_with('×')
    });
    let lines = from.map_or(lines, |from| &lines[from..]);
    lines.iter().filter(|line| !line.trim().is_empty()).take(12).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_reason() {
        for (text, reason) in [
            (
                "error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided. To update the lockfile, run `uv lock`.",
                "out of step",
            ),
            (
                "error: The requested interpreter resolved to Python 3.11.2, which is incompatible with the project's Python requirement: `>=3.13`",
                ">=3.13",
            ),
            (
                "  × Failed to build `x==1`\n  ├─▶ The build backend returned an error\n  error: command 'gcc' failed: No such file or directory",
                "apt install build-essential",
            ),
            (
                "error: Failed to fetch: `https://example.org/x`\n  Caused by: error sending request for url\n",
                "cannot reach",
            ),
            ("  × Failed to download `x==1`\n  ╰─▶ Hash mismatch for `x==1`", "hashes in uv.lock"),
        ] {
            let ended = StepOutcome {
                code: 1,
                lines: text.lines().map(str::to_owned).collect(),
                out_of_memory: false,
                peak: 0,
            };
            let said = explain(&ended);
            let said = anyhow::Error::from(said);
            let all = format!("{said} {:?}", piku_report::user_error::advice(&said).0);
            assert!(all.contains(reason), "{text} -> {all}");
        }
    }
}
