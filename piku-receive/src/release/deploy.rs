//! `release:deploy`: what has come in is unpacked and deployed by a script of the same kind as the hook, with the app's lock held.

#![expect(
    clippy::disallowed_methods,
    reason = "parts that came in and the verdict, whose names are piku's own; what is in a part is read by piku-build alone"
)]

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use anyhow::Context;
use piku_report::user_error::{BUSY, UserError};

use super::{DeployedRelease, Sha256Hex, failed};
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;
use crate::deploy::verdict;
use crate::repository::{git_leftovers, setup};

/// The script's name.
const SCRIPT: &str = "receive-release";

/// Deploys the release that these parts make; returns its number.
pub(crate) fn run(place: &AppContext<'_>, parts: &[Sha256Hex]) -> anyhow::Result<u64> {
    let app = place.dir();
    let files: Vec<_> = parts.iter().map(|part| app.incoming().join(part.to_string())).collect();
    if let Some(file) = files.iter().find(|file| !file.is_file()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        return Err(UserError::new(format!("the part {name} is not here"))
            .hint("send it again")
            .code(BUSY)
            .into());
    }
    let _lock = AppLock::take(&app, place.key)?;
    // The first release makes the app, with all that a push would find.
    setup::ensure(&app, place.scripts)?;
    git_leftovers::sweep(&app.repo())?;
    verdict::close(&app)?;
    let number = app.next_number().context("cannot count the releases")?;
    let script = place.scripts.join(SCRIPT);
    let talk = io::stderr().as_fd().try_clone_to_owned().context("cannot copy stderr")?;
    let status = place
        .command(&script)?
        .arg(number.to_string())
        .args(&files)
        .current_dir(app.path())
        .stdin(Stdio::null())
        .stdout(talk)
        .status()
        .with_context(|| format!("cannot run '{}'", script.display()))?;
    for file in &files {
        // Layers are in their place by now, and the next release is another one.
        let _ = fs::remove_file(file);
    }
    if !status.success() {
        return Err(failed("the deploy", status.code()).into());
    }
    // What a push has deployed before is live no more.
    match fs::remove_file(app.verdict()) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("cannot remove '{}'", app.verdict().display()));
        }
        _ => {}
    }
    let release = app.current_number().context("there is no live release after the deploy")?;
    let answer = serde_json::to_string(&DeployedRelease { release })?;
    // The sender may have gone: the release is live all the same.
    let _ = writeln!(io::stdout().lock(), "{answer}");
    Ok(release)
}
