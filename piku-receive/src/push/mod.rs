//! A push, from the lock to the verdict.
//!
//! git itself lets `git push` succeed when the hook after it fails; and runs no hook when nothing has changed. But it is
//! the forced command whose exit code `git push` ends with, so both are decided here.

#![expect(
    clippy::disallowed_methods,
    reason = "the date of the repository's folder of objects, which git writes"
)]

mod decision;
mod dry_run;
mod outcome;
pub(crate) mod pre_receive;
pub(crate) mod push_options;

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::SystemTime;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::wait;
use piku_layout::name::AppName;
use piku_layout::settings::HostSettings;
use piku_report::progress;

use crate::app_context::AppContext;
use crate::client;
use crate::deploy::live::LiveRelease;
use crate::deploy::lock::{AppLock, LockNote};
use crate::deploy::verdict;
use crate::limits::{self, IntakeLimit};
use crate::push::dry_run::RefTips;
use crate::push::push_options::PushOptions;
use crate::repository;
use crate::repository::branch::{self, BranchTip};
use crate::repository::git_leftovers;
use crate::repository::setup;
use decision::{NextStep, PushState};
pub(crate) use outcome::PushOutcome;

/// Takes a push for an app.
pub(crate) fn receive(place: &AppContext<'_>) -> anyhow::Result<PushOutcome> {
    let app = place.dir();
    let lock = AppLock::take(&app, place.key)?;
    setup::ensure(&app, place.scripts)?;
    git_leftovers::sweep(&app.repo())?;
    // What had begun when its machine or its process went down has failed: nobody but us holds the lock.
    let known = verdict::close(&app)?;
    let repo = repository::open(&app.repo())?;
    let before = branch::deployed(&repo);
    let refs = RefTips::of(&repo)?;
    drop(repo);

    let intake = IntakeLimit::of(&HostSettings::read(&place.root.settings())?, app.path())?;
    let objects = ObjectsTime::of(&app.repo());
    let status = receive_pack(place, intake.bytes()?)?;
    let notes = lock.notes();
    if notes.contains(&LockNote::DryRun) {
        return dry_run(place, &refs, &notes);
    }
    let last = verdict::close(&app)?;
    // Opened anew: git has written packs and refs behind the first one's back.
    let repo = repository::open(&app.repo())?;
    let tip = branch::deployed_or_first(&repo, &[])?;
    let live = LiveRelease::find(place, last.as_ref())?;
    // A pack that git refuses itself never reaches the hook that leaves word.
    let received = notes.contains(&LockNote::Received) || objects != ObjectsTime::of(&app.repo());
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
    say_who_cancelled(&lock);
    if received && !notes.contains(&LockNote::Received) {
        progress::error("git has refused what was pushed; why stands above");
        progress::detail(&intake.describe());
    }
    match next {
        NextStep::Done(outcome) => {
            match (&outcome, &live) {
                (PushOutcome::Empty, _) => progress::step(&format!(
                    "Nothing was pushed, and {} has no branch yet; commit, then push a branch",
                    place.app
                )),
                (PushOutcome::Unchanged, Some(live)) => say_unchanged(place, live),
                _ => {}
            }
            Ok(outcome)
        }
        NextStep::Deploy(tip) => {
            progress::step(&why_again(place.app, &tip.commit.to_string(), live.as_ref()));
            deploy(place, &lock, &tip, None, PushOptions::default())
        }
    }
}

/// Says that the pushed commit is live already, and how it is built anew all the same: git sends no option with a push of
/// nothing.
fn say_unchanged(place: &AppContext<'_>, live: &LiveRelease) {
    let app = place.app;
    progress::step(&format!(
        "Nothing has changed: {} of {app} is live as release {}",
        repository::short_commit(&live.commit),
        live.number
    ));
    if place.dir().is_stopped() {
        progress::detail(&format!("{app} is stopped; to start it: {} restart {app}", client::ssh_command()));
    }
    progress::detail(&format!("to build it anew: {} deploy {app} --no-cache", client::ssh_command()));
}

/// Returns the line that says why a push that brought nothing new deploys.
fn why_again(app: &AppName, commit: &str, live: Option<&LiveRelease>) -> String {
    let short = repository::short_commit(commit);
    match live.filter(|live| live.commit != commit) {
        Some(live) => format!(
            "Nothing new was pushed, but release {} is live and not {short} of {app}, so {short} is deployed",
            live.number
        ),
        None => {
            format!("Nothing new was pushed; {short} of {app} is not deployed yet, so that is tried again")
        }
    }
}

/// When anything was last added to a repository's folder of objects. git makes a folder in it for each pack that comes in.
#[derive(PartialEq, Eq)]
struct ObjectsTime(Option<SystemTime>);

impl ObjectsTime {
    fn of(repo: &Path) -> Self {
        Self(fs::metadata(repo.join("objects")).and_then(|meta| meta.modified()).ok())
    }
}

/// What a dry run comes to: all refs are where they were.
fn dry_run(place: &AppContext<'_>, before: &RefTips, notes: &[LockNote]) -> anyhow::Result<PushOutcome> {
    let repo = repository::open(&place.dir().repo())?;
    let commit = branch::deployed(&repo).map(|tip| tip.commit.to_string()).unwrap_or_default();
    before.restore(&repo)?;
    progress::step("A dry run: nothing was stored, nothing is deployed");
    Ok(if notes.contains(&LockNote::Planned) { PushOutcome::Planned } else { PushOutcome::Failed { commit } })
}

fn say_who_cancelled(lock: &AppLock) {
    for note in lock.notes() {
        if let LockNote::Cancelled(by) = note {
            progress::error(&format!("cancelled by {by}"));
        }
    }
}

/// Deploys a tip that is there already, with its app's lock held.
pub(crate) fn deploy(
    place: &AppContext<'_>,
    lock: &AppLock,
    tip: &BranchTip,
    branch: Option<&str>,
    options: PushOptions,
) -> anyhow::Result<PushOutcome> {
    let commit = tip.commit.to_string();
    let status = place.run_hook(tip, branch, options)?;
    say_who_cancelled(lock);
    if options.rebuild {
        return Ok(if status.success() { PushOutcome::Unchanged } else { PushOutcome::Failed { commit } });
    }
    if options.dry_run {
        let planned = lock.notes().contains(&LockNote::Planned);
        return Ok(if planned { PushOutcome::Planned } else { PushOutcome::Failed { commit } });
    }
    // A hook that could not even begin, as on a full disk, leaves the verdict of an earlier deploy of this commit.
    Ok(match verdict::close(&place.dir())? {
        Some(verdict) if status.success() && verdict.is_deployed(&commit) => {
            PushOutcome::Deployed { commit, number: verdict.number }
        }
        _ => PushOutcome::Failed { commit },
    })
}

/// Runs git's end of a push, and waits for all that it has started.
///
/// It takes at most so many bytes.
fn receive_pack(place: &AppContext<'_>, most: u64) -> anyhow::Result<ExitStatus> {
    // When the laptop goes away git is killed by SIGPIPE, but the hook goes on: its parent is then us.
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let mut git = place.command("git")?;
    git.args(setup::hooks_option(place.scripts))
        .args(["-c", &format!("receive.maxInputSize={most}")])
        .arg("receive-pack")
        .arg(place.dir().repo());
    let status = limits::spawn_bounded(&mut git, None)
        .and_then(|mut git| git.wait())
        .context("cannot run 'git receive-pack'")?;
    if !status.success() {
        while !matches!(wait(), Err(Errno::ECHILD)) {}
    }
    Ok(status)
}
