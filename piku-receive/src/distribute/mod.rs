//! Distribution of releases to the hosts in `deploy_to` (`targets` and `distribute`). Each host deploys the
//! release for its platform as its own; the module `release` is the other end.
//!
//! All hosts are asked before anything is packed, and have all parts before any of them deploys. Lines from
//! a host begin with its name.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that release directories exist, which the hook has named"
)]

pub(crate) mod catch_up;
pub(crate) mod failure_reason;
pub(crate) mod front;
pub(crate) mod missed;
mod old_layers;
mod parts;
pub(crate) mod session_failure;
mod session_limit;
mod session_pipe;
mod settings_catch_up;
pub(crate) mod ssh;
mod target_host;
mod targets;
mod upload_progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use piku_layout::settings::{DeployTo, HostSettings};
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::app_context::AppContext;
use crate::release;
use front::HostChange;
use missed::KeptRelease;
use parts::{PackedParts, ReleaseParts};
use target_host::TargetHost;
use targets::KindList;

/// Name of the directory of a release for every platform.
const ANY: &str = "any";

/// `targets`: prints the hosts of an app by platform, and writes what they have answered to the file `machines`.
pub(crate) fn print_targets(context: &AppContext<'_>, machines: Option<&Path>) -> anyhow::Result<ExitCode> {
    targets::print_targets(context, &deploy_to(context)?, machines)
}

fn deploy_to(context: &AppContext<'_>) -> anyhow::Result<DeployTo> {
    let mut settings = HostSettings::read(&context.root.settings())?;
    let to = settings.deploy_to.remove(context.app).unwrap_or_default();
    if !to.here && to.machines.is_empty() {
        let what = format!("deploy_to of {} in host.yaml names no machine, and 'here: false'", context.app);
        return Err(UserError::new(what).hint("name its machines: [piku@HOST, …]").into());
    }
    if to.here && to.front.is_some() {
        let what =
            format!("deploy_to of {} in host.yaml has a front, and the app runs here, too", context.app);
        return Err(UserError::new(what).hint("add 'here: false': the front only passes requests on").into());
    }
    Ok(to)
}

/// Sends the releases in a directory to the hosts in the list `targets` and deploys them. Does nothing
/// without hosts.
pub(crate) fn distribute_releases(
    context: &AppContext<'_>,
    releases: &Path,
    targets: &Path,
) -> anyhow::Result<ExitCode> {
    let to = deploy_to(context)?;
    if to.machines.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let list = KindList::read(targets)?;
    let kept =
        if to.skip_down { Some(KeptRelease::stage(context.root, &context.dir(), releases)?) } else { None };
    let staged = kept.as_ref().map(KeptRelease::staged);
    let releases = staged.as_deref().unwrap_or(releases);
    let mut machines: Vec<TargetHost<'_>> =
        to.machines.iter().map(|machine| TargetHost::new(context.app, machine, &to)).collect();
    for machine in &mut machines {
        machine.is_down = list.is_down(&machine.address.to_string());
        match choose_release(releases, &list, machine) {
            Ok(folder) => machine.folder = folder,
            Err(why) => machine.failure = Some(why.to_owned()),
        }
    }
    let code = send_to_machines(context, &to, &mut machines, kept.as_ref())?;
    let is_live = is_live(&to, &machines);
    match (kept, is_live) {
        (Some(kept), true) => kept.keep(&machines)?,
        (Some(kept), false) => kept.discard()?,
        (None, true) => missed::forget(&context.dir())?,
        (None, false) => {}
    }
    if is_live {
        front::refresh_and_show(context, &to);
    } else {
        front::refresh(context, &to);
    }
    Ok(code)
}

