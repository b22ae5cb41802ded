//! `cancel APP`: ends the build that is under way. Who belongs to it is asked of the kernel: the app's lock is inherited by
//! all that a push has started, and by nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_procfile::failure::Failure;
use piku_procfile::layout::AppDir;
use piku_procfile::name::AppName;

use crate::lock::{self, Note};
use crate::talk;

/// What can be ended: the tools of the stages before anything of the new release is started.
const ENDED: [&str; 2] = ["piku-build", "piku-receive export"];
/// What has the new release in its hands.
const TOO_LATE: &str = "piku-run";

/// Ends it; what it had made is removed by the push itself, which fails.
pub(crate) fn run(app: &AppName, dir: &AppDir, by: &str) -> anyhow::Result<()> {
    let under_way = programs(&dir.lock())?;
    let mut ended = 0;
    for (pid, program) in &under_way {
        if ENDED.contains(&program.as_str()) {
            if ended == 0 {
                lock::note(dir, &Note::Cancelled(by.to_owned())).context("cannot leave word of it")?;
            }
            // One that has ended by itself meanwhile needs no end.
            let _ = kill(*pid, Signal::SIGTERM);
            ended += 1;
        }
    }
    if ended > 0 {
        talk::step(&format!("The build of {app} is cancelled"));
        return Ok(());
    }
    if under_way.iter().any(|(_, program)| program == TOO_LATE) {
        let what = format!("{app} is built, its new release is being started");
        return Err(Failure::new(what).hint(format!("to go back afterwards: piku rollback {app}")).into());
    }
    Err(Failure::new(format!("nothing of {app} is being built")).into())
}

/// The processes that have this file open, each with its program, and its subcommand where that tells it from others.
fn programs(lock: &Path) -> anyhow::Result<Vec<(Pid, String)>> {
    let Ok(meta) = fs::metadata(lock) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list '/proc'")? {
        let entry = entry.context("cannot list '/proc'")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = descriptors.flatten().any(|fd| {
            fs::metadata(fd.path()).is_ok_and(|open| (open.dev(), open.ino()) == (meta.dev(), meta.ino()))
        });
        if has {
            found.extend(program(&entry.path()).map(|program| (Pid::from_raw(pid), program)));
        }
    }
    Ok(found)
}

fn program(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let first = words.next()?;
    let name = first.rsplit('/').next().unwrap_or_default().to_owned();
    let second = words.next().unwrap_or_default();
    Some(if name == "piku-receive" { format!("{name} {second}") } else { name })
}
