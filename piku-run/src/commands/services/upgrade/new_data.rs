//! The data of a service for another version of its server, made beside the data that it has.

#![expect(clippy::disallowed_methods, reason = "the log of an upgrade, which only piku writes")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::spare_server::SpareServer;
use crate::commands::pipe_archive;
use crate::commands::services::action::{ClientStreams, ProgramSetting, client_command, run_in_place};
use crate::commands::services::binding_values::random_password;
use crate::commands::services::server_port::claim_server_port;
use crate::instance::data_jail::export_command;
use crate::instance::data_jail::import_command;
use crate::instance::service_process::ServerPlace;
use crate::releases::current;
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, BoundService, ServiceBinding, ServiceState};

/// Time for a server to convert its data.
const CONVERSION_TIME: Duration = Duration::from_secs(24 * 3600);

/// A service whose server is stopped, and the version that it is to have.
pub(super) struct NewData<'a> {
    pub(super) root: &'a PikuRoot,
    pub(super) name: &'a AppName,
    pub(super) dir: &'a AppDir,
    pub(super) kind: &'a ServiceKind,
    pub(super) state: &'a ServiceState,
    pub(super) version: &'a str,
}

impl NewData<'_> {
    /// Returns the file with what the servers of an upgrade print.
    pub(super) fn log_path(dir: &AppDir) -> PathBuf {
        dir.log().join("upgrade.log")
    }

    /// Makes the data, by the program `upgrade` of the kind on a copy, or by dumps that are restored.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        let path = Self::log_path(self.dir);
        current::create_dir(&self.dir.log())?;
        let log = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let log = log.with_context(|| format!("cannot write '{}'", path.display()))?;
        let data = self.dir.new_service_data();
        current::create_data_dir_at(&data)?;
        let claim = claim_server_port(self.root, None)?;
        let new = ServerPlace { data, version: self.version.to_owned(), port: claim.port() };
        if self.kind.has("upgrade") { self.convert(new, &log) } else { self.copy(new, &log) }
    }

    /// Copies the data, and has the kind bring it to the version.
    fn convert(&self, new: ServerPlace, log: &File) -> anyhow::Result<()> {
        progress::step("Copying the data");
        let whole = pipe_archive(
            &mut export_command(self.root, self.name)?,
            None,
            import_command(self.root, self.name, &new.data)?,
        )?;
        ensure!(whole, "files of the data have changed while they were copied");
        progress::step(&format!("Converting the data to {} {}", self.kind.about.description, self.version));
        let vars = [("SERVICE_OLD_VERSION", self.state.version.clone())];
        let setting = ProgramSetting { place: Some(&new), time: CONVERSION_TIME, log: Some(log) };
        run_in_place(self.root, self.name, "upgrade", &vars, &setting)?;
        SpareServer::start(self.root, self.name, self.kind, new, log)?.stop()
    }

    /// Copies the data of each binding from a server of the old version to one of the new version.
    fn copy(&self, new: ServerPlace, log: &File) -> anyhow::Result<()> {
        let claim = claim_server_port(self.root, None)?;
        let old =
            ServerPlace { data: self.dir.data(), version: self.state.version.clone(), port: claim.port() };
        let old = SpareServer::start(self.root, self.name, self.kind, old, log)?;
        let new = SpareServer::start(self.root, self.name, self.kind, new, log)?;
        for binding in &self.state.bindings {
            new.run("bind", Some(binding))?;
            if !self.kind.about.cache || self.kind.has("dump") {
                progress::step(&format!("Copying the data of {}", binding.app));
                self.copy_binding(binding, &old, &new)?;
            }
            if binding.state == BindingState::Unbound {
                new.run("unbind", Some(binding))?;
            }
        }
        new.stop()?;
        old.stop()
    }

    fn copy_binding(
        &self,
        binding: &ServiceBinding,
        old: &SpareServer<'_>,
        new: &SpareServer<'_>,
    ) -> anyhow::Result<()> {
        let is_locked = binding.state == BindingState::Unbound;
        let mut from = binding.clone();
        if is_locked {
            // The app may know the password that it had, and this command may be killed.
            from.password = random_password()?;
            old.run("bind", Some(&from))?;
        }
        let copied = self.pipe(from.clone(), binding.clone(), old, new);
        if is_locked {
            old.run("unbind", Some(&from))?;
        }
        copied
    }

    /// Runs `dump` of the old server into `restore` of the new one.
    fn pipe(
        &self,
        from: ServiceBinding,
        to: ServiceBinding,
        old: &SpareServer<'_>,
        new: &SpareServer<'_>,
    ) -> anyhow::Result<()> {
        let of = |binding, server: &SpareServer<'_>| BoundService {
            service: self.name.clone(),
            kind: self.kind.name.clone(),
            version: server.place.version.clone(),
            port: server.place.port,
            binding,
        };
        let app = from.app.clone();
        let mut dump = client_command(self.root, &of(from, old), "dump", ClientStreams::Piped)?;
        let mut restore = client_command(self.root, &of(to, new), "restore", ClientStreams::Piped)?;
        let mut dump =
            dump.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run 'dump'")?;
        let stream = dump.stdout.take().context("'dump' has no output")?;
        let restored = restore.stdin(stream).stdout(std::io::stderr()).spawn();
        // A dump whose reader has failed would wait for ever.
        drop(restore);
        let restored = restored.and_then(|mut child| child.wait());
        let dumped = dump.wait().context("cannot wait for 'dump'")?;
        let restored = restored.context("cannot run 'restore'")?;
        if dumped.success() && restored.success() {
            return Ok(());
        }
        let program = if dumped.success() { "restore" } else { "dump" };
        Err(UserError::new(format!("'{program}' failed for {app}")).hint("its own lines are above").into())
    }
}
