//! `service create KIND`: makes a service and starts it.

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::{TreeHandle, atomic_file};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_release::manifest::{BuiltRelease, ReleaseOrigin, TREE};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::action::{lock_services, wait_until_ready};
use super::destroy::remove_service;
use super::server_port::claim_server_port;
use crate::app_request;
use crate::commands::check_free;
use crate::config::{ConfigChange, ConfigValues, store};
use crate::folder_moves::move_app_dir;
use crate::instance::service_process::PROCESS_TYPE;
use crate::ipc::protocol::SupervisorRequest;
use crate::releases::{current, who};
use crate::services::kind::ServiceKind;
use crate::services::state::ServiceState;

/// A service to make.
#[derive(Debug)]
pub(crate) struct NewService {
    pub(crate) kind: AppName,
    /// Its name, that of the kind by default.
    pub(crate) name: Option<AppName>,
    /// Version of the server, the newest one by default.
    pub(crate) version: Option<String>,
    /// Port of the server; piku chooses one by default.
    pub(crate) port: Option<u16>,
}

/// Makes a service, starts it and waits until it answers.
///
/// # Errors
/// Fails if the name is taken, the server is not installed or does not start; nothing of the service remains.
pub(crate) fn create_service(root: &PikuRoot, new: &NewService) -> anyhow::Result<()> {
    let name = new.name.as_ref().unwrap_or(&new.kind);
    let kind = ServiceKind::find(root, &new.kind)?;
    let versions = kind.versions()?;
    let version = match &new.version {
        None => versions[0].clone(),
        Some(version) if versions.contains(version) => version.clone(),
        Some(version) => {
            let what = format!("{} {version} is not installed", kind.about.description);
            return Err(UserError::new(what).hint(format!("installed: {}", versions.join(", "))).into());
        }
    };
    let port = {
        let _lock = lock_services(root)?;
        if root.is_service(name) {
            return Err(UserError::new(format!("the service {name} exists already"))
                .hint("to make another one of its kind: --name NAME")
                .into());
        }
        check_free(root, name)?;
        // Until the service is at its place: another command may look for a port at any time.
        let claim = claim_server_port(root, new.port)?;
        let port = claim.port();
        let state = ServiceState { version: version.clone(), port, bindings: Vec::new(), upgrade: None };
        let aside = root.service_aside(name);
        current::create_dir(aside.path())?;
        write_service(&aside, name, &kind, &state)?;
        let to = root.service(name);
        move_app_dir(aside.path(), to.path())
            .with_context(|| format!("cannot make '{}'", to.path().display()))?;
        drop(claim);
        port
    };
    progress::step(&format!("Starting {name}, {} {version}", kind.about.description));
    let started = app_request::ask(root, name, &SupervisorRequest::Restart { only: None, index: None })
        .and_then(|()| wait_until_ready(root, name, &kind));
    if let Err(err) = started {
        let removed = match remove_service(root, name) {
            Ok(()) => "nothing of it was kept".to_owned(),
            Err(left) => {
                progress::error(&format!("{left:#}"));
                format!("to remove what is left: piku service:destroy {name} --confirm {name}")
            }
        };
        return Err(err.context(format!("{name} does not start; {removed}")));
    }
    progress::step(&format!("{name} runs, at 127.0.0.1:{port}"));
    progress::detail(&format!("to bind an app to it: piku service:bind {name} APP"));
    Ok(())
}

/// Writes the files of a service into its new directory, and syncs them.
fn write_service(
    dir: &AppDir,
    name: &AppName,
    kind: &ServiceKind,
    state: &ServiceState,
) -> anyhow::Result<()> {
    let text = format!(
        "# The kind of this service, and settings of its server over those that piku chooses for the machine.\n\
         # They hold from the next restart on: piku restart {name}\nkind: {}\nsettings: {{}}\n",
        kind.name
    );
    let path = dir.service_settings();
    atomic_file::write(&path, text.as_bytes(), 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))?;
    state.write(dir)?;
    let release = dir.release(1);
    current::create_dir(&release.join(TREE))?;
    let processes = IndexMap::from([(PROCESS_TYPE.parse()?, "/app/start".to_owned())]);
    BuiltRelease {
        number: 1,
        subject: format!("service of the kind {}", kind.name),
        by: who(),
        origin: ReleaseOrigin::Config,
        architecture: "any".to_owned(),
        runtime: "service".to_owned(),
        ..BuiltRelease::without_build(name.clone(), processes)
    }
    .write(&release)?;
    store::write_beside(&release, &ConfigValues::default(), &ConfigChange::default())?;
    // Until it is started: a supervisor would start it on its own, and once more when it is told to.
    let path = dir.stopped();
    dir.create_marker(&path).with_context(|| format!("cannot write '{}'", path.display()))?;
    current::set_live(dir, 1)?;
    TreeHandle::open(dir.path())?.write_out(None)?;
    Ok(())
}
