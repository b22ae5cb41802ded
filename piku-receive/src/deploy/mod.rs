//! Deploys: the app's lock, the start and the end of a deploy in the hook, its log, its cancellation, and
//! `deploy`, which runs the hook without a push: for the tip of a branch or for the live commit.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that the repository exists, which only git and piku write"
)]

pub(crate) mod begin;
pub(crate) mod cancel;
pub(crate) mod deploy_event;
mod deploy_folder;
pub(crate) mod deploy_record;
pub(crate) mod live;
pub(crate) mod lock;
pub(crate) mod record;

use std::time::Duration;

use git2::Oid;
use piku_layout::deploys::deploy_lock;
use piku_layout::git_history::short_commit;
use piku_layout::unknown_app::unknown_app;
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

/// Largest number of branches in a message.
const MOST_NAMES: usize = 20;

#[derive(Debug)]
pub(crate) enum DeploySubject {
    /// Tip of this branch, by default of the deploy branch.
    Tip(Option<String>),
    /// Tip of the deploy branch of an app that was restored with its deploy lock.
    Restored,
    /// This commit, rebuilt.
    Rebuild(Oid),
}

/// Deploys without a push. `patience` limits the wait for the lock; the default is `lock_timeout`.
pub(crate) fn deploy_without_push(
    context: &AppContext<'_>,
    what: &DeploySubject,
    options: PushOptions,
    patience: Option<Duration>,
) -> anyhow::Result<PushOutcome> {
    child_env::refuse_root(context.root)?;
    let app = context.dir();
    let check = || {
        if app.repo().exists() {
            return Ok(());
        }
        Err(unknown_app(context.root, context.app).hint("the first push creates it"))
    };
    check()?;
    let lock = AppLock::acquire_within(&app, context.key, patience)?;
    // It may have been renamed or destroyed meanwhile.
    check()?;
    if !options.dry_run && !matches!(what, DeploySubject::Restored) {
        deploy_lock::check_unlocked(context.app, &app)?;
    }
    setup::ensure_repository(&app, context.scripts)?;
    git_leftovers::remove_leftovers(&app.repo())?;
    deploy_record::mark_failed_if_unfinished(&app)?;
    let repo = repository::open(&app.repo())?;
    let branch = match what {
        DeploySubject::Tip(branch) => branch.as_deref(),
        DeploySubject::Restored => None,
        DeploySubject::Rebuild(commit) => {
            let tip = BranchTip { reference: "HEAD".to_owned(), commit: *commit };
            if repo.find_commit(*commit).is_err() {
                let what = format!("the repository of {} no longer has commit {commit}", context.app);
                return Err(UserError::new(what).hint("push again").into());
            }
            return push::deploy_tip(context, &lock, &tip, None, options);
        }
    };
    let reference = branch.map(|name| format!("{PREFIX}{}", name.strip_prefix(PREFIX).unwrap_or(name)));
    let tip = match &reference {
        Some(reference) => branch::find_tip(&repo, reference),
        None => branch::find_or_choose_deploy_branch(&repo, &[])?,
    };
    let Some(tip) = tip else {
        let names = branch::list_names(&repo)?;
        let there = if names.is_empty() {
            "it has none yet".to_owned()
        } else {
            let more = if names.len() > MOST_NAMES { ", …" } else { "" };
            format!("it has {}{more}", names[..names.len().min(MOST_NAMES)].join(", "))
        };
        let what =
            branch.map_or_else(|| "branch".to_owned(), |name| format!("branch {}", client::quoted(name)));
        return Err(UserError::new(format!("{} has no {what}: {there}", context.app)).into());
    };
    progress::step(&format!(
        "Deploying {} of {}, the tip of {}",
        short_commit(&tip.commit.to_string()),
        context.app,
        branch::short_name(&tip.reference)
    ));
    push::deploy_tip(context, &lock, &tip, reference.as_deref(), options)
}
