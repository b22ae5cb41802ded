//! The daemon's timer for machines that were down at a deploy: `piku-receive catch-up` looks whether they are
//! back.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::deploys::missed_settings::MissedSettings;
use piku_layout::deploys::unfinished_change::UnfinishedChange;
use piku_layout::deploys::unfinished_rollback::UnfinishedRollback;
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

use crate::lock;
use crate::process::sibling_tool::sibling_tool;
use crate::releases::current;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Time of the next look; never, if no machine waits for a release. A deploy that leaves one out sends the
/// daemon SIGHUP.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatchUpTimer(Option<Instant>);

impl CatchUpTimer {
    pub(super) fn read(root: &PikuRoot) -> Self {
        let is_any = candidates(root).iter().any(|app| is_waiting(root, app));
        Self(is_any.then(|| Instant::now() + EVERY))
    }

    pub(super) fn at(self) -> Option<Instant> {
        self.0
    }

    /// Starts the look if it is time, unless the last one has not ended; the caller reaps its process as all
    /// others.
    pub(super) fn start_due(&mut self, root: &PikuRoot) -> anyhow::Result<()> {
        if self.0.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        *self = Self::read(root);
        let apps = candidates(root);
        apps.iter().filter(|app| is_waiting(root, app)).try_for_each(|app| start_catch_up(root, app))
    }
}

/// Returns all apps, and those that machines may still have to destroy or to bring back.
fn candidates(root: &PikuRoot) -> BTreeSet<AppName> {
    let apps = root.apps().unwrap_or_default().into_iter();
    apps.chain(root.changing_apps().unwrap_or_default()).collect()
}

/// Returns whether a machine waits for a release or settings of the app, or may do so after a change that was killed.
fn is_waiting(root: &PikuRoot, app: &AppName) -> bool {
    let dir = root.app(app);
    // What cannot be read is reported by the next change.
    !MissedRelease::of(&dir).waiting().is_empty()
        || MissedSettings::read(&dir).is_ok_and(|missed| !missed.waiting().is_empty())
        || UnfinishedChange::is_there(root, app)
        || UnfinishedRollback::is_there(root, app)
        || UnfinishedVerb::is_there(root, app)
}

fn start_catch_up(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    current::create_dir(dir.run())?;
    // Its stdin: the lock is free when it and all that it has started have ended.
    let path = dir.run().join("catch-up.lock");
    let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(lock) = lock else { return Ok(()) };
    let stdin = lock.try_clone().context("cannot pass the lock on")?;
    let mut command = sibling_tool("piku-receive");
    command.args(["catch-up", app.as_str()]).env(ROOT_VARIABLE, root.path()).stdin(Stdio::from(stdin));
    command.spawn().context("cannot run 'piku-receive'")?;
    Ok(())
}
