//! Deploy of what the repository of an app has, as after a push.

use std::process::{ExitCode, Stdio};

use anyhow::Context;
use piku_layout::deploys::deploy_lock::RESTORED;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use crate::commands::CREATOR;
use crate::process::sibling_tool::sibling_tool;
use crate::releases::who;

/// Deploys the tip of the app's deploy branch; the output goes to stderr. Returns the exit code of the deploy.
pub(crate) fn deploy_tip(root: &PikuRoot, app: &AppName) -> anyhow::Result<u8> {
    deploy_with(root, app, false)
}

fn deploy_with(root: &PikuRoot, app: &AppName, is_restored: bool) -> anyhow::Result<u8> {
    let mut deploy = sibling_tool(CREATOR);
    deploy.args(["deploy", app.as_str(), "--by", &who(), "--root"]).arg(root.path()).stdin(Stdio::null());
    if is_restored {
        deploy.env(RESTORED, "1");
    }
    let status = deploy.status().with_context(|| format!("cannot run '{CREATOR} deploy'"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Deploys an app that has just come into being. If that fails, reports that the app stays.
pub(in crate::commands) fn deploy_or_explain(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    deploy_or_explain_with(root, app, false)
}

/// Deploys an app that was restored from a backup, also if it is locked as it was then. If that fails, reports that
/// the app stays.
pub(in crate::commands) fn deploy_restored(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    deploy_or_explain_with(root, app, true)
}

fn deploy_or_explain_with(root: &PikuRoot, app: &AppName, is_restored: bool) -> anyhow::Result<ExitCode> {
    let code = deploy_with(root, app, is_restored)?;
    if code != 0 {
        progress::error(&format!("{app} is there, but it is not deployed; to try again: piku deploy {app}"));
    }
    Ok(ExitCode::from(code))
}
