//! `deploy APP RELEASE`: makes a built release the live one.

use std::path::Path;

use anyhow::{Context, ensure};
use piku_files::TreeHandle;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_release::architecture::ReleaseArchitecture;
use piku_release::manifest::{BuiltRelease, TREE};
use piku_release::target;
use piku_report::user_error::UserError;

use crate::garbage::{self, CollectScope};
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::releases::current;

pub(super) fn run(root: &PikuRoot, app: &AppName, dir: &Path) -> anyhow::Result<()> {
    let dir = std::path::absolute(dir).with_context(|| format!("cannot find '{}'", dir.display()))?;
    let release = BuiltRelease::read(&dir)?;
    check(&release, app, &HostSettings::read(&root.settings())?)?;
    current::make(root.app(app).path())?;
    settle(&dir, &root.app(app))?;
    client::ask(root, app, &SupervisorRequest::Deploy { dir, task: true, after: None })?;
    // The release says itself what it is of.
    current::remove(&root.app(app).attempt(release.number))?;
    garbage::collect_after_change(root, app, CollectScope::Deploy);
    Ok(())
}

/// What can be said without asking anybody.
fn check(release: &BuiltRelease, app: &AppName, settings: &HostSettings) -> anyhow::Result<()> {
    ensure!(release.app == *app, "this is a release of {}, not of {app}", release.app);
    if let ReleaseArchitecture::Native(program) = ReleaseArchitecture::parse(&release.architecture) {
        let machine = target::this_machine(settings)?;
        if !machine.runs(&program) {
            let here = machine.beside(&program);
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

/// On the disk before anything says that it is live: a power cut must not leave a release of empty files. What a build has put there
/// costs a look, nothing more.
fn settle(dir: &Path, app: &AppDir) -> anyhow::Result<()> {
    let live = TreeHandle::open_following(&app.current()).and_then(|live| live.subtree(TREE)).ok();
    Ok(TreeHandle::open_following(dir)?.subtree(TREE)?.write_out(live.as_ref())?)
}
