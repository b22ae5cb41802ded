//! `release:undo`: rolls back after the deploy has failed on another host.

#![expect(clippy::disallowed_methods, reason = "checks that the directory of the app exists")]

use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::failed_command;
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;

/// Rolls back from this release, with the app's lock.
pub(crate) fn undo_release(context: &AppContext<'_>, number: u64) -> anyhow::Result<()> {
    let app = context.dir();
    if !app.path().exists() {
        return Err(UserError::new(format!("there is no app '{}'", context.app)).into());
    }
    let _lock = AppLock::acquire(&app, context.key)?;
    go_back(context, number)
}

/// Rolls back to the release before `number`. Without one, the app is stopped. The caller holds the app's
/// lock.
pub(crate) fn go_back(context: &AppContext<'_>, number: u64) -> anyhow::Result<()> {
    let app = context.dir();
    let live = app.current_number();
    if live != Some(number) {
        let live = live.map_or_else(|| "none".to_owned(), |live| live.to_string());
        return Err(
            UserError::new(format!("cannot undo release {number}: the live release is {live}")).into()
        );
    }
    let before =
        app.release_numbers().context("cannot list the releases")?.into_iter().rfind(|n| *n < number);
    let mut command = context.command("piku-run")?;
    if let Some(before) = before {
        command.args(["rollback", context.app.as_str(), &before.to_string()]);
    } else {
        progress::step(&format!("{} has no earlier release and is stopped", context.app));
        command.args(["stop", context.app.as_str()]);
    }
    let talk = io::stderr().as_fd().try_clone_to_owned().context("cannot copy stderr")?;
    let status = command.stdout(talk).status().context("cannot run 'piku-run'")?;
    if status.success() { Ok(()) } else { Err(failed_command("the rollback", status.code()).into()) }
}
