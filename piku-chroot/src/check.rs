//! `--check`: each layer is tried for real, in a process of its own, and the table says which hold, why not, and what
//! mends it.

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
use crate::errors::diagnosis::{SetupStep, explain};
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
use crate::sys;

const USER: CloneFlags = CloneFlags::CLONE_NEWUSER;
const MOUNT: CloneFlags = USER.union(CloneFlags::CLONE_NEWNS);
const PROCESS: CloneFlags = MOUNT.union(CloneFlags::CLONE_NEWPID);
const NETWORK: CloneFlags = USER.union(CloneFlags::CLONE_NEWNET);
/// Why a layer does not hold, when nothing more is known.
const KILLED: &str = "the process that tried it was killed";
const SHELL_PATH: &CStr = c"/bin/sh";

/// A line of the table.
#[derive(Debug, Serialize)]
struct CheckRow {
    /// Its name.
    layer: &'static str,
    /// Nothing starts without it.
    required: bool,
    /// A jail with these options makes use of it.
    #[serde(skip)]
    wanted: bool,
    /// It is there.
    holds: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// Prints the table; the exit code is 1 when a required layer is missing, with `--strict` when any is.
pub(crate) fn run(plan: &JailPlan, format: PrintFormat, quiet: bool) -> Result<u8> {
    let rows = rows(plan, caller::settle(plan)?);
    if !quiet {
        let mut out = io::stdout().lock();
        match print(&mut out, &rows, format) {
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                return Err(err).context("cannot write the table");
            }
            _ => {}
        }
    }
    let missing = rows.iter().any(|row| !row.holds && (row.required || row.wanted && plan.strict));
    Ok(if missing { FAILED } else { 0 })
}

/// All layers, each tried.
fn rows(plan: &JailPlan, identity: CallerIdentity) -> Vec<CheckRow> {
    let nothing = || Ok(());
    let layers = ProtectionLayers::probe();
    let enter = || {
        let host =
            HostFiles::new(plan, identity).read(false, false).context("cannot read the host's /etc")?;
        root::enter(plan, identity, &host.files, None)
    };
    let restrict = || {
        enter()?;
        capabilities::drop_all()?;
        landlock::restrict(plan, layers.landlock)
    };
    let mut rows = vec![
        row(identity, "user namespace", true, USER, nothing),
        row(identity, "mount namespace", true, MOUNT, || {
            root::detach()?;
            filesystem::memory(MemoryAmount::Bytes(1 << 20), "755", WRITABLE).map(drop)
        }),
        row(identity, "process namespace with its own /proc", true, PROCESS, || proc::new().map(drop)),
        row(identity, "ipc namespace", true, USER | CloneFlags::CLONE_NEWIPC, nothing),
        row(identity, "host name", true, USER | CloneFlags::CLONE_NEWUTS, || namespaces::set_hostname(plan)),
        row(identity, "own network (--net loopback, none)", false, NETWORK, || {
            sys::raise_loopback().context("cannot switch the loopback on")
        }),
        row(identity, "own root, the old one gone", true, PROCESS, enter),
        row(identity, "no capabilities, no_new_privs", true, USER, capabilities::drop_all),
        program_of_the_host(identity, plan, layers, enter),
        groups(plan),
        own_user("newuidmap (--uid-range)", plan, newidmap::usable(newidmap::UIDS)),
        own_user("newgidmap (--uid-range)", plan, newidmap::usable(newidmap::GIDS)),
        own_user("users of their own (--uid-range)", plan, ids::attempt(plan.uid_range.as_ref(), identity)),
    ];
    for protections::ProtectionLayer { name: layer, wanted, missing } in
        layers.all(plan.net, !plan.listen.is_empty())
    {
        let tried = match (missing, layer) {
            (Some(protections::LayerFailure { why, mend }), _) => {
                let (why, mend) = (Some(why.to_owned()), Some(mend.to_owned()));
                CheckRow { layer, required: false, wanted, holds: false, why, mend }
            }
            (None, protections::CGROUP) => {
                row(identity, layer, false, USER | CloneFlags::CLONE_NEWCGROUP, nothing)
            }
            (None, protections::KEYRING) if layers.seccomp => row(identity, layer, false, USER, || {
                capabilities::drop_all()?;
                seccomp::install(Path::new(SHELL))?;
                ensure!(!keyring::available(), "the filter lets keyctl pass");
                Ok(())
            }),
            (None, protections::KEYRING) => row(identity, layer, false, USER, || keyring::begin(true)),
            (None, protections::SOCKETS) if plan.net != NetworkOption::Shared => {
                row(identity, layer, false, NETWORK, nothing)
            }
            (None, protections::SECCOMP) => row(identity, layer, false, USER, || {
                capabilities::drop_all()?;
                seccomp::install(Path::new(SHELL))
            }),
            (None, _) => row(identity, layer, false, PROCESS, restrict),
        };
        rows.push(CheckRow { wanted, ..tried });
    }
    rows.extend(limits::check().into_iter().map(|(controller, held)| limit(plan, controller, held)));
    rows
}

