//! `--check`: tries each layer in its own process, and prints which ones hold, and for a missing one the
//! cause and the fix.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::execve;
use piku_report::user_error::{FAILED, advice};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

use crate::cli::{NetworkOption, PrintFormat};
use crate::confinement::protections::{self, ProtectionLayers};
use crate::confinement::{capabilities, keyring, landlock, seccomp};
use crate::errors::diagnosis::{SetupStep, explain_step};
use crate::errors::kernel_version::KernelVersion;
use crate::hostfiles::HostFiles;
use crate::ids::caller::{self, CallerIdentity};
use crate::ids::{self, newidmap};
use crate::init::exec::SHELL;
use crate::limits::delegation::MissingController;
use crate::limits::{self, CgroupController, MemoryAmount};
use crate::namespaces;
use crate::plan::JailPlan;
use crate::root::tree::WRITABLE;
use crate::root::{self, filesystem, proc};
use crate::scratch::WritableApp;
use crate::scratch::overlay;
use crate::sys;

const USER: CloneFlags = CloneFlags::CLONE_NEWUSER;
const MOUNT: CloneFlags = USER.union(CloneFlags::CLONE_NEWNS);
const PROCESS: CloneFlags = MOUNT.union(CloneFlags::CLONE_NEWPID);
const NETWORK: CloneFlags = USER.union(CloneFlags::CLONE_NEWNET);
/// Cause of a missing layer if the process that tried it ends without a word.
const KILLED: &str = "the process that tried it was killed";
const SHELL_PATH: &CStr = c"/bin/sh";

