//! The releases of an app: which is live, listing them, and what making one needs.

pub(crate) mod current;
mod new_release;
pub(crate) mod release_use;
pub(crate) mod rename_record;

use anyhow::Context;
use piku_layout::app_lock;
use piku_layout::deploys::deploy_attempt::DeployAttempt;
use piku_layout::git_history::short_commit;
use piku_layout::paths::AppDir;
use piku_release::manifest::{BuiltRelease, ReleaseOrigin};
use piku_report::diagnostic::readable;
use piku_report::output::{self, OutputFormat};
use serde::{Deserialize, Serialize};

pub(crate) use new_release::{ASIDE, lock_new_release, who};

/// A release as `releases` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseRow {
    pub(crate) release: u64,
    /// Commit from which it was built.
    pub(crate) commit: String,
    /// First line of the commit message.
    pub(crate) subject: String,
    /// Name of the key that pushed it.
    pub(crate) by: String,
    /// Time of the build; `None` if release.yaml cannot be read.
    pub(crate) at: Option<jiff::Timestamp>,
    pub(crate) state: ReleaseState,
    pub(crate) origin: ReleaseOrigin,
    /// Release for which its tree was built, if that is another one.
    pub(crate) tree_of: Option<u64>,
    /// Architecture that it needs: `any`, or as `uname -m` prints it; `None` if unknown.
    pub(crate) architecture: Option<String>,
    /// File that needs this architecture.
    pub(crate) native: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReleaseState {
    /// The running release.
    Live,
    /// Older than the live release; a rollback can return to it.
    Previous,
    /// Newer than the live release: it is being deployed.
    Deploying,
    /// Its deploy failed; only the log of the deploy remains: `logs APP --deploy N`.
    Failed,
    /// Its release.yaml cannot be read, so it cannot start.
    Broken,
}

impl ReleaseState {
    /// Returns the name that `releases` prints.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Previous => "previous",
            Self::Deploying => "deploying",
            Self::Failed => "failed",
            Self::Broken => "broken",
        }
    }
}

/// Returns the releases and failed deploys, newest first.
///
/// # Errors
/// Fails if the directory cannot be read. One broken release does not hide the others.
pub(crate) fn list_releases(app: &AppDir) -> anyhow::Result<Vec<ReleaseRow>> {
    let live = app.current_number();
    let mut rows: Vec<ReleaseRow> =
        release_numbers(app)?.into_iter().map(|number| of_release(app, number, live)).collect();
    rows.extend(list_attempts(app)?);
    rows.sort_by_key(|row| std::cmp::Reverse(row.release));
    Ok(rows)
}

/// Returns the deploys without a release, ascending: failed and interrupted ones, and the one in progress.
///
/// # Errors
/// Fails if the directory cannot be read.
pub(crate) fn list_attempts(app: &AppDir) -> anyhow::Result<Vec<ReleaseRow>> {
    let mut rows = Vec::new();
    let attempts = app.attempts().with_context(|| format!("cannot read '{}'", app.log().display()))?;
    let newest = app.next_number().context("cannot number the releases")? - 1;
    for number in attempts {
        // A report that cannot be read still has a log.
        let Ok(DeployAttempt { commit, subject, by, at }) = DeployAttempt::read(&app.attempt(number)) else {
            continue;
        };
        let state = if number == newest && app_lock::is_held(app) {
            ReleaseState::Deploying
        } else {
            ReleaseState::Failed
        };
        let (origin, at) = (ReleaseOrigin::Deploy, at.parse().ok());
        let (tree_of, architecture, native) = (None, None, None);
        rows.push(ReleaseRow {
            release: number,
            commit,
            subject,
            by,
            at,
            state,
            origin,
            tree_of,
            architecture,
            native,
        });
    }
    Ok(rows)
}

fn of_release(app: &AppDir, number: u64, live: Option<u64>) -> ReleaseRow {
    let read = BuiltRelease::read(&app.release(number));
    let state = match (&read, live) {
        (Err(_), _) => ReleaseState::Broken,
        (Ok(_), Some(live)) if number == live => ReleaseState::Live,
        (Ok(_), Some(live)) if number < live => ReleaseState::Previous,
        (Ok(_), _) => ReleaseState::Deploying,
    };
    match read {
        Ok(BuiltRelease { commit, subject, by, at, origin, tree_of, architecture, native, .. }) => {
            ReleaseRow {
                release: number,
                commit,
                subject,
                by,
                at: Some(at),
                state,
                origin,
                tree_of,
                architecture: Some(architecture),
                native,
            }
        }
        Err(_) => ReleaseRow {
            release: number,
            commit: String::new(),
            subject: String::new(),
            by: String::new(),
            at: None,
            state,
            origin: ReleaseOrigin::Deploy,
            tree_of: None,
            architecture: None,
            native: None,
        },
    }
}

/// Prints the releases on stdout.
///
/// # Errors
/// Fails if stdout cannot be written.
pub(crate) fn print_releases(rows: &[ReleaseRow], format: OutputFormat) -> anyhow::Result<()> {
    output::print(format, rows, || render_table(rows))
}

fn render_table(rows: &[ReleaseRow]) -> String {
    let cells = |row: &ReleaseRow| {
        let at = row.at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let commit = short_commit(&row.commit).to_owned();
        let state = row.state.as_str().to_owned();
        let machine = readable(row.architecture.as_deref().unwrap_or_default());
        vec![row.release.to_string(), state, at, commit, machine, readable(&row.by), readable(&row.subject)]
    };
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["RELEASE", "STATE", "AT", "COMMIT", "FOR", "BY", "SUBJECT"], &rows)
}

fn release_numbers(app: &AppDir) -> anyhow::Result<Vec<u64>> {
    app.release_numbers().with_context(|| format!("cannot read '{}'", app.releases().display()))
}

#[cfg(test)]
pub(crate) mod tests;