/// A limit for the jail as a whole.
fn limit(plan: &JailPlan, controller: CgroupController, held: Result<(), MissingController>) -> CheckRow {
    let layer = match controller {
        CgroupController::Memory => "memory limit by a cgroup",
        CgroupController::Pids => "pids limit by a cgroup",
        CgroupController::Cpu => "cpu limit by a cgroup",
    };
    let wanted = plan.limits.asks(controller);
    match held {
        Ok(()) => CheckRow { layer, required: false, wanted, holds: true, why: None, mend: None },
        Err(MissingController { why, mend }) => {
            let why = Some(format!("{why}; rlimits hold each process alone"));
            CheckRow { layer, required: false, wanted, holds: false, why, mend }
        }
    }
}

/// What level 2 needs: tried already, and required when it is asked for.
fn own_user(layer: &'static str, plan: &JailPlan, tried: Result<()>) -> CheckRow {
    let asked = plan.uid_range.is_some();
    let (why, mend) = tried.err().map(|err| refusal(&err)).unzip();
    CheckRow { layer, required: asked, wanted: asked, holds: why.is_none(), why, mend: mend.flatten() }
}

/// A program that every Linux has, in a jail with the tree that was asked for, else in the host's. It runs under all that a
/// command does: a filter for another kind of programs than the machine's ends each of them at its first call.
fn program_of_the_host(
    identity: CallerIdentity,
    plan: &JailPlan,
    layers: ProtectionLayers,
    enter: impl FnOnce() -> Result<()>,
) -> CheckRow {
    let mut row = row(identity, "a program runs in it", true, PROCESS, || {
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
        row.why = Some(format!("{SHELL} ends at once: it is for another kind of machine than piku-chroot"));
        row.mend = Some("install the piku that is built for the programs of this machine".to_owned());
    }
    row
}

/// A layer that is tried in new namespaces.
fn row(
    identity: CallerIdentity,
    layer: &'static str,
    required: bool,
    flags: CloneFlags,
    attempt: impl FnOnce() -> Result<()>,
) -> CheckRow {
    match in_a_process(identity, flags, attempt) {
        Ok(()) => CheckRow { layer, required, wanted: true, holds: true, why: None, mend: None },
        Err((why, mend)) => CheckRow { layer, required, wanted: true, holds: false, why: Some(why), mend },
    }
}

/// The caller's other groups cannot be left in a namespace with one user.
fn groups(plan: &JailPlan) -> CheckRow {
    let others = if plan.uid_range.is_some() { 0 } else { caller::other_groups() };
    let holds = others == 0;
    CheckRow {
        layer: "no rights of other groups",
        required: false,
        wanted: true,
        holds,
        why: (!holds)
            .then(|| format!("the user is in {others} more groups, and the command keeps their rights")),
        mend: (!holds).then(|| "use --uid-range, or run it as a user who is in no other group".to_owned()),
    }
}

/// What an attempt said when it failed: why, and what mends it.
type Refusal = (String, Option<String>);

fn refusal(err: &Error) -> Refusal {
    (format!("{err:#}"), advice(err).0.into_iter().next())
}

/// Tries something in a process in new namespaces.
fn in_a_process(
    identity: CallerIdentity,
    flags: CloneFlags,
    attempt: impl FnOnce() -> Result<()>,
) -> Result<(), Refusal> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| (err.to_string(), None))?;
    let mut writer = Some(File::from(writer));
    let pid = sys::spawn(flags, || {
        let result = namespaces::map(identity).and_then(|()| attempt());
        let Err(err) = result else { return 0 };
        let (why, mend) = refusal(&err);
        if let Some(mut writer) = writer.take() {
            // Should it fail, the exit code still says that something did.
            let _ = write!(writer, "{why}\n{}", mend.unwrap_or_default());
        }
        FAILED
    });
    let pid = pid.map_err(|err| refusal(&explain(SetupStep::Namespaces, &err)))?;
    drop(writer);
    let mut said = String::new();
    let read = File::from(reader).read_to_string(&mut said);
    match waitpid(pid, None) {
        Ok(nix::sys::wait::WaitStatus::Exited(_, 0)) if read.is_ok() => Ok(()),
        _ if said.is_empty() => Err((KILLED.to_owned(), None)),
        _ => {
            let (why, mend) = said.split_once('\n').unwrap_or((&said, ""));
            Err((why.to_owned(), (!mend.is_empty()).then(|| mend.to_owned())))
        }
    }
}

fn print(out: &mut impl Write, rows: &[CheckRow], format: PrintFormat) -> io::Result<()> {
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
    if let Some(mend) = &row.mend {
        writeln!(out, "    mend: {mend}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_each_format() {
        let rows = [
            CheckRow { layer: "one", required: true, wanted: true, holds: true, why: None, mend: None },
            CheckRow {
                layer: "two",
                required: true,
                wanted: true,
                holds: false,
                why: Some("w".into()),
                mend: Some("m".into()),
            },
        ];
        let text = |format| {
            let mut out = Vec::new();
            print(&mut out, &rows, format).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines = text(PrintFormat::Text);
        assert!(lines.starts_with("one  "), "{lines}");
        assert!(lines.ends_with("no, required\n    why:  w\n    mend: m\n"), "{lines}");
        let json: serde_json::Value = serde_json::from_str(&text(PrintFormat::Json)).unwrap();
        assert_eq!(json[1]["mend"], "m");
        assert_eq!(json[0]["holds"], true);
        assert!(json[0].get("why").is_none());
    }
}
