//! `rebuild`, for cron: builds each app's deployed commit again with the current packages of the host and of
//! the package servers, and deploys it if the result differs. If nothing has changed, it reports that to those who wait
//! for it only.

#![expect(clippy::disallowed_methods, reason = "looks for the tools beside its own program")]

pub(crate) mod cli;
mod summary;
mod verify;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use piku_layout::deploys::deploy_lock::DeployLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::{BUSY, FAILED, UserError};
use serde::Serialize;

use piku_release::manifest::BuiltRelease;

/// Request to rebuild apps.
pub(crate) struct RebuildRequest {
    pub(crate) root: PikuRoot,
    /// Names of the apps; all running apps if empty.
    pub(crate) apps: Vec<AppName>,
    pub(crate) verify: bool,
    /// The longest time to wait first.
    pub(crate) jitter: Duration,
    /// Seconds to wait for an app's lock.
    pub(crate) wait: u64,
    pub(crate) format: OutputFormat,
}

/// Result for one app. Scripts rely on the names of its fields.
#[derive(Debug, Serialize)]
struct RebuildRow {
    app: AppName,
    result: RebuildOutcome,
    /// The live release, afterwards.
    release: Option<u64>,
    /// Changes, one line each; after a failure, its output.
    details: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RebuildOutcome {
    /// The new build equals the live release.
    Unchanged,
    /// The new release is live.
    Updated,
    /// With `--verify`: two builds are not the same.
    Differs,
    /// The build or the deploy failed; the old release still runs.
    Failed,
    /// Another change of the app took too long.
    Busy,
    /// The operator has locked the app.
    Locked,
}

impl RebuildOutcome {
    fn code(self) -> u8 {
        match self {
            Self::Unchanged | Self::Updated | Self::Locked => 0,
            Self::Differs | Self::Failed => FAILED,
            Self::Busy => BUSY,
        }
    }
}

/// Number of lines that are repeated from a failed deploy.
const LINES: usize = 40;

/// Rebuilds the apps one after the other.
pub(crate) fn run(asked: &RebuildRequest) -> anyhow::Result<ExitCode> {
    let apps = if asked.apps.is_empty() { running(&asked.root)? } else { asked.apps.clone() };
    for app in &apps {
        if asked.root.app(app).current_number().is_none() {
            return Err(if asked.root.app(app).is_there() {
                UserError::new(format!("{app} has no release that could be built again")).into()
            } else {
                unknown_app(&asked.root, app).into()
            });
        }
    }
    if !apps.is_empty() {
        thread::sleep(share_of(asked.jitter));
    }
    let mut rows = Vec::new();
    for app in apps {
        let row = if asked.verify { verify::verify(asked, &app) } else { rebuild(asked, &app) };
        rows.push(row.unwrap_or_else(|err| RebuildRow {
            release: asked.root.app(&app).current_number(),
            app,
            result: RebuildOutcome::Failed,
            details: vec![format!("{err:#}")],
        }));
    }
    output::print(asked.format, &rows, || rows.iter().map(summary::format_row).collect())?;
    // Cron mails whatever is printed.
    if asked.format == OutputFormat::Text && !asked.apps.is_empty() && is_watched() {
        rows.iter().filter_map(summary::describe_unchanged).for_each(|line| progress::step(&line));
    }
    let worst = rows.iter().map(|row| row.result).min_by_key(|result| match result.code() {
        FAILED => 0,
        BUSY => 1,
        _ => 2,
    });
    Ok(ExitCode::from(worst.map_or(0, RebuildOutcome::code)))
}

/// Returns true if a user waits for the outcome, at a terminal or over ssh.
fn is_watched() -> bool {
    io::stderr().is_terminal() || env::var_os("PIKU_KEY").is_some_and(|key| !key.is_empty())
}

/// Returns the apps that have a release and are not stopped.
fn running(root: &PikuRoot) -> anyhow::Result<Vec<AppName>> {
    let mut apps = root.apps().context("cannot list the apps")?;
    apps.retain(|app| {
        let dir = root.app(app);
        dir.current_number().is_some() && !dir.is_stopped()
    });
    Ok(apps)
}

/// Returns a random part of the longest time.
fn share_of(longest: Duration) -> Duration {
    // `RandomState` has a new seed in each process.
    let chance = RandomState::new().hash_one(std::process::id());
    longest.mul_f64(f64::from(u32::try_from(chance >> 32).unwrap_or(0)) / f64::from(u32::MAX))
}

fn rebuild(asked: &RebuildRequest, app: &AppName) -> anyhow::Result<RebuildRow> {
    let dir = asked.root.app(app);
    if dir.is_stopped() {
        return Err(UserError::new(format!("{app} is stopped, and a rebuild does not start it")).into());
    }
    let before = live(asked, app)?;
    if let Some(lock) = DeployLock::read(&dir)? {
        // Not a failure of a run over all apps.
        let details = vec![lock.describe(app)];
        let result = if asked.apps.is_empty() { RebuildOutcome::Locked } else { RebuildOutcome::Failed };
        return Ok(RebuildRow { app: app.clone(), result, release: Some(before.number), details });
    }
    if before.commit.is_empty() {
        return Err(
            UserError::new(format!("release {} of {app} was built from no commit", before.number)).into()
        );
    }
    let deploy = tool("piku-receive")
        .args(["deploy", app.as_str(), "--rebuild", &before.commit, "--wait", &asked.wait.to_string()])
        .args(["--by", "rebuild", "--root"])
        .arg(asked.root.path())
        .stdin(Stdio::null())
        .output()
        .context("cannot run 'piku-receive deploy'")?;
    let after = live(asked, app)?;
    let row = |result, details| RebuildRow { app: app.clone(), result, release: Some(after.number), details };
    match deploy.status.code() {
        Some(0) if after.number == before.number => Ok(row(RebuildOutcome::Unchanged, Vec::new())),
        Some(0) => Ok(row(RebuildOutcome::Updated, summary::list_changes(&dir, &before, &after))),
        Some(code) if code == i32::from(BUSY) => Ok(row(RebuildOutcome::Busy, Vec::new())),
        _ => {
            let said = String::from_utf8_lossy(&deploy.stdout).into_owned()
                + &String::from_utf8_lossy(&deploy.stderr);
            let lines: Vec<String> = said.lines().map(str::to_owned).collect();
            Ok(row(RebuildOutcome::Failed, lines[lines.len().saturating_sub(LINES)..].to_vec()))
        }
    }
}

fn live(asked: &RebuildRequest, app: &AppName) -> anyhow::Result<BuiltRelease> {
    BuiltRelease::read(&asked.root.app(app).current())
}

/// Returns a command that runs another tool of piku from the directory of this one, whatever `PATH` cron
/// sets.
fn tool(name: &str) -> Command {
    let beside: Option<PathBuf> =
        std::env::current_exe().ok().map(|own| own.with_file_name(name)).filter(|path| path.is_file());
    Command::new(beside.unwrap_or_else(|| name.into()))
}
