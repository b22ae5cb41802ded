//! The releases of an app: listed, and made of one another.

pub(crate) mod current;
mod successor;

use anyhow::Context;
use piku_layout::deploy_attempt::DeployAttempt;
use piku_layout::paths::AppDir;
use piku_release::manifest::{BuiltRelease, ReleaseOrigin};
use piku_report::output::{self, OutputFormat};
use serde::{Deserialize, Serialize};

use crate::lock::FileLock;

pub(crate) use successor::{ASIDE, ReleaseSuccessor, who};

/// One release, as `releases` tells it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// Its number.
    pub release: u64,
    /// The commit it was built from.
    pub commit: String,
    /// The first line of the commit's message.
    pub subject: String,
    /// The name of the key that pushed it.
    pub by: String,
    /// When it was built; nothing when its release.yaml cannot be read.
    pub at: Option<jiff::Timestamp>,
    /// What it is.
    pub state: ReleaseState,
    /// What it was made by.
    pub origin: ReleaseOrigin,
    /// The release that its tree was built for, where that is another one.
    pub tree_of: Option<u64>,
    /// The kind of machine that it needs: `any`, or as `uname -m` says; nothing where that is not known.
    pub architecture: Option<String>,
    /// The file that needs it.
    pub native: Option<String>,
}

/// What a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// The one that runs.
    Live,
    /// Older than the live one; there to go back to.
    Previous,
    /// Newer than the live one: its deploy is under way.
    Deploying,
    /// Its deploy failed, and only the log of that stays: `logs APP --deploy N`.
    Failed,
    /// Its release.yaml cannot be read; it cannot be started.
    Broken,
}

impl ReleaseState {
    /// The name that `releases` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Previous => "previous",
            Self::Deploying => "deploying",
            Self::Failed => "failed",
            Self::Broken => "broken",
        }
    }
}

/// The releases, and the deploys that none has come of, newest first.
///
/// # Errors
/// When the folder cannot be read. One broken release does not hide the others.
pub fn list(app: &AppDir) -> anyhow::Result<Vec<ReleaseRow>> {
    let live = app.current_number();
    let mut rows: Vec<ReleaseRow> =
        numbers(app)?.into_iter().map(|number| of_release(app, number, live)).collect();
    let attempts = app.attempts().with_context(|| format!("cannot read '{}'", app.log().display()))?;
    let newest = app.next_number().context("cannot number the releases")? - 1;
    for number in attempts {
        // One that cannot be read tells nothing, and its log is still there.
        let Ok(DeployAttempt { commit, subject, by, at }) = DeployAttempt::read(&app.attempt(number)) else {
            continue;
        };
        let state =
            if number == newest && is_pushing(app) { ReleaseState::Deploying } else { ReleaseState::Failed };
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
    rows.sort_by_key(|row| std::cmp::Reverse(row.release));
    Ok(rows)
}

/// Whether somebody holds the app's lock.
#[expect(clippy::disallowed_methods, reason = "the app's lock, which only piku writes")]
fn is_pushing(app: &AppDir) -> bool {
    let lock = app.lock();
    lock.exists() && FileLock::take(&lock).is_ok_and(|lock| lock.is_none())
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

/// Prints them on stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(rows: &[ReleaseRow], format: OutputFormat) -> anyhow::Result<()> {
    output::print(format, rows, || text(rows))
}

fn text(rows: &[ReleaseRow]) -> String {
    let cells = |row: &ReleaseRow| {
        let at = row.at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let commit = row.commit.get(..8).unwrap_or(&row.commit).to_owned();
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let state = row.state.as_str().to_owned();
        let machine = plain(row.architecture.as_deref().unwrap_or_default());
        vec![row.release.to_string(), state, at, commit, machine, plain(&row.by), plain(&row.subject)]
    };
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["RELEASE", "STATE", "AT", "COMMIT", "FOR", "BY", "SUBJECT"], &rows)
}

fn numbers(app: &AppDir) -> anyhow::Result<Vec<u64>> {
    app.release_numbers().with_context(|| format!("cannot read '{}'", app.releases().display()))
}

#[cfg(test)]
mod tests;
