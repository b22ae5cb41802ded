//! `grant` and `revoke`: devices, sockets and folders of this machine for an app. Only an operator on the
//! server changes them: scripts/piku passes neither verb on from a key.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use piku_chroot::jail;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{AppUsers, GrantedPath, HostSettings};
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::{UserError, WithHint};
use serde::Serialize;

use crate::app_request;
use crate::grants::trial::{TriedAccess, try_access};
use crate::grants::{GrantKind, GrantProblem, ResolvedGrant, resolve_grant};
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;
use crate::releases::current;

/// A granted path as it is printed.
#[derive(Debug, Serialize)]
struct GrantRow {
    app: AppName,
    path: String,
    read_only: bool,
    /// `None` if it can be used.
    problem: Option<String>,
    /// Remedy of the problem.
    fix: Option<String>,
}

/// Prints the granted paths of an app, or of all apps.
pub(in crate::commands) fn list_grants(
    root: &PikuRoot,
    app: Option<&AppName>,
    format: OutputFormat,
) -> anyhow::Result<()> {
    if let Some(app) = app {
        known_apps::must_be_there(root, app)?;
    }
    let settings = HostSettings::read(&root.settings())?;
    let granted = settings.grants.iter().filter(|(name, _)| app.is_none_or(|app| app == *name));
    let rows: Vec<GrantRow> = granted
        .flat_map(|(name, paths)| {
            paths.iter().map(|path| describe_grant(root, name, path, settings.app_users))
        })
        .collect();
    output::print(format, &rows, || render_rows(&rows, app.is_none()))
}

fn describe_grant(root: &PikuRoot, app: &AppName, path: &GrantedPath, users: AppUsers) -> GrantRow {
    let (problem, fix) = match resolve_grant(root, path) {
        Ok(resolved) => match resolved.missing_group(users) {
            Some(group) => (
                Some(format!("lacks the rights of its group {}", group.name)),
                Some(group.how_to_lend(users)),
            ),
            None => (None, None),
        },
        Err(problem) => {
            let fix = match &problem {
                GrantProblem::Refused { hint: Some(hint), .. } => hint.clone(),
                GrantProblem::Missing => {
                    let (path, how) = (path.path(), how_to_supply(path.path()));
                    format!("{how}, and restart the app; or: sudo piku revoke {app} {}", path.display())
                }
                GrantProblem::Refused { .. } => format!("sudo piku revoke {app} {}", path.path().display()),
            };
            (Some(problem.to_string()), Some(fix))
        }
    };
    let (path, read_only) = (path.path().display().to_string(), path.is_read_only());
    GrantRow { app: app.clone(), path, read_only, problem, fix }
}

/// Renders a line per path, and below it its problem and what to do.
fn render_rows(rows: &[GrantRow], several: bool) -> String {
    let mut text = String::new();
    for row in rows {
        let app = if several { format!("{}: ", row.app) } else { String::new() };
        let mode = if row.read_only { " (read-only)" } else { "" };
        let _ = writeln!(text, "{app}{}{mode}", row.path);
        for (what, said) in [("why: ", &row.problem), ("mend:", &row.fix)] {
            if let Some(said) = said {
                let _ = writeln!(text, "    {what} {said}");
            }
        }
    }
    text
}

/// Grants paths to an app, all or none, and restarts it.
pub(in crate::commands) fn grant_paths(
    root: &PikuRoot,
    app: &AppName,
    paths: &[GrantedPath],
    no_restart: bool,
) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)
        .hint(format!("to create it before its first push: piku create {app}"))?;
    let users = HostSettings::read(&root.settings())?.app_users;
    let resolved: Vec<ResolvedGrant> =
        paths.iter().map(|path| resolve_or_refuse(root, path)).collect::<anyhow::Result<_>>()?;
    let warnings = check_access(root, app, users, paths, &resolved)?;
    root.change_grants(app, |old| {
        let mut all = old.to_vec();
        for path in paths {
            match all.iter_mut().find(|one| one.path() == path.path()) {
                Some(one) => *one = path.clone(),
                None => all.push(path.clone()),
            }
        }
        Ok(all)
    })?;
    progress::step(&format!("{app} may use {}", join(paths)));
    for warning in warnings {
        progress::detail(&warning);
    }
    apply_to_instances(root, app, no_restart)
}

/// Takes granted paths back and restarts the app.
pub(in crate::commands) fn revoke_paths(
    root: &PikuRoot,
    app: &AppName,
    paths: &[GrantedPath],
    no_restart: bool,
) -> anyhow::Result<()> {
    let granted = HostSettings::read(&root.settings())?.grants.of(app).to_vec();
    if granted.is_empty() {
        known_apps::must_be_there(root, app)?;
    }
    if let Some(unknown) = paths.iter().find(|path| !granted.iter().any(|one| one.path() == path.path())) {
        let error = UserError::new(format!("{} is not granted to {app}", unknown.path().display()));
        let hint = if granted.is_empty() {
            "it has no grants".to_owned()
        } else {
            format!("it has: {}", join(&granted))
        };
        return Err(error.hint(hint).into());
    }
    root.change_grants(app, |old| {
        Ok(old.iter().filter(|old| !paths.iter().any(|path| path.path() == old.path())).cloned().collect())
    })?;
    progress::step(&format!("{app} may no longer use {}", join(paths)));
    apply_to_instances(root, app, no_restart)
}

