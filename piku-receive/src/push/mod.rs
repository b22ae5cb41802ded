//! A push, from the app's lock to its outcome.
//!
//! `git receive-pack` succeeds even if the post-receive hook fails, and it runs no hook if nothing has
//! changed. The exit code of `git push` is that of the forced command, so both are decided here.

#![expect(
    clippy::disallowed_methods,
    reason = "the modification time of the objects directory, which git writes"
)]

mod decision;
mod dry_run;
mod outcome;
pub(crate) mod pre_receive;
pub(crate) mod push_options;
mod ref_limits;

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::SystemTime;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::wait;
use piku_layout::deploys::deploy_lock;
use piku_layout::git_history::short_commit;
use piku_layout::name::AppName;
use piku_layout::settings::HostSettings;
use piku_report::progress;

use crate::app_context::AppContext;
use crate::client;
use crate::deploy::deploy_record;
use crate::deploy::live::LiveRelease;
use crate::deploy::lock::{AppLock, LockNote};
use crate::limits::{self, AMPLE_SPACE, IntakeLimit};
use crate::push::dry_run::RefTips;
use crate::push::push_options::PushOptions;
use crate::repository;
use crate::repository::branch::{self, BranchTip};
use crate::repository::create;
use crate::repository::git_leftovers;
use crate::repository::setup;
use decision::{NextStep, PushState};
pub(crate) use outcome::PushOutcome;

/// Receives a push and deploys it.
pub(crate) fn receive_push(context: &AppContext<'_>) -> anyhow::Result<PushOutcome> {
    let app = context.dir();
    setup::check_hooks(context.scripts)?;
    create::check_name(context)?;
    let lock = AppLock::acquire(&app, context.key)?;
    // It may have been renamed or destroyed meanwhile.
    create::check_name(context)?;
    if let Err(err) = setup::ensure_repository(&app, context.scripts) {
        lock.remove_empty_dir(&app);
        return Err(err);
    }
    git_leftovers::remove_leftovers(&app.repo())?;
    // An unfinished deploy was interrupted: no other process holds the lock.
    let known = deploy_record::mark_failed_if_unfinished(&app)?;
    let repo = repository::open(&app.repo())?;
    let before = branch::find_deploy_branch(&repo);
    let refs = RefTips::read_refs(&repo)?;
    drop(repo);

    let settings = HostSettings::read(&context.root.settings())?;
    let intake = IntakeLimit::read_limit(&settings, app.path(), AMPLE_SPACE)?;
    let objects = ObjectsTime::read_time(&app.repo());
    let status = receive_pack(context, &intake)?;
    let notes = lock.notes();
    if notes.contains(&LockNote::DryRun) {
        return finish_dry_run(context, &refs, &notes);
    }
    let last = deploy_record::mark_failed_if_unfinished(&app)?;
    // libgit2 does not see the packs and refs that git has just written.
    let repo = repository::open(&app.repo())?;
    let tip = branch::find_or_choose_deploy_branch(&repo, &[])?;
    let live = LiveRelease::find(context, last.as_ref())?;
    // If git itself refuses a pack, the hook does not run and leaves no note.
    let received = notes.contains(&LockNote::Received) || objects != ObjectsTime::read_time(&app.repo());
    let state = PushState {
        received,
        refused: received && !notes.contains(&LockNote::Admitted),
        before: before.as_ref(),
        tip: tip.as_ref(),
        begun: last.as_ref().filter(|last| known.as_ref() != Some(last)),
        last: last.as_ref(),
        live: live.as_ref(),
    };
    let next = decision::decide(status, &state);
    report_cancellation(&lock);
    if received && !notes.contains(&LockNote::Received) {
        progress::error("git refused the push; the reason is above");
        progress::detail(&intake.describe());
    }
    match next {
        NextStep::Done(outcome) => {
            match (&outcome, &live) {
                (PushOutcome::Empty, _) => progress::step(&format!(
                    "Nothing was pushed, and {} has no branch yet; commit, then push a branch",
                    context.app
                )),
                (PushOutcome::Unchanged, Some(live)) => report_unchanged(context, live),
                _ => {}
            }
            Ok(outcome)
        }
        NextStep::Deploy(tip) => {
            // Nothing was pushed, so the hook that refuses has not run.
            deploy_lock::check_unlocked(context.app, &app)?;
            progress::step(&retry_message(context.app, &tip.commit.to_string(), live.as_ref()));
            deploy_tip(context, &lock, &tip, None, PushOptions::default())
        }
    }
}

