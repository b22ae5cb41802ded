//! Runs the programs of a kind: beside the server, in the service's own jail and with its data; or as a client of one
//! binding, in a jail that has nothing but the connection.
//!
//! The input and output of a client may be an attacker's. It never sees the service's data, in which the password of
//! the server's administrator is.

use std::fs::{self};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{AppUsers, HostSettings};
use piku_report::user_error::UserError;

use super::kind::ServiceKind;
use super::process_settings::variables;
use super::state::{BoundService, ServiceBinding};
use crate::commands::{OneOffReport, app_users, wait_for_app};
use crate::desired::limits;
use crate::instance::environment::{AppIsolation, CommandOptions, ProcessRole, ReleaseContext, Vars};
use crate::releases::current;

/// Time for a running server to answer.
const PATIENCE: Duration = Duration::from_secs(60);

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
        error.hint(format!("to make one: piku service:create {service}"))
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
    let dir = root.service(service);
    let number = current::live_release(&dir)?.context("the service has no release")?;
    let world = ReleaseContext::read(root, service, number)?;
    let mut all = world.vars(ProcessRole { ps: "run.1", kind: "run", port: None })?;
    all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    current::create_data_dir(&dir)?;
    let settings = HostSettings::read(&root.settings())?;
    let limits = limits::of("run", &all)?;
    let users = app_users(root, service, &settings)?;
    let around = CommandOptions { limits: &limits, dies_with_caller: true, ..CommandOptions::default() };
    let report = OneOffReport::new(dir.run())?;
    let argv = [format!("/app/{program}")];
    let mut command =
        world.command(&AppIsolation::new(users, settings), &all, &argv, report.path(), around)?;
    let out = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run '{program}' of {service}"))?;
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
    let protections = settings.protections.unwrap_or_default();
    let mut jail = JailSpec::profile(BuiltinProfile::Run)
        .app(&kind.folder)
        .hostname(bound.service.as_str())
        .require(&protections)
        .listen(0);
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

/// Waits for a client, and fails unless it succeeds.
pub(super) fn wait_for_client(mut child: Child, program: &str, bound: &BoundService) -> anyhow::Result<()> {
    let status = child.wait().with_context(|| format!("cannot wait for '{program}'"))?;
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
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            super::destroy::remove_aside(root, &entry.path())?;
        }
    }
    Ok(lock)
}

/// Prefix of a service's directory that is being made or removed.
pub(super) const ASIDE: &str = ".aside.";