/// Row of the table.
#[derive(Debug, Serialize)]
struct CheckRow {
    layer: &'static str,
    /// No jail starts without it.
    required: bool,
    /// A jail with these options uses it.
    #[serde(skip)]
    wanted: bool,
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(rename = "mend", skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Prints the table. Returns exit code 1 if a required layer is missing, or any layer with `--strict`.
pub(crate) fn run(plan: &JailPlan, format: PrintFormat, quiet: bool) -> Result<u8> {
    let rows = try_layers(plan, caller::become_requested_user(plan)?);
    if !quiet {
        let mut out = io::stdout().lock();
        match print_table(&mut out, &rows, format) {
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                return Err(err).context("cannot write the table");
            }
            _ => {}
        }
    }
    let missing = rows.iter().any(|row| !row.holds && (row.required || row.wanted && plan.strict));
    Ok(if missing { FAILED } else { 0 })
}

fn try_layers(plan: &JailPlan, identity: CallerIdentity) -> Vec<CheckRow> {
    let nothing = || Ok(());
    let layers = ProtectionLayers::probe();
    let enter = || {
        let host = HostFiles::new(plan, identity);
        root::enter_new_root(plan, identity, host.names(), None, WritableApp::default(), None)
    };
    let restrict = || {
        enter()?;
        capabilities::drop_all()?;
        landlock::restrict(plan, layers.landlock)
    };
    let mut rows = vec![
        try_layer(identity, "user namespace", true, USER, nothing),
        try_layer(identity, "mount namespace", true, MOUNT, || {
            root::detach_mounts()?;
            filesystem::new_tmpfs(MemoryAmount::Bytes(1 << 20), "755", WRITABLE).map(drop)
        }),
        try_layer(identity, "process namespace with its own /proc", true, PROCESS, || {
            proc::new_proc().map(drop)
        }),
        try_layer(identity, "ipc namespace", true, USER | CloneFlags::CLONE_NEWIPC, nothing),
        try_layer(identity, "host name", true, USER | CloneFlags::CLONE_NEWUTS, || {
            namespaces::set_hostname(plan)
        }),
        try_layer(identity, "own network (--net loopback, none)", false, NETWORK, || {
            sys::raise_loopback().context("cannot switch the loopback on")
        }),
        try_layer(identity, "own root, the old one gone", true, PROCESS, enter),
        try_layer(identity, "no capabilities, no_new_privs", true, USER, capabilities::drop_all),
        program_row(identity, plan, layers, enter),
        groups_row(plan),
        uid_range_row("newuidmap (--uid-range)", plan, newidmap::check_program(newidmap::UIDS)),
        uid_range_row("newgidmap (--uid-range)", plan, newidmap::check_program(newidmap::GIDS)),
        uid_range_row(
            "users of their own (--uid-range)",
            plan,
            ids::try_mapping(plan.uid_range.as_ref(), identity),
        ),
    ];
    for protections::ProtectionLayer { name: layer, wanted, missing } in
        layers.of_jail(plan.net, !plan.listen.is_empty())
    {
        let tried = match (missing, layer) {
            (Some(protections::LayerFailure { why, fix }), _) => {
                let (why, fix) = (Some(why), Some(fix));
                CheckRow { layer, required: false, wanted, holds: false, why, fix }
            }
            (None, protections::CGROUP) => {
                try_layer(identity, layer, false, USER | CloneFlags::CLONE_NEWCGROUP, nothing)
            }
            (None, protections::KEYRING) if layers.seccomp => try_layer(identity, layer, false, USER, || {
                capabilities::drop_all()?;
                seccomp::install(Path::new(SHELL))?;
                ensure!(!keyring::is_available(), "the filter lets keyctl pass");
                Ok(())
            }),
            (None, protections::KEYRING) => {
                try_layer(identity, layer, false, USER, || keyring::join_new_session(true))
            }
            (None, protections::SOCKETS) if plan.net != NetworkOption::Shared => {
                try_layer(identity, layer, false, NETWORK, nothing)
            }
            (None, protections::SECCOMP) => try_layer(identity, layer, false, USER, || {
                capabilities::drop_all()?;
                seccomp::install(Path::new(SHELL))
            }),
            (None, _) => try_layer(identity, layer, false, PROCESS, restrict),
        };
        rows.push(CheckRow { wanted, ..tried });
    }
    rows.push(overlay_row(identity, plan));
    rows.extend(
        limits::check_controllers().into_iter().map(|(controller, held)| limit_row(plan, controller, held)),
    );
    rows
}

/// Returns the row of `--scratch`. Without it /app is read-only, which keeps nothing from starting.
fn overlay_row(identity: CallerIdentity, plan: &JailPlan) -> CheckRow {
    let row = try_layer(identity, "writable /app (--scratch)", false, MOUNT, || {
        root::detach_mounts()?;
        overlay::try_overlay(plan.scratch.as_deref())
    });
    let advice = if KernelVersion::running() < KernelVersion::new(5, 11) {
        "use Linux 5.11 or newer with overlayfs, and keep ~/.piku on a file system that overlayfs can write to, such as ext4, XFS or \
         Btrfs"
    } else {
        "have the kernel load overlayfs (modprobe overlay), and keep ~/.piku on a file system that it can write to, such as ext4, XFS or \
         Btrfs; in a container, allow it to mount one"
    };
    let fix = row.fix.or_else(|| (!row.holds).then(|| advice.to_owned()));
    CheckRow { fix, wanted: false, ..row }
}

/// Returns the row of a limit for the jail as a whole.
fn limit_row(plan: &JailPlan, controller: CgroupController, held: Result<(), MissingController>) -> CheckRow {
    let layer = match controller {
        CgroupController::Memory => "memory limit by a cgroup",
        CgroupController::Pids => "pids limit by a cgroup",
        CgroupController::Cpu => "cpu limit by a cgroup",
    };
    let wanted = plan.limits.needs(controller);
    match held {
        Ok(()) => CheckRow { layer, required: false, wanted, holds: true, why: None, fix: None },
        Err(MissingController { why, fix }) => {
            let why = Some(format!("{why}; rlimits limit each process alone"));
            CheckRow { layer, required: false, wanted, holds: false, why, fix }
        }
    }
}

/// Returns the row of something that `--uid-range` needs.
fn uid_range_row(layer: &'static str, plan: &JailPlan, tried: Result<()>) -> CheckRow {
    let asked = plan.uid_range.is_some();
    let (why, fix) = tried.err().map(|err| failed_attempt(&err)).unzip();
    CheckRow { layer, required: asked, wanted: asked, holds: why.is_none(), why, fix: fix.flatten() }
}

/// Runs the shell of the given tree, else the host's, under all protections of a command. A filter for
/// another architecture than that of the tree's programs kills each of them at its first system call.
fn program_row(
    identity: CallerIdentity,
    plan: &JailPlan,
    layers: ProtectionLayers,
    enter: impl FnOnce() -> Result<()>,
) -> CheckRow {
    let mut row = try_layer(identity, "a program runs in it", true, PROCESS, || {
        if plan.base.is_some() {
            enter()?;
        }
        capabilities::drop_all()?;
        if plan.base.is_some() {
            landlock::restrict(plan, layers.landlock)?;
        }
        if layers.seccomp {
            seccomp::install(Path::new(SHELL))?;
        }
        let Err(err) = execve(SHELL_PATH, &[c"sh", c"-c", c":"], &[] as &[&CStr]);
        Err(io::Error::from(err)).with_context(|| format!("cannot run {SHELL}"))
    });
    if row.why.as_deref() == Some(KILLED) {
        row.why = Some(format!("{SHELL} ends at once: it is for another architecture than piku-chroot"));
        row.fix = Some("install the piku of the architecture of this machine's programs".to_owned());
    }
    row
}

/// Tries a layer in new namespaces.
fn try_layer(
    identity: CallerIdentity,
    layer: &'static str,
    required: bool,
    flags: CloneFlags,
    attempt: impl FnOnce() -> Result<()>,
) -> CheckRow {
    match run_in_namespaces(identity, flags, attempt) {
        Ok(()) => CheckRow { layer, required, wanted: true, holds: true, why: None, fix: None },
        Err((why, fix)) => CheckRow { layer, required, wanted: true, holds: false, why: Some(why), fix },
    }
}

/// Returns the row of the caller's other groups, which a namespace with one user cannot leave.
fn groups_row(plan: &JailPlan) -> CheckRow {
    let others = if plan.uid_range.is_some() { 0 } else { caller::other_groups() };
    let holds = others == 0;
    CheckRow {
        layer: "no rights of other groups",
        required: false,
        wanted: true,
        holds,
        why: (!holds).then(|| format!("the user is in {others} more groups, whose rights the command keeps")),
        fix: (!holds).then(|| "use --uid-range, or run it as a user with one group".to_owned()),
    }
}

/// Cause and fix of a failed attempt.
type FailedAttempt = (String, Option<String>);

fn failed_attempt(err: &Error) -> FailedAttempt {
    (format!("{err:#}"), advice(err).0.into_iter().next())
}

/// Runs `attempt` in a process in new namespaces.
fn run_in_namespaces(
    identity: CallerIdentity,
    flags: CloneFlags,
    attempt: impl FnOnce() -> Result<()>,
) -> Result<(), FailedAttempt> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| (err.to_string(), None))?;
    let mut writer = Some(File::from(writer));
    let pid = sys::spawn(flags, || {
        let result = namespaces::map_caller(identity).and_then(|()| attempt());
        let Err(err) = result else { return 0 };
        let (why, fix) = failed_attempt(&err);
        if let Some(mut writer) = writer.take() {
            // If this fails, the exit code still says that something did.
            let _ = write!(writer, "{why}\n{}", fix.unwrap_or_default());
        }
        FAILED
    });
    let pid = pid.map_err(|err| failed_attempt(&explain_step(SetupStep::Namespaces, &err)))?;
    drop(writer);
    let mut text = String::new();
    let read = File::from(reader).read_to_string(&mut text);
    match waitpid(pid, None) {
        Ok(nix::sys::wait::WaitStatus::Exited(_, 0)) if read.is_ok() => Ok(()),
        _ if text.is_empty() => Err((KILLED.to_owned(), None)),
        _ => {
            let (why, fix) = text.split_once('\n').unwrap_or((&text, ""));
            Err((why.to_owned(), (!fix.is_empty()).then(|| fix.to_owned())))
        }
    }
}

