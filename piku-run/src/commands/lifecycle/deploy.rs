//! `deploy APP RELEASE`: makes a built release live.

use std::path::Path;

use anyhow::{Context, ensure};
use piku_files::TreeHandle;
use piku_layout::destroyed_app;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_release::architecture::{ProgramArchitecture, ReleaseArchitecture};
use piku_release::manifest::{BuiltRelease, TREE};
use piku_release::target;
use piku_report::user_error::UserError;

use crate::app_request;
use crate::commands::services;
use crate::garbage::{self, CollectScope};
use crate::ipc::protocol::SupervisorRequest;
use crate::process::ssh_session::session_address;
use crate::releases::current;

/// Deploys the release in `dir`. If it is `written`, its files are on the disk already.
pub(in crate::commands) fn run(
    root: &PikuRoot,
    app: &AppName,
    dir: &Path,
    written: bool,
) -> anyhow::Result<()> {
    let dir = std::path::absolute(dir).with_context(|| format!("cannot find '{}'", dir.display()))?;
    let release = BuiltRelease::read(&dir)?;
    check_release(&release, app, &HostSettings::read(&root.settings())?)?;
    if root.app(app).is_restoring() {
        let what = format!("{app} was restored from a backup, and its services do not have its data yet");
        return Err(UserError::new(what).hint(format!("to continue: piku restore {app} --kept")).into());
    }
    destroyed_app::check_nothing_kept(app, &root.app(app))?;
    current::create_dir(root.app(app).path())?;
    if !written {
        sync_moved_release(&dir, &root.app(app))?;
    }
    services::wait_for_bound_services(root, app)?;
    app_request::ask(
        root,
        app,
        &SupervisorRequest::Deploy { dir, task: true, after: None, reached_at: session_address() },
    )?;
    // The release contains this information itself.
    current::remove_dir(&root.app(app).attempt(release.number))?;
    garbage::collect_after_change(root, app, CollectScope::Deploy);
    Ok(())
}

/// Makes the checks that need no supervisor.
fn check_release(release: &BuiltRelease, app: &AppName, settings: &HostSettings) -> anyhow::Result<()> {
    ensure!(release.app == *app, "this is a release of {}, not of {app}", release.app);
    if let ReleaseArchitecture::Native(program) = ReleaseArchitecture::parse(&release.architecture) {
        let cluster = settings.deploy_to.get(app).and_then(|to| to.kubernetes.as_ref());
        if let Some(nodes) = cluster.map(|cluster| &cluster.architecture).filter(|nodes| !nodes.is_empty()) {
            return Ok(check_nodes(&program, release, nodes)?);
        }
        let machine = target::this_machine(settings)?;
        if !machine.runs(&program) {
            let here = machine.name_beside(&program);
            let what = match &release.native {
                Some(file) => format!("this release needs {program} for '{file}', this machine is {here}"),
                None => format!("this release was built for {program}, this machine is {here}"),
            };
            return Err(UserError::new(what).hint("build it here").into());
        }
    }
    ensure!(!release.processes.is_empty(), "this release has no process types");
    Ok(())
}

/// Fails if a native release does not run on all nodes of a cluster, which have these architectures.
fn check_nodes(
    program: &ProgramArchitecture,
    release: &BuiltRelease,
    nodes: &[String],
) -> Result<(), UserError> {
    let Some(other) = nodes.iter().find(|name| !ProgramArchitecture::parse(name).runs(program)) else {
        return Ok(());
    };
    let reason = release.native.as_ref().map(|file| format!(" for '{file}'")).unwrap_or_default();
    if nodes.len() == 1 {
        let what = format!("this release needs {program}{reason}, the nodes of the cluster are {other}");
        return Err(UserError::new(what).hint(format!("build it again: piku deploy {}", release.app)));
    }
    let what = format!("this release needs {program}{reason}, nodes of the cluster are also {other}");
    let hint = "name the architecture of one kind of nodes in 'architecture' of deploy_to in host.yaml: pods then run on these";
    Err(UserError::new(what).hint(hint))
}

/// Syncs the release before anything refers to it: after a power failure its files must not be empty. Files
/// that the build has synced are only checked.
fn sync_moved_release(dir: &Path, app: &AppDir) -> anyhow::Result<()> {
    let live = TreeHandle::open_following(&app.current()).and_then(|live| live.subtree(TREE)).ok();
    Ok(TreeHandle::open_following(dir)?.subtree(TREE)?.write_out(live.as_ref())?)
}
