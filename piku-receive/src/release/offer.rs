//! `release:offer`: piku-build knows what fits, and which layers are here.

use anyhow::Context;

use crate::app_context::AppContext;

/// Answers on stdout; returns the exit code.
pub(crate) fn run(place: &AppContext<'_>) -> anyhow::Result<u8> {
    let app = place.dir();
    let status = place
        .command("piku-build")?
        .args(["fits", "--format", "json", "--app", place.app.as_str(), "--layers"])
        .arg(app.layers())
        .arg("--settings")
        .arg(place.root.settings())
        .status()
        .context("cannot run 'piku-build fits'")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