fn print_table(out: &mut impl Write, rows: &[CheckRow], format: PrintFormat) -> io::Result<()> {
    match format {
        PrintFormat::Text => rows.iter().try_for_each(|row| print_row(out, row)),
        PrintFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, rows)?;
            writeln!(out)
        }
    }
}

fn print_row(out: &mut impl Write, row: &CheckRow) -> io::Result<()> {
    let answer = match (row.holds, row.required) {
        (true, _) => "yes",
        (false, true) => "no, required",
        (false, false) => "no",
    };
    writeln!(out, "{:<38}{answer}", row.layer)?;
    if let Some(why) = &row.why {
        writeln!(out, "    why:  {why}")?;
    }
    if let Some(fix) = &row.fix {
        writeln!(out, "    fix:  {fix}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_each_format() {
        let rows = [
            CheckRow { layer: "one", required: true, wanted: true, holds: true, why: None, fix: None },
            CheckRow {
                layer: "two",
                required: true,
                wanted: true,
                holds: false,
                why: Some("w".into()),
                fix: Some("m".into()),
            },
        ];
        let text = |format| {
            let mut out = Vec::new();
            print_table(&mut out, &rows, format).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines = text(PrintFormat::Text);
        assert!(lines.starts_with("one  "), "{lines}");
        assert!(lines.ends_with("no, required\n    why:  w\n    fix:  m\n"), "{lines}");
        let json: serde_json::Value = serde_json::from_str(&text(PrintFormat::Json)).unwrap();
        assert_eq!(json[1]["mend"], "m");
        assert_eq!(json[0]["holds"], true);
        assert!(json[0].get("why").is_none());
    }
}
