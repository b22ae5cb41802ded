//! A server that runs for an upgrade only: on a port of its own, in the jail of the service. It ends with this process.

use std::fs::File;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;
use rustix::process::{Pid, Signal, kill_process};

use crate::commands::OneOffReport;
use crate::commands::services::action::{ProgramSetting, binding_variables, run_in_place, server_command};
use crate::instance::service_process::ServerPlace;
use crate::services::kind::ServiceKind;
use crate::services::state::ServiceBinding;

/// Time for a server to answer: it may make its data, or read it after a crash.
const PATIENCE: Duration = Duration::from_secs(600);
/// Time for a server to end.
const STOP_TIME: Duration = Duration::from_secs(60);
/// Time for a program beside it.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// A running server.
pub(super) struct SpareServer<'a> {
    root: &'a PikuRoot,
    service: &'a AppName,
    pub(super) place: ServerPlace,
    child: Child,
    _report: OneOffReport,
}

impl<'a> SpareServer<'a> {
    /// Starts a server and waits until it answers. Its output goes to `log`.
    ///
    /// # Errors
    /// Fails if it ends, or does not answer in time.
    pub(super) fn start(
        root: &'a PikuRoot,
        service: &'a AppName,
        kind: &ServiceKind,
        place: ServerPlace,
        log: &File,
    ) -> anyhow::Result<Self> {
        let (mut command, report) = server_command(root, service, "start", &[], Some(&place))?;
        let output = || log.try_clone().context("cannot write the log of the upgrade");
        command.stdin(Stdio::null()).stdout(output()?).stderr(output()?);
        let child = command.spawn().with_context(|| format!("cannot run 'start' of {service}"))?;
        let mut server = Self { root, service, place, child, _report: report };
        let since = Instant::now();
        loop {
            let ready =
                if kind.has("check") { server.run("check", None).map(drop) } else { server.connect() };
            match ready {
                Ok(()) => return Ok(server),
                Err(err) if since.elapsed() > PATIENCE => return Err(err),
                Err(_) => {}
            }
            if let Some(status) = server.child.try_wait().context("cannot wait for the server")? {
                let what = format!("{} {} has ended: {status}", kind.about.description, server.place.version);
                return Err(UserError::new(what).into());
            }
            sleep(Duration::from_millis(200));
        }
    }

    fn connect(&self) -> anyhow::Result<()> {
        std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, self.place.port))
            .context("it does not listen")?;
        Ok(())
    }

    /// Runs a program of the kind beside it, for a binding.
    pub(super) fn run(&self, program: &str, binding: Option<&ServiceBinding>) -> anyhow::Result<String> {
        let vars = binding.map(binding_variables);
        let vars = vars.as_ref().map_or(&[][..], |vars| &vars[..]);
        let setting = ProgramSetting { place: Some(&self.place), time: LONGEST_RUN, log: None };
        run_in_place(self.root, self.service, program, vars, &setting)
    }

    /// Has the server write all it has to disk, and end.
    ///
    /// # Errors
    /// Fails if it does not end in time; it is killed then.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let since = Instant::now();
        while self.child.try_wait().context("cannot wait for the server")?.is_none() {
            if since.elapsed() > STOP_TIME {
                return Err(UserError::new(format!("the server of {} does not end", self.service)).into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for SpareServer<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
