//! `release:deploy`: runs the script that unpacks and deploys the parts, with the app's lock held.

#![expect(
    clippy::disallowed_methods,
    reason = "names of parts and of the deploy record, which only piku writes; only piku-build reads the content of a part"
)]

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use anyhow::Context;
use piku_layout::deploys::deploy_lock;
use piku_layout::deploys::deploy_totals::DeployTotals;
use piku_report::user_error::{BUSY, UserError};

use super::{DeployedRelease, Sha256Hex, failed_command};
use crate::app_context::AppContext;
use crate::deploy::deploy_record;
use crate::deploy::lock::AppLock;
use crate::repository::{create, git_leftovers, setup};

const SCRIPT: &str = "receive-release";

/// Deploys the release in these parts and returns its number.
pub(crate) fn deploy_release(context: &AppContext<'_>, parts: &[Sha256Hex]) -> anyhow::Result<u64> {
    let app = context.dir();
    let files: Vec<_> = parts.iter().map(|part| app.incoming().join(part.to_string())).collect();
    if let Some(file) = files.iter().find(|file| !file.is_file()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        return Err(UserError::new(format!("the part {name} is missing"))
            .hint("send it again")
            .code(BUSY)
            .into());
    }
    setup::check_hooks(context.scripts)?;
    let _lock = AppLock::acquire(&app, context.key)?;
    create::check_name(context)?;
    deploy_lock::check_unlocked(context.app, &app)?;
    // The first release creates the app and its repository, as a push does.
    setup::ensure_repository(&app, context.scripts)?;
    git_leftovers::remove_leftovers(&app.repo())?;
    deploy_record::mark_failed_if_unfinished(&app)?;
    let number = app.next_number().context("cannot count the releases")?;
    let script = context.scripts.join(SCRIPT);
    let talk = io::stderr().as_fd().try_clone_to_owned().context("cannot copy stderr")?;
    let status = context
        .command(&script)?
        .arg(number.to_string())
        .args(&files)
        .current_dir(app.path())
        .stdin(Stdio::null())
        .stdout(talk)
        .status()
        .with_context(|| format!("cannot run '{}'", script.display()))?;
    for file in &files {
        // The layers are unpacked, and the next release has other parts.
        let _ = fs::remove_file(file);
    }
    DeployTotals::count_deploy(&app, status.success());
    if !status.success() {
        return Err(failed_command("the deploy", status.code()).into());
    }
    // The last push is no longer live.
    match fs::remove_file(app.verdict()) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("cannot remove '{}'", app.verdict().display()));
        }
        _ => {}
    }
    let release = app.current_number().context("there is no live release after the deploy")?;
    let answer = serde_json::to_string(&DeployedRelease { release })?;
    // If the sender has disconnected, the release is live all the same.
    let _ = writeln!(io::stdout().lock(), "{answer}");
    Ok(release)
}
