//! The end of the last deploy of an app. `begin-deploy` writes that one has begun, `finish-deploy` that it is live; a deploy that
//! ended without `finish-deploy` has failed.

#![expect(clippy::disallowed_methods, reason = "the verdict of a push, which only piku writes")]

use std::fs;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::paths::AppDir;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::deploy::lock::{self, LockNote};
use crate::repository;

/// Where a deploy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeployState {
    /// It has begun; or was killed, when nobody holds the app's lock.
    Deploying,
    /// It is live, or was.
    Deployed,
    /// It failed.
    Failed,
}

/// The last deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployVerdict {
    /// What was deployed.
    pub(crate) commit: String,
    /// The branch it was the tip of.
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    /// The deploy's number, and its release's when it succeeds.
    pub(crate) number: u64,
    /// The key that pushed.
    pub(crate) by: String,
    /// When it began.
    pub(crate) at: Timestamp,
    /// Where it stands.
    pub(crate) state: DeployState,
}

impl DeployVerdict {
    /// The app's last verdict. One that cannot be read says nothing: the next push deploys.
    pub(crate) fn read(app: &AppDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(app.verdict()).ok()?).ok()
    }

    /// Writes it down. A power cut may take it: one that cannot be read says nothing, and what is live says itself what it is of.
    pub(crate) fn write(&self, app: &AppDir) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic_file::write_passing(&app.verdict(), &text, 0o600)
            .with_context(|| format!("cannot write '{}'", app.verdict().display()))
    }

    /// Whether this commit went live.
    pub(crate) fn is_deployed(&self, commit: &str) -> bool {
        self.state == DeployState::Deployed && self.commit == commit
    }
}

/// `finish-deploy`: the deploy that has begun is live.
pub(crate) fn finish(app: &AppDir, commit: &str) -> anyhow::Result<()> {
    match DeployVerdict::read(app) {
        Some(mut verdict) if verdict.commit == commit => {
            verdict.state = DeployState::Deployed;
            verdict.write(app)
        }
        Some(other) => {
            let (begun, given) = (repository::short_commit(&other.commit), repository::short_commit(commit));
            Err(UserError::new(format!("the deploy that has begun is of {begun}, not of {given}")).into())
        }
        None => {
            Err(UserError::new("no deploy has begun").hint("piku-receive begin-deploy begins one").into())
        }
    }
}

/// `finish-deploy --dry-run`: the plan has been shown.
pub(crate) fn finish_dry_run(app: &AppDir) -> anyhow::Result<()> {
    lock::note(app, &LockNote::Planned).with_context(|| format!("cannot write '{}'", app.lock().display()))
}

/// Turns a deploy that has begun and whose hook has ended into a failed one. Call with the app's lock held.
pub(crate) fn close(app: &AppDir) -> anyhow::Result<Option<DeployVerdict>> {
    let mut verdict = DeployVerdict::read(app);
    if let Some(open) = verdict.as_mut().filter(|verdict| verdict.state == DeployState::Deploying) {
        open.state = DeployState::Failed;
        open.write(app)?;
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
        assert!(finish(&app, "a").unwrap_err().to_string().contains("no deploy has begun"));
        let begun = DeployVerdict {
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
        let other = finish(&app, "bbbbbbbbbb").unwrap_err().to_string();
        assert_eq!(other, "the deploy that has begun is of aaaaaaa, not of bbbbbbb");
        finish(&app, "aaaaaaaaaa").unwrap();
        assert!(close(&app).unwrap().unwrap().is_deployed("aaaaaaaaaa"));

        begun.write(&app).unwrap();
        assert_eq!(close(&app).unwrap().unwrap().state, DeployState::Failed);
        assert!(!DeployVerdict::read(&app).unwrap().is_deployed("aaaaaaaaaa"));
        fs::write(app.verdict(), "{\"comm").unwrap();
        assert_eq!(DeployVerdict::read(&app), None);
    }
}
