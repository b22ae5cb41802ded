//! `ship`: a release that was built here goes to the machines that `deploy_to` names, to each the one that was built for its kind,
//! and each of them deploys it as its own. The other end is `release`.
//!
//! All machines are asked before anything is packed, and have everything before any of them deploys. What a machine says comes
//! with its name in front.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for folders of releases by their names, which the hook has given them"
)]

mod old_layers;
mod parts;
mod ssh;
mod target_host;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::Context;
use piku_layout::settings::{DeployTo, HostSettings};
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::app_context::AppContext;
use crate::release;
use parts::{PackedParts, ReleaseParts};
use target_host::TargetHost;
use targets::KindList;

/// The folder of a release that runs on machines of every kind.
const ANY: &str = "any";

/// `targets`: the machines that the app's releases are for, by kind.
pub(crate) fn targets(place: &AppContext<'_>) -> anyhow::Result<ExitCode> {
    targets::run(place, &deploy_to(place)?)
}

fn deploy_to(place: &AppContext<'_>) -> anyhow::Result<DeployTo> {
    let mut settings = HostSettings::read(&place.root.settings())?;
    let to = settings.deploy_to.remove(place.app).unwrap_or_default();
    if !to.here && to.machines.is_empty() {
        let what = format!("deploy_to of {} in host.yaml names no machine, and 'here: false'", place.app);
        return Err(UserError::new(what).hint("name its machines: [piku@HOST, …]").into());
    }
    Ok(to)
}

/// Sends the releases in this folder, one for each architecture of the list `targets`; nothing to do where no machine is named.
pub(crate) fn run(place: &AppContext<'_>, releases: &Path, targets: &Path) -> anyhow::Result<ExitCode> {
    let to = deploy_to(place)?;
    if to.machines.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let list = KindList::read(targets)?;
    let mut machines: Vec<TargetHost<'_>> =
        to.machines.iter().map(|machine| TargetHost::new(place.app, machine, &to)).collect();
    let mut parts: BTreeMap<PathBuf, ReleaseParts<'_>> = BTreeMap::new();
    for machine in &mut machines {
        match choose(releases, &list, machine) {
            Ok(folder) => {
                if !parts.contains_key(&folder) {
                    parts.insert(folder.clone(), ReleaseParts::new(place, folder.clone())?);
                }
                machine.folder = folder;
            }
            Err(why) => machine.failure = Some(why.to_owned()),
        }
    }
    for folder in parts.keys() {
        let its = machines.iter().filter(|machine| machine.folder == *folder && machine.failure.is_none());
        let names: Vec<_> = its.map(|machine| machine.name.as_str()).collect();
        let kind = folder.file_name().unwrap_or_default().to_string_lossy();
        let of = if parts.len() > 1 { format!(" for {kind}") } else { String::new() };
        progress::step(&format!("Sending the release{of} to {}", names.join(", ")));
    }
    send(place, &to, &mut machines, &parts)
}

