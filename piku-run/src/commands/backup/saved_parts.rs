//! The parts of an app that a backup has, read from its folder.

#![expect(clippy::disallowed_methods, reason = "the app's own folder and files, which only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use piku_backup::{BackupPart, SavedApp};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_release::manifest::{self, BuiltRelease};

use super::{repository, services};
use crate::commands::services::refuse_service;
use crate::config::store;
use crate::kubernetes;
use crate::process::git_command::look_for_refs;
use crate::releases::current;

/// An app as it is when a backup begins: its description, and the content of its small parts.
#[derive(Debug)]
pub(super) struct SavedParts {
    pub(super) saved: SavedApp,
    /// All parts in the order of the archive.
    pub(super) parts: Vec<(BackupPart, SavedContent)>,
}

/// Content of a part.
#[derive(Debug)]
pub(super) enum SavedContent {
    /// Text in memory.
    Text(Vec<u8>),
    /// Output of a program.
    Stream,
    /// Nothing, for this reason.
    Missing(String),
}

impl SavedParts {
    /// Reads an app.
    ///
    /// # Errors
    /// Fails if there is no such app, if it is a service, and, if `is_strict`, if its data in one cannot be saved.
    pub(super) fn read(
        root: &PikuRoot,
        app: &AppName,
        with_services: bool,
        is_strict: bool,
    ) -> anyhow::Result<Self> {
        refuse_service(root, app)?;
        let dir = root.app(app);
        current::check_not_destroyed(&dir)?;
        if !dir.is_there() {
            return Err(unknown_app(root, app).into());
        }
        kubernetes::warn_of_cluster_files(root, app, "its files there are not saved, only those here")?;
        let live = dir.current_number();
        let commit = live.and_then(|live| BuiltRelease::read(&dir.release(live)).ok());
        let mut services = Vec::new();
        let mut dumps = Vec::new();
        let described = if with_services { services::describe_services(root, app)? } else { Vec::new() };
        for (service, check) in described {
            let content = match check {
                Ok(()) => SavedContent::Stream,
                Err(err) if is_strict => return Err(err),
                Err(err) => SavedContent::Missing(format!("{err:#}")),
            };
            dumps.push((BackupPart::Service(app.clone(), service.variable.clone()), content));
            services.push(service);
        }
        let saved = SavedApp {
            app: app.clone(),
            branch: repository::read_branch(&dir.repo()),
            commit: commit.map(|live| live.commit).filter(|commit| commit.len() == 40),
            stopped: dir.stopped().exists(),
            maintenance: dir.is_in_maintenance(),
            services,
        };
        // Brings it up to date.
        store::read(&dir)?;
        let mut parts = Vec::new();
        let refs = if dir.repo().is_dir() { look_for_refs(&dir.repo()) } else { Ok(false) };
        let repository = match refs {
            Ok(has_refs) => has_refs.then_some(SavedContent::Stream),
            Err(err) => Some(SavedContent::Missing(format!("{err:#}"))),
        };
        parts.extend(repository.map(|content| (BackupPart::Repository(app.clone()), content)));
        let release = live.map(|live| dir.release(live).join(manifest::FILE));
        let files = [
            (dir.repo().join("shallow"), BackupPart::Shallow(app.clone())),
            (dir.config(), BackupPart::Config(app.clone())),
            (dir.formation(), BackupPart::Formation(app.clone())),
            (dir.deploy_lock(), BackupPart::DeployLock(app.clone())),
        ];
        for (path, part) in files {
            push_file(&mut parts, &path, part)?;
        }
        if let Some(path) = release {
            push_file(&mut parts, &path, BackupPart::Release(app.clone()))?;
        }
        if current::has_dir(dir.path(), "data") {
            parts.push((BackupPart::Data(app.clone()), SavedContent::Stream));
        }
        parts.extend(dumps);
        Ok(Self { saved, parts })
    }
}

fn push_file(
    parts: &mut Vec<(BackupPart, SavedContent)>,
    path: &Path,
    part: BackupPart,
) -> anyhow::Result<()> {
    match fs::read(path) {
        Ok(text) => parts.push((part, SavedContent::Text(text))),
        Err(err) if err.kind() == ErrorKind::NotFound => {}
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    }
    Ok(())
}