/// Reports that the pushed commit is live, and how to rebuild it: git sends no options with an empty push.
fn report_unchanged(context: &AppContext<'_>, live: &LiveRelease) {
    let app = context.app;
    progress::step(&format!(
        "Nothing has changed: {} of {app} is live as release {}",
        short_commit(&live.commit),
        live.number
    ));
    if context.dir().is_stopped() {
        progress::detail(&format!("{app} is stopped; to start it: {} restart {app}", client::ssh_command()));
    }
    progress::detail(&format!("to rebuild it: {} deploy {app} --no-cache", client::ssh_command()));
}

/// Returns the message for an empty push that deploys.
fn retry_message(app: &AppName, commit: &str, live: Option<&LiveRelease>) -> String {
    let short = short_commit(commit);
    match live.filter(|live| live.commit != commit) {
        Some(live) => format!(
            "Nothing new was pushed, but release {} of {app} is not {short}: deploying {short}",
            live.number
        ),
        None => {
            format!("Nothing new was pushed, but {short} of {app} is not live: deploying it again")
        }
    }
}

/// Modification time of the objects directory, in which git creates a directory for each incoming pack.
#[derive(PartialEq, Eq)]
struct ObjectsTime(Option<SystemTime>);

impl ObjectsTime {
    fn read_time(repo: &Path) -> Self {
        Self(fs::metadata(repo.join("objects")).and_then(|meta| meta.modified()).ok())
    }
}

/// Restores all refs and reports the dry run.
fn finish_dry_run(
    context: &AppContext<'_>,
    before: &RefTips,
    notes: &[LockNote],
) -> anyhow::Result<PushOutcome> {
    let repo = repository::open(&context.dir().repo())?;
    let commit = branch::find_deploy_branch(&repo).map(|tip| tip.commit.to_string()).unwrap_or_default();
    before.restore(&repo)?;
    progress::step("Dry run: nothing is stored, nothing is deployed");
    Ok(if notes.contains(&LockNote::Planned) { PushOutcome::Planned } else { PushOutcome::Failed { commit } })
}

fn report_cancellation(lock: &AppLock) {
    for note in lock.notes() {
        if let LockNote::Cancelled(by) = note {
            progress::error(&format!("cancelled by {by}"));
        }
    }
}

/// Runs the hook for an existing tip. The caller holds the app's lock.
pub(crate) fn deploy_tip(
    context: &AppContext<'_>,
    lock: &AppLock,
    tip: &BranchTip,
    branch: Option<&str>,
    options: PushOptions,
) -> anyhow::Result<PushOutcome> {
    let commit = tip.commit.to_string();
    let status = context.run_hook(tip, branch, options)?;
    report_cancellation(lock);
    if options.rebuild {
        return Ok(if status.success() { PushOutcome::Unchanged } else { PushOutcome::Failed { commit } });
    }
    if options.dry_run {
        let planned = lock.notes().contains(&LockNote::Planned);
        return Ok(if planned { PushOutcome::Planned } else { PushOutcome::Failed { commit } });
    }
    // A hook that fails before it begins a deploy, as on a full disk, leaves the record of an earlier
    // deploy.
    Ok(match deploy_record::mark_failed_if_unfinished(&context.dir())? {
        Some(verdict) if status.success() && verdict.is_deployed(&commit) => {
            PushOutcome::Deployed { commit, number: verdict.number }
        }
        _ => PushOutcome::Failed { commit },
    })
}

/// Runs `git receive-pack`, within the limit on what a push may bring, and waits for everything that it started.
fn receive_pack(context: &AppContext<'_>, intake: &IntakeLimit) -> anyhow::Result<ExitStatus> {
    let most = intake.allowed_bytes()?;
    // If the client disconnects, git is killed by SIGPIPE. The hook goes on and becomes a child of this
    // process.
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let mut git = context.command("git")?;
    git.args(setup::hooks_option(context.scripts))
        .args(["-c", &format!("receive.maxInputSize={most}")])
        .arg("receive-pack")
        .arg(context.dir().repo());
    // git completes a pack with objects that the repository has, and packs the repository again: what it writes can
    // be larger than what it has received.
    let status = limits::spawn_bounded(&mut git, Some(intake.spare_bytes()))
        .and_then(|mut git| git.wait())
        .context("cannot run 'git receive-pack'")?;
    if !status.success() {
        while !matches!(wait(), Err(Errno::ECHILD)) {}
    }
    Ok(status)
}
