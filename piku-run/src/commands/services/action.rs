//! Runs the programs of a kind: beside the server, in the service's own jail and with its data; or as a client of one
//! binding, in a jail that has nothing but the connection.
//!
//! The input and output of a client may be an attacker's. It never sees the service's data, in which the password of
//! the server's administrator is.

use std::fs;
use std::io::Write;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, SERVICE_ASIDE};
use piku_layout::settings::{AppUsers, HostSettings, NetworkMode};
use piku_report::user_error::UserError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::commands::{OneOffReport, app_users, wait_for_app};
use crate::config::store;
use crate::desired::limits;
use crate::instance::environment::{AppIsolation, CommandOptions, ProcessRole, ReleaseContext, Vars};
use crate::instance::network;
use crate::instance::service_process::{ServerPlace, variables};
use crate::releases::current;
use crate::services::kind::ServiceKind;
use crate::services::state::{BoundService, ServiceBinding};

/// Time for a running server to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for a program beside the server, which runs under the lock of the service.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// Waits for the lock of a service, under which its state is read and written.
///
/// # Errors
/// Fails if there is no such service, or as busy.
pub(super) fn lock_service(root: &PikuRoot, service: &AppName) -> anyhow::Result<FileLock> {
    must_be_service(root, service)?;
    wait_for_app(root, service)
}

/// Fails unless there is a service of this name.
pub(super) fn must_be_service(root: &PikuRoot, service: &AppName) -> anyhow::Result<()> {
    if root.is_service(service) {
        return Ok(());
    }
    let known: Vec<String> = root.services().unwrap_or_default().iter().map(ToString::to_string).collect();
    let error = UserError::new(format!("there is no service '{service}'"));
    Err(if known.is_empty() {
        error.hint(format!("to make one: piku service:create KIND --name {service}"))
    } else {
        error.hint(format!("the services are: {}", known.join(", ")))
    }
    .into())
}

/// Returns the variables of a binding for the kind's programs.
pub(super) fn binding_variables(binding: &ServiceBinding) -> [(&'static str, String); 3] {
    [
        ("BINDING_NAME", binding.name.clone()),
        ("BINDING_PASSWORD", binding.password.clone()),
        ("BINDING_VARIABLE", binding.variable.clone()),
    ]
}

/// Runs a program of the kind beside the server, and returns what it printed.
///
/// # Errors
/// Fails with its last line on stderr unless it succeeds.
pub(super) fn run_beside_server(
    root: &PikuRoot,
    service: &AppName,
    program: &str,
    vars: &[(&str, String)],
) -> anyhow::Result<String> {
    run_in_place(root, service, program, vars, &ProgramSetting { place: None, time: LONGEST_RUN, log: None })
}

/// Circumstances of a program beside the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgramSetting<'a> {
    /// `None` for the service's own server.
    pub(super) place: Option<&'a ServerPlace>,
    /// After this time, it is killed.
    pub(super) time: Duration,
    /// Gets what it wrote to stderr.
    pub(super) log: Option<&'a fs::File>,
}

/// Does the same as [`run_beside_server`], beside any server.
pub(super) fn run_in_place(
    root: &PikuRoot,
    service: &AppName,
    program: &str,
    vars: &[(&str, String)],
    setting: &ProgramSetting<'_>,
) -> anyhow::Result<String> {
    let (mut command, _report) = server_command(root, service, program, vars, setting.place)?;
    command.stdin(Stdio::null());
    let out = output_in_time(command, setting.time)
        .with_context(|| format!("cannot run '{program}' of {service}"))?;
    let Some(out) = out else {
        let what = format!("'{program}' of {service} did not end within {} seconds", setting.time.as_secs());
        return Err(UserError::new(what)
            .hint(format!("see what the server says: piku logs {service}"))
            .into());
    };
    if let Some(mut log) = setting.log {
        log.write_all(&out.stderr).context("cannot write the log")?;
    }
    if out.status.success() {
        return String::from_utf8(out.stdout)
            .with_context(|| format!("'{program}' of {service} prints no text"));
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no reason");
    Err(UserError::new(format!("'{program}' of {service} failed: {}", last.trim()))
        .hint(format!("see what the server says: piku logs {service}"))
        .into())
}

/// Returns the command that runs a program of the kind in the service's jail, with its data. With a place, it may listen
/// at the port of the place.
pub(super) fn server_command(
    root: &PikuRoot,
    service: &AppName,
    program: &str,
    vars: &[(&str, String)],
    place: Option<&ServerPlace>,
) -> anyhow::Result<(Command, OneOffReport)> {
    let dir = root.service(service);
    let number = current::live_release(&dir)?.context("the service has no release")?;
    let mut world = ReleaseContext::read(root, service, number)?;
    if let Some(place) = place {
        world.move_service(place);
    }
    let port = place.map(|place| place.port);
    let mut all = world.vars(ProcessRole { ps: "run.1", kind: "run", port })?;
    all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    current::create_data_dir_at(&world.data())?;
    let settings = HostSettings::read(&root.settings())?;
    let limits = limits::of("run", &all)?;
    let users = app_users(root, service, &settings)?;
    let around =
        CommandOptions { limits: &limits, dies_with_caller: true, port, ..CommandOptions::default() };
    let report = OneOffReport::new(dir.run())?;
    let argv = [format!("/app/{program}")];
    let command = world.command(&AppIsolation::new(users, settings), &all, &argv, report.path(), around)?;
    Ok((command, report))
}

/// Runs a command and returns its output; kills it and returns `None` if it does not end in time.
fn output_in_time(mut command: Command, time: Duration) -> anyhow::Result<Option<Output>> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default()).context("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch it")?;
    let (ended, end) = mpsc::channel();
    let reader = thread::spawn(move || ended.send(child.wait_with_output()));
    let in_time = end.recv_timeout(time);
    if in_time.is_err() {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    let _ = reader.join();
    Ok(in_time.ok().transpose()?)
}

