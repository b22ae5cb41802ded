//! An app that is being restored in a folder aside.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder aside, which only piku writes; data is written in a jail"
)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use piku_backup::{BackupPart, SavedApp};
use piku_files::free_space::SpaceNeeded;
use piku_files::{TreeHandle, atomic_file};
use piku_layout::deploys::deploy_lock::DeployLock;
use piku_layout::git_history::short_commit;
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::{DEPLOY_LOCK, PikuRoot, RESTORING, UNDEPLOYED};
use piku_release::removals;
use piku_report::diagnostic::{readable, shorten_text};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::quiet_app::{QuietApp, start_guard};
use super::repository::{self, RestoredBranch};
use super::services;
use crate::commands::data_archive::TarReport;
use crate::commands::lifecycle::aside_app::{AsideApp, remove_bindings_of_others, remove_own_settings};
use crate::config::ConfigValues;
use crate::desired::{self, Formation};
use crate::instance::data_jail;
use crate::process::caller_guard::CallerGuard;
use crate::releases::current;

/// Largest small part in bytes.
const LONGEST: u64 = 1 << 20;
/// Number of bytes after which the free space is checked again.
const STEP: u64 = 8 << 20;
/// Longest reason of a lock, and longest name of who has locked.
const LONGEST_REASON: usize = 500;
const BUNDLE: &str = "repo.bundle";

/// An app of an archive, without what was not read yet.
#[derive(Debug)]
pub(super) struct RestoredApp {
    root: PikuRoot,
    pub(super) name: AppName,
    pub(super) saved: SavedApp,
    aside: AsideApp,
    reserve: u64,
    without_services: bool,
    shallow: Option<Vec<u8>>,
    has_bundle: bool,
    lacks_live: bool,
    /// Error after which the data was not unpacked to its end.
    data_error: Option<UserError>,
    /// The lock that it has again.
    lock: Option<DeployLock>,
}

