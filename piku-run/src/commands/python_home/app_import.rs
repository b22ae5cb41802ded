//! Import of one app. Its branches are fetched last: an app that has one is complete, and is left alone by the
//! next import.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use piku_files::TreeHandle;
use piku_files::free_space::{self, SpaceNeeded};
use piku_layout::git_history::short_commit;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_release::removals;
use piku_report::user_error::UserError;

use super::python_settings::{TranslatedSettings, translate_settings};
use super::source_home::{SourceApp, SourceScaling};
use super::source_repository::{SourceBranch, SourceRepository};
use crate::commands::pipe_archive;
use crate::config::{ConfigChange, ConfigValues, store};
use crate::desired;
use crate::instance::data_jail::import_command;
use crate::nginx;
use crate::process::git_command::has_refs;
use crate::releases::current;

/// Prefix for the paths that `WRITABLE_PATHS` names, in the data.
const INTO_KEPT: &str = "--transform=flags=rSh;s,^,app/,";

/// Everything that is taken over for one app, before anything is written.
#[derive(Debug)]
pub(super) struct ImportPlan {
    repository: SourceRepository,
    branch: SourceBranch,
    settings: TranslatedSettings,
    scaling: SourceScaling,
    data: Option<PathBuf>,
    /// The old work tree, and the paths of it that the data keeps.
    work_tree: Option<PathBuf>,
    kept: Vec<String>,
    size: SpaceNeeded,
    remarks: Vec<String>,
}

impl ImportPlan {
    /// Reads the app from the old home.
    ///
    /// # Errors
    /// Fails if it has no repository with a branch.
    pub(super) fn read(app: &SourceApp<'_>) -> anyhow::Result<Self> {
        let mut remarks = Vec::new();
        let mut find = |folder: &str| {
            app.find_folder(folder).unwrap_or_else(|remark| {
                remarks.push(remark);
                None
            })
        };
        let (bare, work_tree, data) = (find("repos"), find("apps"), find("data"));
        let Some(place) = bare.or_else(|| Some(work_tree.as_ref()?.join(".git"))) else {
            return Err(UserError::new("it has no repository").into());
        };
        app.check_repository(&place)?;
        let repository = SourceRepository(place);
        let live = app.read_live_commit();
        let Some(branch) = repository.choose_branch(live.as_deref())? else {
            return Err(UserError::new("its repository has no branch").into());
        };
        if let Some(live) = live.as_deref().filter(|live| *live != branch.commit) {
            remarks.push(format!(
                "live was {}; a deploy makes the tip of {}, {}, live",
                short_commit(live),
                branch.name,
                short_commit(&branch.commit)
            ));
        }
        let tracked = live.as_deref().map(|live| repository.list_tracked(live));
        let tracked = match tracked {
            Some(Ok(tracked)) => tracked,
            _ => repository.list_tracked(&branch.commit).unwrap_or_default(),
        };
        let (kept, odd) = if tracked.is_empty() { (Vec::new(), Vec::new()) } else { app.find_kept(&tracked) };
        remarks.extend(odd);
        remarks.extend(app.check_procfile());
        let texts = app.read_settings(&mut remarks);
        let settings = translate_settings(&texts, &app.old_name, &kept);
        let size = app.measure()?;
        Ok(Self {
            repository,
            branch,
            settings,
            scaling: app.read_scaling(),
            data,
            work_tree,
            kept,
            size,
            remarks,
        })
    }

    /// Returns what is taken over, in one line.
    pub(super) fn describe(&self) -> String {
        let mut parts = vec![format!("branch {} at {}", self.branch.name, short_commit(&self.branch.commit))];
        if !self.settings.values.is_empty() {
            let names: Vec<&str> = self.settings.values.keys().map(String::as_str).collect();
            parts.push(format!("settings {}", names.join(" ")));
        }
        parts.extend(self.scaling.counts.iter().map(|(name, count)| format!("{name}={count}")));
        if self.data.is_some() {
            parts.push("data".to_owned());
        }
        if !self.kept.is_empty() {
            parts.push(format!("beside the code {}", self.kept.join(" ")));
        }
        format!("{}; {}", parts.join(", "), free_space::size(self.size.bytes))
    }

