//! The directory of piku's nginx: its paths, its lock and its files. Nothing in it is edited by hand.

#![expect(clippy::disallowed_methods, reason = "nginx's folder, which only piku writes")]

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use piku_files::FileLock;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_procfile::render::nginx::{DEFAULT_NAME, add_missing_variables, render_shared_settings};
use piku_report::user_error::{BUSY, UserError};
use serde::{Deserialize, Serialize};

use super::program::NginxBuild;
use crate::lock;
use crate::releases::current;

/// Longest wait for a lock. Each app holds it for one test of the configuration, or for one reload.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// Prefix of the directories in which a configuration is tested.
const TEST_PREFIX: &str = ".trial.";

/// The file beside those of the apps with the settings that they share. No app has this name.
const SHARED_SETTINGS: &str = "_shared.conf";

/// Path of the directory, usually `~/.piku/nginx`.
#[derive(Debug, Clone)]
pub(super) struct NginxDir(PathBuf);

/// Facts about an app's file, stored as JSON. They stay without the file, so that the app keeps its claim to
/// the requests for names that no app has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SiteMetadata {
    /// The host names of the virtual host.
    pub(super) names: Vec<String>,
    /// The host has assigned the names; the app sets none.
    #[serde(default)]
    pub(super) is_assigned: bool,
    /// Boot id under which the upstream ports were claimed; `None` without upstreams.
    pub(super) boot: Option<String>,
    /// Directory of the certificate pair.
    pub(super) certificate: Option<PathBuf>,
}

/// A change of the files that nginx has not loaded. Each differs from all others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PendingChange(String);

/// A text for nginx that is tested. The digest of each is stored apart, since a push tests both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestSubject {
    /// The app's file.
    Site,
    /// The settings of a push, before the build.
    Settings,
}

impl SiteMetadata {
    /// Returns true if the app gets the requests for names that no app has.
    pub(super) fn is_default(&self) -> bool {
        self.names.iter().any(|name| name == DEFAULT_NAME)
    }
}

impl NginxDir {
    pub(super) fn new(root: &PikuRoot) -> Self {
        Self(root.nginx())
    }