impl RestoredApp {
    pub(super) fn create(
        root: &PikuRoot,
        name: &AppName,
        saved: &SavedApp,
        reserve: u64,
        without_services: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            root: root.clone(),
            name: name.clone(),
            saved: saved.clone(),
            aside: AsideApp::create(root, name)?,
            reserve,
            without_services,
            shallow: None,
            has_bundle: false,
            lacks_live: false,
            data_error: None,
            lock: None,
        })
    }

    /// Writes a part to the folder aside.
    pub(super) fn take(&mut self, part: &BackupPart, content: &mut dyn Read) -> anyhow::Result<()> {
        match part {
            BackupPart::Repository(_) => {
                self.has_bundle = true;
                self.write_file(&self.aside.join(BUNDLE), content)
            }
            BackupPart::Data(_) => self.take_data(content),
            BackupPart::Shallow(_) => {
                self.shallow = Some(read_small(content)?);
                Ok(())
            }
            BackupPart::Config(_) => {
                let mut config: ConfigValues = parse(part, &read_small(content)?)?;
                self.check_config(&mut config).with_context(|| format!("bad '{part}'"))?;
                config.write(&self.aside.join("config.json"))
            }
            BackupPart::Formation(_) => {
                let formation: Formation = parse(part, &read_small(content)?)?;
                ensure!(formation.values().all(|count| *count <= ProcessName::MAX_INSTANCES), "bad '{part}'");
                desired::write_formation(&self.aside.join("formation.json"), &formation)
            }
            BackupPart::DeployLock(_) => {
                let DeployLock { by, at, reason } = parse(part, &read_small(content)?)?;
                // A push prints them.
                let plain = |text: &str| readable(&shorten_text(text, LONGEST_REASON));
                let lock = DeployLock { by: plain(&by), at, reason: plain(&reason) };
                let path = self.aside.join(DEPLOY_LOCK);
                let text = serde_json::to_vec(&lock).context("cannot make JSON of it")?;
                self.lock = Some(lock);
                atomic_file::write(&path, &text, 0o600)
                    .with_context(|| format!("cannot write '{}'", path.display()))
            }
            // The release is built again.
            BackupPart::Release(_) => Ok(()),
            BackupPart::Service(..) if self.without_services => Ok(()),
            BackupPart::Service(_, variable) => {
                let folder = self.aside.join(RESTORING);
                current::create_dir(&folder)?;
                self.write_file(&services::dump_path(&folder, variable), content)
            }
            BackupPart::Host => {
                ensure!(false, "this piku cannot restore '{part}'");
                Ok(())
            }
        }
    }

    /// Checks names and values, and removes those that an app of this machine has.
    fn check_config(&self, config: &mut ConfigValues) -> anyhow::Result<()> {
        let mut checked = ConfigValues::default();
        for (name, value) in &config.0 {
            checked.set(name, value)?;
        }
        *config = checked;
        remove_bindings_of_others(&self.root, &self.name, &self.saved.app, config)?;
        if self.name != self.saved.app && self.root.app(&self.saved.app).is_there() {
            let own = remove_own_settings(config);
            if !own.is_empty() {
                progress::detail(&format!("without {}, which {} has", own.join(" and "), self.saved.app));
            }
        }
        Ok(())
    }

    /// Unpacks the data in a jail that has only its folder, as the app's own user.
    fn take_data(&mut self, content: &mut dyn Read) -> anyhow::Result<()> {
        let data = self.aside.join("data");
        current::create_data_dir_at(&data)?;
        let mut child = data_jail::import_command(&self.root, &self.name, &data)?
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run 'tar'")?;
        let report = TarReport::start(child.stderr.take().context("tar has no stderr")?);
        let mut stdin = child.stdin.take().context("tar has no input")?;
        let copied = self.copy(content, &mut stdin);
        drop(stdin);
        let status = child.wait().context("cannot wait for 'tar'")?;
        match copied {
            // tar does not read what follows the end of its archive.
            Err(err) if is_closed(&err) => {}
            copied => copied?,
        }
        let report = report.join().ok().context("a thread has ended early")?;
        match report.check_unpacked(status) {
            Ok(0) => {}
            Ok(devices) => progress::warning(&format!("{}: devices are left out: {devices}", self.name)),
            // The end of the backup says whether that is so because its data has no end.
            Err(err) => {
                let what = format!("cannot unpack the data of {}: {err:#}", self.name);
                self.data_error = Some(UserError::new(what));
            }
        }
        Ok(())
    }

    fn write_file(&self, path: &Path, content: &mut dyn Read) -> anyhow::Result<()> {
        let cannot = || format!("cannot write '{}'", path.display());
        let mut file = File::create(path).with_context(cannot)?;
        self.copy(content, &mut file).with_context(cannot)
    }

    /// Copies a stream as long as the disk has space.
    fn copy(&self, content: &mut dyn Read, output: &mut dyn Write) -> anyhow::Result<()> {
        loop {
            let need = SpaceNeeded { bytes: STEP, files: 1 };
            removals::check_space_of(&self.root, self.aside.path(), need, self.reserve, "the backup")?;
            if io::copy(&mut content.take(STEP), output)? < STEP {
                return Ok(());
            }
        }
    }

    /// Makes the app complete, except for its name, and marks it if it is to be deployed. The archive was verified.
    pub(super) fn complete(&mut self, skip_deploy: bool) -> anyhow::Result<()> {
        if let Some(err) = self.data_error.take() {
            return Err(err.into());
        }
        let bundle = self.aside.join(BUNDLE);
        let repo = self.aside.join("repo.git");
        if self.has_bundle {
            repository::create_from_bundle(&repo, &bundle, self.shallow.as_deref(), &self.saved)?;
            current::remove_dir(&bundle)?;
            if let Some(commit) = &self.saved.commit {
                match repository::return_to_commit(&repo, commit)? {
                    RestoredBranch::AtLive => {}
                    RestoredBranch::SetBack => progress::detail(&format!(
                        "{} was live, and the branch had gone on: its tip has the tag before-restore",
                        &commit[..7]
                    )),
                    RestoredBranch::LacksLive => self.lacks_live = true,
                }
            }
        } else {
            repository::create_empty(&repo, &self.saved)?;
        }
        if !self.saved.services.is_empty() {
            let path = self.aside.join("config.json");
            let mut config = ConfigValues::read(&path)?;
            services::remove_addresses(&self.saved.services, &mut config);
            config.write(&path)?;
            if !self.without_services {
                services::write_list(&self.aside.join(RESTORING), &self.saved.services)?;
            }
        }
        for (is_set, mark) in [
            (self.saved.maintenance, "maintenance"),
            (self.saved.stopped, "stopped"),
            (self.is_deployable() && !skip_deploy, UNDEPLOYED),
        ] {
            if is_set {
                write_mark(&self.aside.join(mark))?;
            }
        }
        Ok(())
    }

    /// Syncs the disk with all restored apps: after a power cut each is there as a whole or not at all.
    pub(super) fn sync_all(&self) -> anyhow::Result<()> {
        Ok(TreeHandle::open(self.aside.path())?.sync_file_system()?)
    }

    /// Returns true if a deploy makes it what it was.
    pub(super) fn is_deployable(&self) -> bool {
        self.has_bundle && !self.lacks_live && self.saved.commit.is_some() && !self.saved.stopped
    }

    /// Gives the app its name, in place of the one that has it. Returns the guard of what follows.
    pub(super) fn publish(self, replaced: Option<QuietApp>) -> anyhow::Result<Option<CallerGuard>> {
        let Self { root, name, saved, aside, has_bundle, lacks_live, .. } = self;
        let guard = if let Some(replaced) = replaced {
            aside.exchange()?;
            // From here on, the app is the restored one, and what fails has to be told, but does not undo it.
            aside.forget_replaced();
            let guard = replaced.leave_replaced();
            if let Err(err) = services::tell_left_bindings(&root, &name, &saved.services) {
                progress::warning(&format!("cannot tell which services {name} had: {err:#}"));
            }
            guard
        } else {
            let guard = start_guard(&root, &name)?;
            drop(aside.publish()?);
            Some(guard)
        };
        if saved.stopped {
            progress::detail(&format!("{name} was stopped; a deploy starts it"));
        } else if saved.commit.is_none() {
            progress::detail(&format!("{name} had no release"));
        } else if !has_bundle {
            progress::detail("its releases came from another machine: deploy it there");
        } else if lacks_live {
            let commit = saved.commit.as_deref().unwrap_or_default();
            progress::warning(&format!(
                "commit {} of {name} was live, and its repository no longer had it: a deploy makes another one live",
                short_commit(commit)
            ));
        }
        Ok(guard)
    }

    /// Takes the lock that the app has again.
    pub(super) fn take_lock(&mut self) -> Option<DeployLock> {
        self.lock.take()
    }
}

fn write_mark(path: &Path) -> anyhow::Result<()> {
    fs::write(path, b"").with_context(|| format!("cannot write '{}'", path.display()))
}

fn read_small(content: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    content.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn parse<T: serde::de::DeserializeOwned>(part: &BackupPart, text: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(text).with_context(|| format!("bad '{part}'"))
}

/// Returns true for the error of writing to a program that has ended.
fn is_closed(err: &anyhow::Error) -> bool {
    err.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == ErrorKind::BrokenPipe)
}