    /// Returns what differs from the Python piku.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &String> {
        self.remarks.iter().chain(&self.settings.remarks).chain(&self.scaling.remarks)
    }

    /// Writes all of it. Returns remarks about what this piku had already.
    pub(super) fn carry_out(&self, root: &PikuRoot, app: &SourceApp<'_>) -> anyhow::Result<Vec<String>> {
        let dir = root.app(&app.name);
        let reserve = HostSettings::read(&root.settings())?.reserve_bytes();
        removals::check_space_of(root, root.path(), self.size, reserve, "the app")?;
        crate::commands::create_if_missing(root, &app.name)?;
        let mut remarks = Vec::new();
        self.copy_data(root, app, &dir, &mut remarks)?;
        self.store_settings(&dir, &mut remarks)?;
        self.store_scaling(&dir)?;
        if let Some((certificate, key)) = app.read_certificate() {
            match nginx::import_certificate(root, &app.name, &certificate, &key) {
                Ok(Some(names)) => remarks.push(format!("its certificate for {names} is in use")),
                Ok(None) => {}
                Err(err) => remarks.push(format!("its certificate is not imported: {err:#}")),
            }
        }
        self.repository.fetch_into(&dir.repo(), &self.branch)?;
        current::remove_dir(&dir.importing())?;
        Ok(remarks)
    }

    /// Copies the data, unless the app has some that is not of an interrupted import.
    fn copy_data(
        &self,
        root: &PikuRoot,
        app: &SourceApp<'_>,
        dir: &AppDir,
        remarks: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        if self.data.is_none() && self.kept.is_empty() {
            return Ok(());
        }
        if !dir.is_importing() && has_data(dir) {
            remarks.push("its data is not copied: the app has data here already".to_owned());
            return Ok(());
        }
        current::create_dir(&dir.importing())?;
        current::create_data_dir(dir)?;
        let unpack = |tar: &mut Command, names: Option<&str>| {
            pipe_archive(tar, names, import_command(root, &app.name, &dir.data())?)
                .context("cannot copy its data")
        };
        if let Some(data) = &self.data {
            unpack(archive_of(data).arg("."), None)?;
        }
        if let Some(tree) = self.work_tree.as_ref().filter(|_| !self.kept.is_empty()) {
            let mut list = self.kept.join("\0");
            list.push('\0');
            let mut tar = archive_of(tree);
            tar.args([INTO_KEPT, "--null", "--verbatim-files-from", "-T", "-"]);
            unpack(&mut tar, Some(&list))?;
        }
        Ok(())
    }

    /// Stores the settings that the app does not have here.
    fn store_settings(&self, dir: &AppDir, remarks: &mut Vec<String>) -> anyhow::Result<()> {
        let stored = store::read(dir)?;
        let mut wanted = ConfigValues::default();
        let mut differ = Vec::new();
        for (name, value) in &self.settings.values {
            match stored.get(name) {
                Some(own) if own != value => differ.push(name.as_str()),
                Some(_) => {}
                None => wanted.set(name, value)?,
            }
        }
        if !differ.is_empty() {
            remarks.push(format!("set here already, and kept: {}", differ.join(", ")));
        }
        store::apply(dir, &ConfigChange::between(&ConfigValues::default(), &wanted))
    }

    fn store_scaling(&self, dir: &AppDir) -> anyhow::Result<()> {
        if self.scaling.counts.is_empty() {
            return Ok(());
        }
        let mut formation: desired::Formation = self.scaling.counts.iter().cloned().collect();
        formation.extend(desired::read_formation(&dir.formation())?);
        desired::write_formation(&dir.formation(), &formation)
    }
}

/// Returns whether the app is complete here, from an import or a push.
pub(super) fn is_complete(dir: &AppDir) -> bool {
    current::has_dir(dir.path(), "repo.git") && has_refs(&dir.repo())
}

/// Returns whether the app's directory of data has files, or cannot be read.
fn has_data(dir: &AppDir) -> bool {
    match TreeHandle::open(&dir.data()) {
        Ok(data) => !data.is_empty().unwrap_or(false),
        Err(err) => !err.is_missing(),
    }
}

fn archive_of(folder: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["-c", "--sparse", "-C"]).arg(folder);
    tar
}