/// Waits until the server answers.
pub(super) fn wait_until_ready(root: &PikuRoot, service: &AppName, kind: &ServiceKind) -> anyhow::Result<()> {
    if root.service(service).is_stopped() {
        return Err(UserError::new(format!("{service} is stopped"))
            .hint(format!("to start it: piku start {service}"))
            .into());
    }
    if !kind.has("check") {
        return Ok(());
    }
    let since = Instant::now();
    loop {
        match run_beside_server(root, service, "check", &[]) {
            Ok(_) => return Ok(()),
            Err(err) if since.elapsed() > PATIENCE => {
                return Err(err.context(format!("{service} does not answer")));
            }
            Err(_) => sleep(Duration::from_millis(300)),
        }
    }
}

/// Relation of a client to the process that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientStreams {
    /// It replaces this process, and gets a terminal of its own.
    Terminal,
    /// It replaces this process.
    Inherited,
    /// It reads from this process or writes to it, and ends with it.
    Piped,
}

/// Returns the command that runs a program of the kind as a client of the binding.
pub(super) fn client_command(
    root: &PikuRoot,
    bound: &BoundService,
    program: &str,
    connection: ClientStreams,
) -> anyhow::Result<Command> {
    let kind = ServiceKind::find(root, &bound.kind)?;
    kind.must_have(program)?;
    let settings = HostSettings::read(&root.settings())?;
    let mut vars = Vars::new();
    let all = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOME", "/tmp".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    let all = all.into_iter().chain(variables(&bound.kind, &bound.version, bound.port));
    let all = all.chain(binding_variables(&bound.binding));
    vars.extend(all.map(|(name, value)| (name.to_owned(), value)));
    if let Some(term) = std::env::var_os("TERM").and_then(|term| term.into_string().ok()) {
        vars.insert("TERM".to_owned(), term);
    }
    // Its author is at this client: it has the network and the limits of the app.
    let app = &bound.binding.app;
    let of_app = app_vars(root, app)?;
    let limits = limits::of("run", &of_app)?;
    let own_network = network::of(&of_app, settings.network.of(app))? == NetworkMode::Own;
    let protections = settings.protections.unwrap_or_default();
    let mut jail = JailSpec::profile(BuiltinProfile::Run)
        .app(&kind.folder)
        .hostname(bound.service.as_str())
        .require(&protections);
    jail = if own_network { jail.own_network().connect(bound.port) } else { jail.listen(0) };
    if !limits.is_empty() {
        jail = jail.limit(&limits);
    }
    if settings.app_users == AppUsers::Own {
        jail = jail.own_user(bound.binding.app.as_str(), &root.uid_ranges());
    }
    match connection {
        ClientStreams::Terminal => jail = jail.tty(),
        ClientStreams::Inherited => {}
        ClientStreams::Piped => jail = jail.die_with_caller(),
    }
    Ok(jail.command(vars, &[format!("/app/{program}")]))
}

/// Returns the variables of an app, those of its config alone if its release cannot be read.
fn app_vars(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vars> {
    let dir = root.app(app);
    let live = dir.current_number().and_then(|live| ReleaseContext::read(root, app, live).ok());
    match live {
        Some(world) => world.vars(ProcessRole { ps: "run.1", kind: "run", port: None }),
        None => Ok(store::read(&dir)?.0.into_iter().collect()),
    }
}

/// Fails unless a client has succeeded.
pub(crate) fn check_client(status: ExitStatus, program: &str, bound: &BoundService) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    let what = format!("'{program}' of {} failed for {}", bound.service, bound.binding.app);
    Err(UserError::new(what).hint("its own lines are above").into())
}

/// Locks the directory of all services, for changes of the names in it. Removes what interrupted changes have left.
#[expect(clippy::disallowed_methods, reason = "the directory of all services, which only piku writes")]
pub(super) fn lock_services(root: &PikuRoot) -> anyhow::Result<FileLock> {
    let path = root.services_dir();
    current::create_dir(&path)?;
    let folder = fs::File::open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let lock = FileLock::exclusive(folder).with_context(|| format!("cannot lock '{}'", path.display()))?;
    for entry in fs::read_dir(&path).with_context(|| format!("cannot list '{}'", path.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SERVICE_ASIDE) {
            super::destroy::remove_aside(root, &entry.path())?;
        }
    }
    Ok(lock)
}
