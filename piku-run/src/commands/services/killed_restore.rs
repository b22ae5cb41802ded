//! Restores of a binding's data that are killed. The kind's program `recover` completes or undoes them: by a guard that
//! outlives the command, by the daemon when it starts, or by the next command that uses the binding.

#![expect(clippy::disallowed_methods, reason = "marks of restores, which only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;
use piku_files::{FileLock, atomic_file};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use super::action::{ClientStreams, check_client, client_command, wait_until_ready};
use super::binding_claim::{claim_bindings, try_claim};
use crate::process::caller_guard::{self, CallerGuard};
use crate::releases::current;
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, BoundService, ServiceSettings, ServiceState};

/// Program of a kind whose restore can be killed half way.
const PROGRAM: &str = "recover";

/// A restore that has begun, of a kind that recovers from its end.
pub(super) struct BegunRestore<'a> {
    root: &'a PikuRoot,
    bound: &'a BoundService,
    guard: CallerGuard,
    _claim: FileLock,
}

impl<'a> BegunRestore<'a> {
    /// Notes the restore; `None` if the kind needs no recovery.
    pub(super) fn begin(root: &'a PikuRoot, bound: &'a BoundService) -> anyhow::Result<Option<Self>> {
        if !ServiceKind::find(root, &bound.kind)?.has(PROGRAM) {
            return Ok(None);
        }
        let claim = claim_bindings(root, &bound.service, &bound.binding.app)?;
        let path = mark_path(root, &bound.service, &bound.binding.name);
        current::create_dir(&root.service(&bound.service).restores())?;
        atomic_file::write(&path, b"", 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))?;
        let guard = CallerGuard::start(root, &["service", "recover", bound.service.as_str()])?;
        Ok(Some(Self { root, bound, guard, _claim: claim }))
    }

    /// Ends the restore; one that has failed may have been killed.
    pub(super) fn end(self, is_restored: bool) -> anyhow::Result<()> {
        if !is_restored {
            recover(self.root, self.bound)?;
        }
        remove_mark(self.root, &self.bound.service, &self.bound.binding.name)?;
        self.guard.end();
        Ok(())
    }
}

/// Completes or undoes the killed restores of a service, in the guard or for the daemon.
///
/// # Errors
/// Fails if one of them cannot be completed yet.
pub(crate) fn recover_restores(root: &PikuRoot, service: &AppName) -> anyhow::Result<()> {
    caller_guard::wait_for_caller()?;
    let dir = root.service(service);
    let Some(settings) = ServiceSettings::find(&dir)? else { return Ok(()) };
    let state = ServiceState::read(&dir)?;
    for binding in state.bindings {
        let bound = BoundService {
            service: service.clone(),
            kind: settings.kind.clone(),
            version: state.version.clone(),
            port: state.port,
            binding,
        };
        if is_marked(root, &bound) {
            let _claim = claim_bindings(root, service, &bound.binding.app)?;
            wait_until_ready(root, service, &ServiceKind::find(root, &bound.kind)?)?;
            recover_claimed(root, &bound)?;
        }
    }
    Ok(())
}

/// Completes or undoes a killed restore of a binding whose server answers, unless another command has claimed it. Warns
/// if that fails: the data can be looked at and restored all the same.
pub(super) fn recover_binding(root: &PikuRoot, bound: &BoundService) {
    let (service, app) = (&bound.service, &bound.binding.app);
    if !is_marked(root, bound) {
        return;
    }
    let recovered = try_claim(root, service, app)
        .and_then(|claim| claim.map_or(Ok(()), |_claim| recover_claimed(root, bound)));
    if let Err(err) = recovered {
        progress::warning(&format!("{err:#}"));
    }
}

/// Completes or undoes a killed restore of a binding that is claimed.
pub(super) fn recover_claimed(root: &PikuRoot, bound: &BoundService) -> anyhow::Result<()> {
    if !is_marked(root, bound) {
        return Ok(());
    }
    recover(root, bound)?;
    remove_mark(root, &bound.service, &bound.binding.name)
}

fn recover(root: &PikuRoot, bound: &BoundService) -> anyhow::Result<()> {
    let kind = ServiceKind::find(root, &bound.kind)?;
    // The server may have been killed, and be starting.
    wait_until_ready(root, &bound.service, &kind)?;
    let mut command = client_command(root, bound, PROGRAM, ClientStreams::Piped)?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    check_client(status.with_context(|| format!("cannot run '{PROGRAM}'"))?, PROGRAM, bound)
}

fn is_marked(root: &PikuRoot, bound: &BoundService) -> bool {
    bound.binding.state == BindingState::Bound
        && mark_path(root, &bound.service, &bound.binding.name).exists()
}

fn mark_path(root: &PikuRoot, service: &AppName, binding: &str) -> PathBuf {
    root.service(service).restores().join(binding)
}

/// Removes the mark of a restore that has ended, or whose data is dropped.
pub(super) fn remove_mark(root: &PikuRoot, service: &AppName, binding: &str) -> anyhow::Result<()> {
    let path = mark_path(root, service, binding);
    match fs::remove_file(&path) {
        Err(err) if err.kind() != ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove '{}'", path.display()))
        }
        _ => Ok(()),
    }
}
