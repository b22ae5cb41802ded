//! Deploys: the app's lock, the start and the end of a deploy in the hook, its log, its cancellation, and `deploy`, which
//! runs the hook without a push: for the tip of the deploy branch, of another branch, or for the live commit.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for the app's repository, which only git and piku write"
)]

pub(crate) mod begin;
pub(crate) mod cancel;
pub(crate) mod live;
pub(crate) mod lock;
pub(crate) mod record;
pub(crate) mod verdict;

use std::time::Duration;

use git2::Oid;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::app_context::AppContext;
use crate::child_env;
use crate::client;
use crate::deploy::lock::AppLock;
use crate::push::push_options::PushOptions;
use crate::push::{self, PushOutcome};
use crate::repository;
use crate::repository::branch::{self, BranchTip, PREFIX};
use crate::repository::git_leftovers;
use crate::repository::setup;

/// More branches are not listed in a message.
const MOST_NAMES: usize = 20;

/// What is to be deployed.
#[derive(Debug)]
pub(crate) enum DeploySubject {
    /// The tip of this branch, or of the deploy branch.
    Tip(Option<String>),
    /// This commit again, once more.
    Again(Oid),
}

/// Deploys it. Waits for who is changing the app, for ever when no time is said.
pub(crate) fn run(
    place: &AppContext<'_>,
    what: &DeploySubject,
    options: PushOptions,
    patience: Option<Duration>,
) -> anyhow::Result<PushOutcome> {
    child_env::refuse_root(place.root)?;
    let app = place.dir();
    if !app.repo().exists() {
        return Err(UserError::new(format!("there is no app '{}'", place.app))
            .hint("a first push makes it")
            .into());
    }
    let lock = AppLock::take_within(&app, place.key, patience)?;
    setup::ensure(&app, place.scripts)?;
    git_leftovers::sweep(&app.repo())?;
    verdict::close(&app)?;
    let repo = repository::open(&app.repo())?;
    let branch = match what {
        DeploySubject::Tip(branch) => branch.as_deref(),
        DeploySubject::Again(commit) => {
            let tip = BranchTip { reference: "HEAD".to_owned(), commit: *commit };
            if repo.find_commit(*commit).is_err() {
                let what = format!("the repository of {} has no commit {commit} any more", place.app);
                return Err(UserError::new(what).hint("push again").into());
            }
            return push::deploy(place, &lock, &tip, None, options);
        }
    };
    let reference = branch.map(|name| format!("{PREFIX}{}", name.strip_prefix(PREFIX).unwrap_or(name)));
    let tip = match &reference {
        Some(reference) => branch::tip(&repo, reference),
        None => branch::deployed_or_first(&repo, &[])?,
    };
    let Some(tip) = tip else {
        let names = branch::names(&repo)?;
        let there = if names.is_empty() {
            "it has none yet".to_owned()
        } else {
            let more = if names.len() > MOST_NAMES { ", …" } else { "" };
            format!("it has {}{more}", names[..names.len().min(MOST_NAMES)].join(", "))
        };
        let what =
            branch.map_or_else(|| "branch".to_owned(), |name| format!("branch {}", client::quoted(name)));
        return Err(UserError::new(format!("{} has no {what}: {there}", place.app)).into());
    };
    progress::step(&format!(
        "Deploying {} of {}, the tip of {}",
        repository::short_commit(&tip.commit.to_string()),
        place.app,
        branch::name(&tip.reference)
    ));
    push::deploy(place, &lock, &tip, reference.as_deref(), options)
}
