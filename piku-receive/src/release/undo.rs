//! `release:undo`: when others have failed, a machine goes back to what it had.

#![expect(clippy::disallowed_methods, reason = "looks for the app's own folder")]

use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::failed;
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;

/// Goes back from this release, under the app's lock.
pub(crate) fn run(place: &AppContext<'_>, number: u64) -> anyhow::Result<()> {
    let app = place.dir();
    if !app.path().exists() {
        return Err(UserError::new(format!("there is no app '{}'", place.app)).into());
    }
    let _lock = AppLock::take(&app, place.key)?;
    go_back(place, number)
}

/// The same for who has the lock already. An app that had no release before is stopped.
pub(crate) fn go_back(place: &AppContext<'_>, number: u64) -> anyhow::Result<()> {
    let app = place.dir();
    let live = app.current_number();
    if live != Some(number) {
        let live = live.map_or_else(|| "none is".to_owned(), |live| format!("{live} is"));
        return Err(UserError::new(format!("release {number} is not live, {live}: nothing is undone")).into());
    }
    let before =
        app.release_numbers().context("cannot list the releases")?.into_iter().rfind(|n| *n < number);
    let mut command = place.command("piku-run")?;
    if let Some(before) = before {
        command.args(["rollback", place.app.as_str(), &before.to_string()]);
    } else {
        progress::step(&format!("{} had no release before: it is stopped", place.app));
        command.args(["stop", place.app.as_str()]);
    }
    let talk = io::stderr().as_fd().try_clone_to_owned().context("cannot copy stderr")?;
    let status = command.stdout(talk).status().context("cannot run 'piku-run'")?;
    if status.success() { Ok(()) } else { Err(failed("going back", status.code()).into()) }
}