    /// Creates the directory and its subdirectories.
    pub(super) fn create(&self) -> anyhow::Result<()> {
        for below in ["apps", "about", "passwords", "cache", "logs"] {
            current::create_dir(&self.0.join(below))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn main_conf(&self) -> PathBuf {
        self.0.join("nginx.conf")
    }

    /// Reads the main file; empty if nginx has never been started.
    pub(super) fn read_main_conf(&self) -> String {
        fs::read_to_string(self.main_conf()).unwrap_or_default()
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.0.join("nginx.pid")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Returns the directory of the apps' logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(super) fn error_log(&self) -> PathBuf {
        self.0.join("error.log")
    }

    /// Returns the lock that `piku-run nginx` holds as long as it runs.
    pub(super) fn service_lock(&self) -> PathBuf {
        self.0.join("keeper.lock")
    }

    /// Returns the path of an app's file, which has always passed the test.
    pub(super) fn app_conf(&self, app: &AppName) -> PathBuf {
        self.0.join("apps").join(format!("{app}.conf"))
    }

    /// Reads an app's file, if it exists.
    pub(super) fn read_app_conf(&self, app: &AppName) -> Option<String> {
        fs::read_to_string(self.app_conf(app)).ok()
    }

    pub(super) fn has_app_conf(&self, app: &AppName) -> bool {
        self.app_conf(app).exists()
    }

    /// Returns the apps that have a file, in order.
    pub(super) fn list_apps(&self) -> anyhow::Result<Vec<AppName>> {
        let dir = self.0.join("apps");
        let cannot = || format!("cannot read '{}'", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err).with_context(cannot),
        };
        let mut apps = Vec::new();
        for entry in entries {
            let name = entry.with_context(cannot)?.file_name();
            apps.extend(name.to_str().and_then(|name| name.strip_suffix(".conf")?.parse::<AppName>().ok()));
        }
        apps.sort();
        Ok(apps)
    }

    /// Reads the files of all apps, sorted by app.
    pub(super) fn read_app_confs(&self) -> anyhow::Result<Vec<(AppName, String)>> {
        let read = |app: AppName| {
            let path = self.app_conf(&app);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()));
            Ok((app, text?))
        };
        self.list_apps()?.into_iter().map(read).collect()
    }

    /// Writes the settings that the files of the apps share, unless they are there. The caller holds the lock of the files.
    pub(super) fn write_shared_settings(&self, build: NginxBuild) -> anyhow::Result<()> {
        let path = self.0.join("apps").join(SHARED_SETTINGS);
        let text = render_shared_settings(build.counts_connections);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        self.fit_shared_settings(build)
    }

    /// Writes the shared settings with all variables that the installed files name, also those of another version of
    /// piku. The caller holds the lock of the files.
    pub(super) fn fit_shared_settings(&self, build: NginxBuild) -> anyhow::Result<()> {
        let confs = self.read_app_confs()?;
        let text = render_shared_settings(build.counts_connections);
        let text = add_missing_variables(text, confs.iter().map(|(_, conf)| conf.as_str()));
        write_private(&self.0.join("apps").join(SHARED_SETTINGS), text.as_bytes())
    }

    /// Returns the cached version of nginx.
    pub(super) fn version_cache(&self) -> PathBuf {
        self.0.join("version.json")
    }

    fn metadata_path(&self, app: &AppName) -> PathBuf {
        self.0.join("about").join(format!("{app}.json"))
    }

    fn tested_path(&self, app: &AppName, subject: TestSubject) -> PathBuf {
        let extension = match subject {
            TestSubject::Site => "tested",
            TestSubject::Settings => "checked",
        };
        self.0.join("about").join(format!("{app}.{extension}"))
    }

    /// Reads the digest of the app's last test that nginx has passed.
    pub(super) fn read_tested(&self, app: &AppName, subject: TestSubject) -> Option<String> {
        fs::read_to_string(self.tested_path(app, subject)).ok()
    }

    pub(super) fn write_tested(
        &self,
        app: &AppName,
        subject: TestSubject,
        digest: &str,
    ) -> anyhow::Result<()> {
        let path = self.tested_path(app, subject);
        // After a power cut it is tested again.
        atomic_file::write_passing(&path, digest.as_bytes(), 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    pub(super) fn read_metadata(&self, app: &AppName) -> Option<SiteMetadata> {
        serde_json::from_slice(&fs::read(self.metadata_path(app)).ok()?).ok()
    }

    pub(super) fn remove_metadata(&self, app: &AppName) -> anyhow::Result<()> {
        current::remove_dir(&self.metadata_path(app))
    }

    pub(super) fn write_metadata(&self, app: &AppName, metadata: &SiteMetadata) -> anyhow::Result<()> {
        let json = serde_json::to_vec(metadata).context("cannot encode the site's metadata as JSON")?;
        write_private(&self.metadata_path(app), &json)
    }

    /// Returns the path of an app's password file. It depends on the content, so a file in use never changes.
    pub(super) fn password_path(&self, app: &AppName, content: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        self.0.join("passwords").join(format!("{app}.{:016x}", hasher.finish()))
    }

    pub(super) fn remove_passwords_except(&self, app: &AppName, keep: Option<&Path>) -> anyhow::Result<()> {
        let begin = format!("{app}.");
        for entry in fs::read_dir(self.0.join("passwords")).context("cannot list the passwords")? {
            let path = entry?.path();
            let is_its = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin));
            if is_its && Some(&*path) != keep {
                current::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the logs and the metadata of the apps for which this is true.
    pub(super) fn remove_records(&self, is_removed: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for dir in [self.logs(), self.0.join("about")] {
            let entries = match fs::read_dir(&dir) {
                Err(err) if err.kind() == ErrorKind::NotFound => continue,
                entries => entries.with_context(|| format!("cannot list '{}'", dir.display()))?,
            };
            for entry in entries {
                let path = entry?.path();
                let app = path.file_name().and_then(|name| name.to_str()?.split('.').next());
                if app.is_some_and(&is_removed) {
                    current::remove_dir(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Renames the logs of an app.
    pub(super) fn rename_logs(&self, from: &AppName, to: &AppName) -> anyhow::Result<()> {
        let dir = self.logs();
        let entries = match fs::read_dir(&dir) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("cannot list '{}'", dir.display()))?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(rest) = name.strip_prefix(from.as_str()).filter(|rest| rest.starts_with('.')) else {
                continue;
            };
            let new = dir.join(format!("{to}{rest}"));
            fs::rename(&path, &new).with_context(|| format!("cannot rename '{}'", path.display()))?;
        }
        Ok(())
    }

    /// Removes the app's file and password files. Its metadata stays.
    pub(super) fn remove_app(&self, app: &AppName) -> anyhow::Result<()> {
        current::remove_dir(&self.app_conf(app))?;
        for subject in [TestSubject::Site, TestSubject::Settings] {
            current::remove_dir(&self.tested_path(app, subject))?;
        }
        self.remove_passwords_except(app, None)
    }

    /// Returns the marker that exists from before a file changes until nginx has reloaded.
    fn reload_marker(&self) -> PathBuf {
        self.0.join("untold")
    }

    /// Returns the last change that nginx has not loaded; `None` if it has loaded all.
    pub(super) fn pending_change(&self) -> Option<PendingChange> {
        fs::read_to_string(self.reload_marker()).ok().map(PendingChange)
    }

    /// Marks a change that follows as not loaded. The caller holds the lock of the files.
    pub(super) fn request_reload(&self) -> anyhow::Result<()> {
        let path = self.reload_marker();
        let change = format!("{} {}", std::process::id(), Timestamp::now().as_nanosecond());
        // Not synced: after a power cut nginx starts and reads all files anyway.
        atomic_file::write_passing(&path, change.as_bytes(), 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Marks all changes as loaded, unless another followed `last`, which was pending when the reload began.
    /// The caller holds the lock of the files.
    pub(super) fn finish_reload(&self, last: &PendingChange) -> anyhow::Result<()> {
        if self.pending_change().as_ref() == Some(last) { self.finish_all_reloads() } else { Ok(()) }
    }

    /// Marks all changes as loaded. The caller has held the lock of the files since before the reload.
    pub(super) fn finish_all_reloads(&self) -> anyhow::Result<()> {
        current::remove_dir(&self.reload_marker())
    }

    /// Waits for the lock that covers all files, and removes what a killed holder left.
    pub(super) fn lock(&self) -> anyhow::Result<FileLock> {
        let lock = wait_for_lock(&self.0.join("lock"))?;
        self.remove_leftovers()?;
        Ok(lock)
    }

    /// Waits for the lock that a process holds while nginx reloads. It is taken before that of the files, never
    /// after it.
    pub(super) fn lock_reload(&self) -> anyhow::Result<FileLock> {
        wait_for_lock(&self.0.join("reload.lock"))
    }

    /// Removes the test directories of killed processes. The caller holds the lock.
    fn remove_leftovers(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.0).with_context(|| format!("cannot list '{}'", self.0.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEST_PREFIX)) {
                current::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    /// Creates a directory for testing a configuration with these settings of all apps; dropping it removes it.
    pub(super) fn create_test_dir(&self, shared: &str) -> anyhow::Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new().prefix(TEST_PREFIX).tempdir_in(&self.0);
        let dir = dir.with_context(|| format!("cannot create a directory in '{}'", self.0.display()))?;
        let apps = dir.path().join("apps");
        DirBuilder::new()
            .mode(0o700)
            .create(&apps)
            .and_then(|()| fs::write(apps.join(SHARED_SETTINGS), shared))
            .with_context(|| format!("cannot create '{}'", apps.display()))?;
        Ok(dir)
    }
}

/// Takes a lock, and waits for it if another process holds it.
fn wait_for_lock(path: &Path) -> anyhow::Result<FileLock> {
    let since = Instant::now();
    loop {
        let lock = lock::try_lock(path).with_context(|| format!("cannot lock '{}'", path.display()))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if since.elapsed() > LOCK_TIMEOUT {
            return Err(UserError::new("nginx is busy with other apps").hint("try again").code(BUSY).into());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Writes a file atomically with mode 0600, synced before any later file that names it.
pub(super) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    atomic_file::write_ordered(path, content, 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))
}
