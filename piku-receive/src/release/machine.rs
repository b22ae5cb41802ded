//! `release:machine`: piku-build knows what this machine is, and what runs on it.

use anyhow::Context;

use crate::app_context::AppContext;

/// Answers on stdout; returns the exit code.
pub(crate) fn run(place: &AppContext<'_>) -> anyhow::Result<u8> {
    let status = place
        .command("piku-build")?
        .args(["machine", "--format", "json", "--settings"])
        .arg(place.root.settings())
        .status()
        .context("cannot run 'piku-build machine'")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