/// The folder of the release that is for this machine, or why there is none.
fn choose(releases: &Path, list: &KindList, machine: &TargetHost<'_>) -> Result<PathBuf, &'static str> {
    let kinds = list.by_machine();
    let kind = kinds.get(machine.address.to_string().as_str());
    let kind = kind.ok_or("it was not reached before the build, and is sent nothing")?;
    let folders = [*kind, ANY].map(|name| releases.join(name));
    folders.into_iter().find(|folder| folder.exists()).ok_or("its release could not be built")
}

/// Offers, sends and deploys.
fn send(
    place: &AppContext<'_>,
    to: &DeployTo,
    machines: &mut [TargetHost<'_>],
    parts: &BTreeMap<PathBuf, ReleaseParts<'_>>,
) -> anyhow::Result<ExitCode> {
    // One that has no release has failed and is not asked.
    let of = |machine: &TargetHost<'_>| parts.get(&machine.folder).context("no release for it");
    each(machines, |machine| machine.offer(of(machine)?.head()));
    let has_failed = |machines: &[TargetHost<'_>]| machines.iter().any(|machine| machine.failure.is_some());
    if to.all_or_nothing && has_failed(machines) {
        return Ok(go_back_here(place, to, machines, "nothing was sent"));
    }
    if machines.iter().all(|machine| machine.failure.is_some()) {
        return Ok(go_back_here(place, to, machines, ""));
    }
    let mut packed: BTreeMap<&Path, PackedParts> = BTreeMap::new();
    for (folder, parts) in parts {
        let its = machines.iter().filter(|machine| machine.folder == *folder && machine.failure.is_none());
        let mut lacked: Vec<String> = its.flat_map(|machine| machine.lacks.clone()).collect();
        lacked.sort();
        lacked.dedup();
        packed.insert(folder, parts.pack(&lacked)?);
    }
    let of = |machine: &TargetHost<'_>| packed.get(machine.folder.as_path()).context("no release for it");
    each(machines, |machine| machine.send(of(machine)?));
    if to.all_or_nothing && has_failed(machines) {
        return Ok(go_back_here(place, to, machines, "none of them has deployed it"));
    }
    each(machines, |machine| machine.deploy(of(machine)?));
    if to.all_or_nothing && has_failed(machines) {
        progress::step("Not all of them have deployed it: the others go back");
        each_of_all(machines, TargetHost::undo);
    }
    let app = place.dir();
    if app.current_number().is_none() {
        let keys: Vec<_> = parts.values().map(ReleaseParts::layers).collect::<anyhow::Result<_>>()?;
        old_layers::remove(&app.layers(), &keys.concat());
    }
    Ok(go_back_here(place, to, machines, ""))
}

/// Does it for all machines at once that have not failed.
fn each<'a>(
    machines: &mut [TargetHost<'a>],
    what: impl Fn(&mut TargetHost<'a>) -> anyhow::Result<()> + Sync,
) {
    each_of_all(machines, |machine| {
        if machine.failure.is_none() {
            if let Err(err) = what(machine) {
                machine.failure = Some(format!("{err:#}"));
            }
        }
    });
}

fn each_of_all<'a>(machines: &mut [TargetHost<'a>], what: impl Fn(&mut TargetHost<'a>) + Sync) {
    thread::scope(|scope| {
        for machine in machines {
            scope.spawn(|| what(machine));
        }
    });
}

/// Says how it ended on each machine.
fn end(machines: &[TargetHost<'_>], but: &str) -> ExitCode {
    let failed = machines.iter().filter(|machine| machine.failure.is_some()).count();
    for machine in machines {
        match (&machine.failure, machine.release) {
            (Some(why), _) => progress::error(&format!("{}: {why}", machine.name)),
            (None, Some(release)) => progress::step(&format!("{}: release {release} is live", machine.name)),
            (None, None) => progress::step(&format!("{}: it has what it had", machine.name)),
        }
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    let but = if but.is_empty() { String::new() } else { format!("; {but}") };
    progress::error(&format!("{failed} of {} machines failed{but}", machines.len()));
    ExitCode::FAILURE
}

/// The same. This machine goes back too, where it has deployed, one has failed and all are to be the same.
fn go_back_here(place: &AppContext<'_>, to: &DeployTo, machines: &[TargetHost<'_>], but: &str) -> ExitCode {
    let code = end(machines, but);
    let has_failed = machines.iter().any(|machine| machine.failure.is_some());
    if has_failed && to.all_or_nothing && to.here {
        progress::step("This machine goes back too");
        let live = place.dir().current_number().context("there is no live release");
        if let Err(err) = live.and_then(|live| release::go_back(place, live)) {
            progress::error(&format!("this machine: {err:#}"));
        }
    }
    code
}

/// One line at a time, whichever machine says it.
static SAYING: Mutex<()> = Mutex::new(());

/// A machine's own line, its name in front.
fn say(name: &str, line: &str) {
    let _one = SAYING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    progress::remote(name, line);
}
