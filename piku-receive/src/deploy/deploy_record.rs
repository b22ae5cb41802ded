//! The record of the last deploy. `begin-deploy` writes that it has begun, `finish-deploy` that it is live;
//! a deploy that ends without `finish-deploy` has failed.

#![expect(clippy::disallowed_methods, reason = "the record of a deploy, which only piku writes")]

use std::fs;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::deploys::deploy_totals::DeployTotals;
use piku_layout::git_history::short_commit;
use piku_layout::paths::AppDir;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::deploy::lock::{self, LockNote};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeployState {
    /// Begun; interrupted if the app's lock is free.
    Deploying,
    Deployed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployRecord {
    pub(crate) commit: String,
    /// Full name of the branch.
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    /// Number of the deploy, and of its release if it succeeds.
    pub(crate) number: u64,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) state: DeployState,
}

impl DeployRecord {
    /// Reads the record; returns `None` if it is missing or unreadable.
    pub(crate) fn read(app: &AppDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(app.verdict()).ok()?).ok()
    }

    /// Writes the record, without a sync: an unreadable one counts as none, and the live release names its
    /// own commit.
    pub(crate) fn write(&self, app: &AppDir) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic_file::write_passing(&app.verdict(), &text, 0o600)
            .with_context(|| format!("cannot write '{}'", app.verdict().display()))
    }

    /// Returns whether this commit went live.
    pub(crate) fn is_deployed(&self, commit: &str) -> bool {
        self.state == DeployState::Deployed && self.commit == commit
    }
}

/// `finish-deploy`: records that the begun deploy is live.
pub(crate) fn mark_live(app: &AppDir, commit: &str) -> anyhow::Result<()> {
    match DeployRecord::read(app) {
        Some(mut verdict) if verdict.commit == commit => {
            let is_begun = verdict.state == DeployState::Deploying;
            verdict.state = DeployState::Deployed;
            verdict.write(app)?;
            if is_begun {
                DeployTotals::count_deploy(app, true);
            }
            Ok(())
        }
        Some(other) => {
            let (begun, given) = (short_commit(&other.commit), short_commit(commit));
            Err(UserError::new(format!("the current deploy is of {begun}, not of {given}")).into())
        }
        None => {
            Err(UserError::new("no deploy has begun").hint("piku-receive begin-deploy begins one").into())
        }
    }
}

/// `finish-deploy --dry-run`: notes that the plan was printed.
pub(crate) fn mark_planned(app: &AppDir) -> anyhow::Result<()> {
    lock::append_note(app, &LockNote::Planned)
        .with_context(|| format!("cannot write '{}'", app.lock().display()))
}

/// Marks a begun deploy as failed if its hook has ended without finishing it. The caller holds the app's
/// lock.
pub(crate) fn mark_failed_if_unfinished(app: &AppDir) -> anyhow::Result<Option<DeployRecord>> {
    let mut verdict = DeployRecord::read(app);
    if let Some(open) = verdict.as_mut().filter(|verdict| verdict.state == DeployState::Deploying) {
        open.state = DeployState::Failed;
        open.write(app)?;
        DeployTotals::count_deploy(app, false);
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::paths::PikuRoot;

    #[test]
    fn a_deploy_is_live_only_when_settled() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        fs::create_dir_all(app.path()).unwrap();
        assert!(mark_live(&app, "a").unwrap_err().to_string().contains("no deploy has begun"));
        let begun = DeployRecord {
            commit: "aaaaaaaaaa".to_owned(),
            reference: "refs/heads/main".to_owned(),
            number: 3,
            by: "alice".to_owned(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            state: DeployState::Deploying,
        };
        begun.write(&app).unwrap();
        assert_eq!(
            fs::read_to_string(app.verdict()).unwrap(),
            "{\"commit\":\"aaaaaaaaaa\",\"ref\":\"refs/heads/main\",\"number\":3,\"by\":\"alice\",\
             \"at\":\"2026-01-02T03:04:05Z\",\"state\":\"deploying\"}\n"
        );
        let other = mark_live(&app, "bbbbbbbbbb").unwrap_err().to_string();
        assert_eq!(other, "the current deploy is of aaaaaaa, not of bbbbbbb");
        mark_live(&app, "aaaaaaaaaa").unwrap();
        assert!(mark_failed_if_unfinished(&app).unwrap().unwrap().is_deployed("aaaaaaaaaa"));

        begun.write(&app).unwrap();
        assert_eq!(mark_failed_if_unfinished(&app).unwrap().unwrap().state, DeployState::Failed);
        assert!(!DeployRecord::read(&app).unwrap().is_deployed("aaaaaaaaaa"));
        mark_failed_if_unfinished(&app).unwrap();
        assert_eq!(
            DeployTotals::read(&app),
            DeployTotals { succeeded: 1, failed: 1 },
            "each is counted once"
        );
        fs::write(app.verdict(), "{\"comm").unwrap();
        assert_eq!(DeployRecord::read(&app), None);
    }
}
