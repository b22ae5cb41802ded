//! `deploy`: the hook again for a tip that is there, without a push: the deploy branch's, or another branch's once; or for
//! the commit that is live, to see whether it would be built otherwise by now.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for the app's repository, which only git and piku write"
)]

use std::time::Duration;

use git2::Oid;
use piku_report::user_error::UserError;

use crate::app_context::AppContext;
use crate::branch::{self, BranchTip, PREFIX};
use crate::child_env;
use crate::deploy_verdict;
use crate::git;
use crate::git_leftovers;
use crate::lock::AppLock;
use crate::progress;
use crate::push::{self, PushOutcome};
use crate::push_options::PushOptions;
use crate::repo;

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
    repo::ensure(&app, place.scripts)?;
    git_leftovers::sweep(&app.repo())?;
    deploy_verdict::close(&app)?;
    let repo = git::open(&app.repo())?;
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
            branch.map_or_else(|| "branch".to_owned(), |name| format!("branch {}", progress::quoted(name)));
        return Err(UserError::new(format!("{} has no {what}: {there}", place.app)).into());
    };
    progress::step(&format!(
        "Deploying {} of {}, the tip of {}",
        git::short(&tip.commit.to_string()),
        place.app,
        branch::name(&tip.reference)
    ));
    push::deploy(place, &lock, &tip, reference.as_deref(), options)
}