/// Returns what makes a path exist that does not.
fn how_to_supply(path: &Path) -> &'static str {
    if path.starts_with("/dev") || path.starts_with("/sys") {
        "plug it in"
    } else if path.starts_with("/run") || path.starts_with("/var/run") {
        "start its server"
    } else {
        "create it"
    }
}

fn join(paths: &[GrantedPath]) -> String {
    paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn resolve_or_refuse(root: &PikuRoot, path: &GrantedPath) -> anyhow::Result<ResolvedGrant> {
    resolve_grant(root, path).map_err(|problem| {
        let error = UserError::new(format!("{} {problem}", path.path().display()));
        match problem {
            GrantProblem::Missing if path.path().as_os_str().as_bytes().ends_with(b":rw") => {
                error.hint("a grant without ':ro' after its path lets the app write: leave out ':rw'")
            }
            GrantProblem::Missing => {
                error.hint(format!("{} first, or check its name", how_to_supply(path.path())))
            }
            GrantProblem::Refused { hint: Some(hint), .. } => error.hint(hint),
            GrantProblem::Refused { .. } => error,
        }
        .into()
    })
}

/// Fails if the app could not use one of the paths; returns warnings.
fn check_access(
    root: &PikuRoot,
    app: &AppName,
    users: AppUsers,
    paths: &[GrantedPath],
    resolved: &[ResolvedGrant],
) -> anyhow::Result<Vec<String>> {
    match jail::available() {
        Ok(_) => {}
        Err(err) if err.is_absence() => {
            return Ok(vec!["this machine has no jails: every app sees all of its paths anyway".to_owned()]);
        }
        Err(err) => return Err(err.failure().into()),
    }
    let mut warnings = Vec::new();
    let tried = try_access(root, app, users, resolved)?;
    for ((path, grant), access) in paths.iter().zip(resolved).zip(tried) {
        let shown = path.path().display();
        let how = how_to_open(grant, users);
        match access {
            TriedAccess::None => {
                let what =
                    format!("{app} could not use {shown}: its owner and mode do not let {}", whom(users));
                return Err(UserError::new(what).hint(how).into());
            }
            TriedAccess::ReadOnly if !path.is_read_only() => {
                warnings.push(format!("{app} can only read {shown}; to let it write: {how}"));
            }
            TriedAccess::Full | TriedAccess::ReadOnly => {}
        }
        if grant.kind == GrantKind::Socket {
            let folder = path.path().parent().unwrap_or(path.path()).display();
            warnings.push(format!(
                "{shown} is lost when its server makes it anew; its directory is not: piku grant {app} {folder}"
            ));
        }
    }
    Ok(warnings)
}

fn whom(users: AppUsers) -> &'static str {
    match users {
        AppUsers::Shared => "piku's user",
        AppUsers::Own => "the app's own user (app_users: own)",
    }
}

/// Returns what to do so that the app can use a path.
fn how_to_open(grant: &ResolvedGrant, users: AppUsers) -> String {
    if let Some(group) = grant.missing_group(users) {
        return group.how_to_lend(users);
    }
    match grant.kind {
        GrantKind::Device => {
            let kernel = grant.file_name();
            format!(
                "a udev rule opens it: echo 'KERNEL==\"{kernel}\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/60-piku.rules; sudo udevadm control --reload; sudo udevadm trigger"
            )
        }
        GrantKind::Socket => "set the permissions of the socket in the settings of its server".to_owned(),
        GrantKind::Folder | GrantKind::File => {
            "chmod or chown it, or grant it read-only with ':ro' after its path".to_owned()
        }
    }
}

/// Restarts the app, so that its processes have exactly what is granted.
fn apply_to_instances(root: &PikuRoot, app: &AppName, no_restart: bool) -> anyhow::Result<()> {
    let dir = root.app(app);
    let runs = current::live_release(&dir).ok().flatten().is_some() && !dir.is_stopped();
    if !runs || no_restart {
        let when = if runs { format!("; now: piku restart {app}") } else { String::new() };
        progress::detail(&format!("it holds from the next start of each process{when}"));
        return Ok(());
    }
    app_request::ask(root, app, &SupervisorRequest::Restart { only: None, index: None })
        .context("the change is stored, but the app was not restarted with it")
        .hint(format!("later: piku restart {app}"))?;
    Ok(())
}
