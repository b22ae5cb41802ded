//! `ship`: a release that was built here goes to the machines that `deploy_to` names, and each of them deploys it as its own. The
//! other end is `release`.
//!
//! All machines are asked before anything is packed, and have everything before any of them deploys. What a machine says comes
//! with its name in front.

mod machine;
mod parts;
mod session;
mod tidy;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::Context;
use piku_procfile::failure::Failure;
use piku_procfile::output;
use piku_procfile::settings::{DeployTo, Settings};

use crate::hook::Place;
use crate::release;
use crate::talk;
use machine::Machine;
use parts::Parts;

/// `places`: where the app's releases are to run, "here" and machines, a line each.
pub(crate) fn places(place: &Place<'_>) -> anyhow::Result<()> {
    let to = deploy_to(place)?;
    let here = to.here.then(|| "here\n".to_owned());
    let lines: String =
        here.into_iter().chain(to.machines.iter().map(|machine| format!("{machine}\n"))).collect();
    output::write(lines.as_bytes())
}

fn deploy_to(place: &Place<'_>) -> anyhow::Result<DeployTo> {
    let mut settings = Settings::read(&place.root.settings())?;
    let to = settings.deploy_to.remove(place.app).unwrap_or_default();
    if !to.here && to.machines.is_empty() {
        let what = format!("deploy_to of {} in host.yaml names no machine, and 'here: false'", place.app);
        return Err(Failure::new(what).hint("name its machines: [piku@HOST, …]").into());
    }
    Ok(to)
}

/// Sends the release in this folder; nothing to do where no machine is named.
pub(crate) fn run(place: &Place<'_>, dir: &Path) -> anyhow::Result<ExitCode> {
    let to = deploy_to(place)?;
    if to.machines.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let parts = Parts::new(place, dir)?;
    let mut machines: Vec<Machine<'_>> =
        to.machines.iter().map(|machine| Machine::new(place.app, machine, &to)).collect();
    let names: Vec<_> = machines.iter().map(|machine| machine.name.clone()).collect();
    talk::step(&format!("Sending the release to {}", names.join(", ")));

    each(&mut machines, |machine| machine.offer(parts.head()));
    if to.all_or_nothing && machines.iter().any(|machine| machine.failure.is_some()) {
        return Ok(end(place, &to, &machines, "nothing was sent"));
    }
    let mut lacked: Vec<String> = machines.iter().flat_map(|machine| machine.lacks.clone()).collect();
    lacked.sort();
    lacked.dedup();
    if machines.iter().all(|machine| machine.failure.is_some()) {
        return Ok(end(place, &to, &machines, ""));
    }
    let packed = parts.pack(&lacked)?;
    each(&mut machines, |machine| machine.send(&packed));
    if to.all_or_nothing && machines.iter().any(|machine| machine.failure.is_some()) {
        return Ok(end(place, &to, &machines, "none of them has deployed it"));
    }
    each(&mut machines, |machine| machine.deploy(&packed));
    if to.all_or_nothing && machines.iter().any(|machine| machine.failure.is_some()) {
        talk::step("Not all of them have deployed it: the others go back");
        each_of_all(&mut machines, Machine::undo);
    }
    let app = place.dir();
    if app.current_number().is_none() {
        tidy::layers(&app.layers(), &parts.layers()?);
    }
    Ok(end(place, &to, &machines, ""))
}

/// Does it for all machines at once that have not failed.
fn each<'a>(machines: &mut [Machine<'a>], what: impl Fn(&mut Machine<'a>) -> anyhow::Result<()> + Sync) {
    each_of_all(machines, |machine| {
        if machine.failure.is_none() {
            if let Err(err) = what(machine) {
                machine.failure = Some(format!("{err:#}"));
            }
        }
    });
}

fn each_of_all<'a>(machines: &mut [Machine<'a>], what: impl Fn(&mut Machine<'a>) + Sync) {
    thread::scope(|scope| {
        for machine in machines {
            scope.spawn(|| what(machine));
        }
    });
}

/// Says how it ended on each machine. This machine goes back too, where it has deployed and all are to be the same.
fn end(place: &Place<'_>, to: &DeployTo, machines: &[Machine<'_>], but: &str) -> ExitCode {
    let failed = machines.iter().filter(|machine| machine.failure.is_some()).count();
    for machine in machines {
        match (&machine.failure, machine.release) {
            (Some(why), _) => talk::bad(&format!("{}: {why}", machine.name)),
            (None, Some(release)) => talk::step(&format!("{}: release {release} is live", machine.name)),
            (None, None) => talk::step(&format!("{}: it has what it had", machine.name)),
        }
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    let but = if but.is_empty() { String::new() } else { format!("; {but}") };
    talk::bad(&format!("{failed} of {} machines failed{but}", machines.len()));
    if to.all_or_nothing && to.here {
        talk::step("This machine goes back too");
        let live = place.dir().current_number().context("there is no live release");
        if let Err(err) = live.and_then(|live| release::go_back(place, live)) {
            talk::bad(&format!("this machine: {err:#}"));
        }
    }
    ExitCode::FAILURE
}

/// One line at a time, whichever machine says it.
static SAYING: Mutex<()> = Mutex::new(());

/// A machine's own line, its name in front.
fn say(name: &str, line: &str) {
    let _one = SAYING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    talk::of_machine(name, line);
}