/// Returns true if the release stays live somewhere. One that does not, because its deploy has failed or was
/// rolled back, is not sent to anyone later.
fn is_live(to: &DeployTo, machines: &[TargetHost<'_>]) -> bool {
    let goes_back = to.all_or_nothing && machines.iter().any(TargetHost::has_failed);
    !goes_back && (to.here || machines.iter().any(|machine| machine.release.is_some()))
}

/// Sends each host the release in its directory and deploys it there.
fn send_to_machines(
    context: &AppContext<'_>,
    to: &DeployTo,
    machines: &mut [TargetHost<'_>],
    kept: Option<&KeptRelease<'_>>,
) -> anyhow::Result<ExitCode> {
    let mut parts: BTreeMap<PathBuf, ReleaseParts<'_>> = BTreeMap::new();
    for machine in machines.iter().filter(|machine| machine.failure.is_none()) {
        if !parts.contains_key(&machine.folder) {
            parts.insert(machine.folder.clone(), ReleaseParts::new(context, machine.folder.clone())?);
        }
    }
    for folder in parts.keys() {
        let its = machines.iter().filter(|machine| machine.folder == *folder && machine.failure.is_none());
        let names: Vec<_> = its.map(|machine| machine.name.as_str()).collect();
        let kind = folder.file_name().unwrap_or_default().to_string_lossy();
        let of = if parts.len() > 1 { format!(" for {kind}") } else { String::new() };
        progress::step(&format!("Sending the release{of} to {}", names.join(", ")));
    }
    send_and_deploy(context, to, machines, &parts, kept)
}

/// Returns the directory of the release for this host, or the reason for excluding the host.
fn choose_release(
    releases: &Path,
    list: &KindList,
    machine: &TargetHost<'_>,
) -> Result<PathBuf, &'static str> {
    if machine.is_down {
        return Err("it was down before the build");
    }
    let kinds = list.by_machine();
    let kind = kinds.get(machine.address.to_string().as_str());
    let kind = kind.ok_or("it was unreachable before the build and receives nothing")?;
    find_release(releases, kind).ok_or("its release could not be built")
}

/// Returns the directory of the release for an architecture, or of the one for every platform.
fn find_release(releases: &Path, architecture: &str) -> Option<PathBuf> {
    let folders = [architecture, ANY].map(|name| releases.join(name));
    folders.into_iter().find(|folder| folder.exists())
}

/// Offers, sends and deploys the releases; rolls back if one host fails and `all_or_nothing` is set.
fn send_and_deploy(
    context: &AppContext<'_>,
    to: &DeployTo,
    machines: &mut [TargetHost<'_>],
    parts: &BTreeMap<PathBuf, ReleaseParts<'_>>,
    kept: Option<&KeptRelease<'_>>,
) -> anyhow::Result<ExitCode> {
    // A host without a release has failed and is skipped.
    let of = |machine: &TargetHost<'_>| parts.get(&machine.folder).context("no release for it");
    for_each_healthy(machines, |machine| machine.offer_release(of(machine)?.manifest()));
    let has_failed = |machines: &[TargetHost<'_>]| machines.iter().any(TargetHost::has_failed);
    if to.all_or_nothing && has_failed(machines) {
        return Ok(report_and_roll_back(context, to, machines, "nothing was sent"));
    }
    if machines.iter().all(|machine| machine.failure.is_some()) {
        return Ok(report_and_roll_back(context, to, machines, ""));
    }
    let mut packed: BTreeMap<&Path, PackedParts> = BTreeMap::new();
    for (folder, parts) in parts {
        let its = machines.iter().filter(|machine| machine.folder == *folder && machine.failure.is_none());
        let mut lacked: Vec<String> = its.flat_map(|machine| machine.missing_layers.clone()).collect();
        lacked.sort();
        lacked.dedup();
        packed.insert(folder, parts.pack_parts(&lacked)?);
    }
    let of = |machine: &TargetHost<'_>| packed.get(machine.folder.as_path()).context("no release for it");
    for_each_healthy(machines, |machine| machine.send_parts(of(machine)?));
    if to.all_or_nothing && has_failed(machines) {
        return Ok(report_and_roll_back(context, to, machines, "none has deployed it"));
    }
    let deploy = |machine: &mut TargetHost<'_>| {
        machine.deploy_release(of(machine)?)?;
        kept.map_or(Ok(()), |kept| kept.strike(machine))
    };
    if to.is_rolling() {
        front::prepare(context, to, machines)?;
    }
    if let Some(kept) = kept {
        kept.begin(machines)?;
    }
    if to.is_rolling() {
        deploy_in_turn(context, to, machines, deploy);
    } else {
        for_each_healthy(machines, deploy);
    }
    if to.all_or_nothing && has_failed(machines) {
        progress::step("Not all machines deployed the release: the others roll back");
        if to.is_rolling() {
            undo_in_turn(context, to, machines);
        } else {
            for_each(machines, TargetHost::undo_deploy);
        }
    }
    let app = context.dir();
    // A release that is kept for hosts that are down needs its own layers.
    if app.current_number().is_none() && missed::is_empty(&app) {
        let keys: Vec<_> = parts.values().map(ReleaseParts::layer_keys).collect::<anyhow::Result<_>>()?;
        old_layers::remove_old_layers(&app.layers(), &keys.concat());
    }
    Ok(report_and_roll_back(context, to, machines, ""))
}

/// Deploys on one host after the other, while the front leaves it out. If one fails and `all_or_nothing` is
/// set, those behind it keep what they have.
fn deploy_in_turn<'a>(
    context: &AppContext<'_>,
    to: &DeployTo,
    machines: &mut [TargetHost<'a>],
    deploy: impl Fn(&mut TargetHost<'a>) -> anyhow::Result<()>,
) {
    for machine in machines.iter_mut().filter(|machine| machine.failure.is_none()) {
        if let Err(err) = in_turn(context, to, machine, HostChange::Deploy, &deploy) {
            machine.fail(&err);
        }
        if to.all_or_nothing && machine.has_failed() {
            return;
        }
    }
}

/// Rolls back one host after the other, the last one that has changed first.
fn undo_in_turn(context: &AppContext<'_>, to: &DeployTo, machines: &mut [TargetHost<'_>]) {
    for machine in machines.iter_mut().rev().filter(|machine| machine.may_have_changed()) {
        let undone = in_turn(context, to, machine, HostChange::Undo, |machine| {
            machine.undo_deploy();
            Ok(())
        });
        if let Err(err) = undone {
            print_remote_line(&machine.name, &format!(" !     {err:#}"));
            // It is rolled back even if the front cannot leave it out.
            machine.undo_deploy();
        }
    }
}

/// Changes a host while the front leaves it out.
fn in_turn<'a>(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &mut TargetHost<'a>,
    kind: HostChange,
    change: impl Fn(&mut TargetHost<'a>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let drained = front::DrainedHost::begin(context, to, &machine.name)?;
    change(machine)?;
    drained.map_or(Ok(()), |drained| drained.finish(kind))
}

/// Runs `what` on all hosts that have not failed, in parallel.
fn for_each_healthy<'a>(
    machines: &mut [TargetHost<'a>],
    what: impl Fn(&mut TargetHost<'a>) -> anyhow::Result<()> + Sync,
) {
    for_each(machines, |machine| {
        if machine.failure.is_none() {
            if let Err(err) = what(machine) {
                machine.fail(&err);
            }
        }
    });
}

fn for_each<'a>(machines: &mut [TargetHost<'a>], what: impl Fn(&mut TargetHost<'a>) + Sync) {
    thread::scope(|scope| {
        for machine in machines {
            scope.spawn(|| what(machine));
        }
    });
}

/// Reports the result of each host and returns the exit code.
fn report_results(to: &DeployTo, machines: &[TargetHost<'_>], but: &str) -> ExitCode {
    let failed = machines.iter().filter(|machine| machine.has_failed()).count();
    let is_live = but.is_empty() && is_live(to, machines);
    for machine in machines {
        match (&machine.failure, machine.release) {
            (Some(why), _) if machine.is_down && is_live => {
                progress::error(&format!("{}: {why}; it gets the release when it is back", machine.name));
            }
            (Some(why), _) => progress::error(&format!("{}: {why}", machine.name)),
            (None, Some(release)) => progress::step(&format!("{}: release {release} is live", machine.name)),
            (None, None) => progress::step(&format!("{}: unchanged", machine.name)),
        }
    }
    if failed == 0 {
        if to.here || machines.iter().any(|machine| machine.failure.is_none()) {
            return ExitCode::SUCCESS;
        }
        progress::error("all machines are down");
        return ExitCode::FAILURE;
    }
    let but = if but.is_empty() { String::new() } else { format!("; {but}") };
    progress::error(&format!("{failed} of {} machines failed{but}", machines.len()));
    ExitCode::FAILURE
}

/// Does the same, and rolls back this host too if another has failed and `all_or_nothing` is set.
fn report_and_roll_back(
    context: &AppContext<'_>,
    to: &DeployTo,
    machines: &[TargetHost<'_>],
    but: &str,
) -> ExitCode {
    let code = report_results(to, machines, but);
    let has_failed = machines.iter().any(TargetHost::has_failed);
    if has_failed && to.all_or_nothing && to.here {
        progress::step("This machine rolls back too");
        let live = context.dir().current_number().context("there is no live release");
        if let Err(err) = live.and_then(|live| release::go_back(context, live)) {
            progress::error(&format!("this machine: {err:#}"));
        }
    }
    code
}

/// True while lines of hosts are not printed.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Keeps the lines of several hosts apart.
static SAYING: Mutex<()> = Mutex::new(());

/// Prints a line of a host after its name.
fn print_remote_line(name: &str, line: &str) {
    if IS_QUIET.load(Ordering::Relaxed) {
        return;
    }
    let _one = SAYING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    progress::remote(name, line);
}
