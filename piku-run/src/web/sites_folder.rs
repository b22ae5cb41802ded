//! What lies where in the folder of piku's nginx. Nothing in it is edited by hand.

#![expect(clippy::disallowed_methods, reason = "nginx's folder, which only piku writes")]

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::{BUSY, UserError};
use serde::{Deserialize, Serialize};

use crate::lock::FileLock;
use crate::releases::current;

/// How long other apps may take with theirs: each holds the lock for a test of the configuration.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a folder for a trial begins.
const TRIAL: &str = ".trial.";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct SitesFolder(PathBuf);

/// What is known of an app's file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SiteFacts {
    /// The names that it answers to.
    pub(super) names: Vec<String>,
    /// In which run of the machine its ports were given; nothing where it sends requests to none.
    pub(super) boot: Option<String>,
    /// Its certificate's folder.
    pub(super) certificate: Option<PathBuf>,
}

impl SitesFolder {
    pub(super) fn of(root: &PikuRoot) -> Self {
        Self(root.nginx())
    }

    /// Makes it, and those in it.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        for below in ["apps", "about", "passwords", "cache"] {
            current::make(&self.0.join(below))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the instance.
    pub(super) fn main(&self) -> PathBuf {
        self.0.join("nginx.conf")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.0.join("nginx.pid")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    pub(super) fn access_log(&self) -> PathBuf {
        self.0.join("access.log")
    }

    pub(super) fn error_log(&self) -> PathBuf {
        self.0.join("error.log")
    }

    /// Held by who keeps the instance running.
    pub(super) fn keeper_lock(&self) -> PathBuf {
        self.0.join("keeper.lock")
    }

    /// An app's file; the last good one.
    pub(super) fn app(&self, app: &AppName) -> PathBuf {
        self.0.join("apps").join(format!("{app}.conf"))
    }

    /// Reads an app's file; nothing when it has none.
    pub(super) fn app_text(&self, app: &AppName) -> Option<String> {
        fs::read_to_string(self.app(app)).ok()
    }

    /// Returns whether an app has a file.
    pub(super) fn has_app(&self, app: &AppName) -> bool {
        self.app(app).exists()
    }

    /// The apps that have a file, with its text.
    pub(super) fn apps(&self) -> anyhow::Result<Vec<(AppName, String)>> {
        let dir = self.0.join("apps");
        let cannot = || format!("cannot read '{}'", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err).with_context(cannot),
        };
        let mut apps = Vec::new();
        for entry in entries {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".conf")?.parse().ok());
            if let Some(app) = name {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
                apps.push((app, text));
            }
        }
        apps.sort();
        Ok(apps)
    }

    fn about_path(&self, app: &AppName) -> PathBuf {
        self.0.join("about").join(format!("{app}.json"))
    }

    /// What is known of the app's file.
    pub(super) fn about(&self, app: &AppName) -> Option<SiteFacts> {
        serde_json::from_slice(&fs::read(self.about_path(app)).ok()?).ok()
    }

    pub(super) fn write_about(&self, app: &AppName, about: &SiteFacts) -> anyhow::Result<()> {
        write(&self.about_path(app), &serde_json::to_vec(about).context("cannot write it as JSON")?)
    }

    /// Where an app's file with passwords is. Another content has another place, so that a file that is in use never changes.
    pub(super) fn passwords(&self, app: &AppName, content: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        self.0.join("passwords").join(format!("{app}.{:016x}", hasher.finish()))
    }

    /// Removes the app's files with passwords but for this one.
    pub(super) fn tidy_passwords(&self, app: &AppName, keep: Option<&Path>) -> anyhow::Result<()> {
        let begin = format!("{app}.");
        for entry in fs::read_dir(self.0.join("passwords")).context("cannot list the passwords")? {
            let path = entry?.path();
            let is_its = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin));
            if is_its && Some(&*path) != keep {
                current::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the app's file and what is known of it.
    pub(super) fn remove(&self, app: &AppName) -> anyhow::Result<()> {
        current::remove(&self.app(app))?;
        current::remove(&self.about_path(app))?;
        self.tidy_passwords(app, None)
    }

    /// There from before a file changes until nginx has been told: whoever finds it tells.
    fn untold(&self) -> PathBuf {
        self.0.join("untold")
    }

    pub(super) fn is_untold(&self) -> bool {
        self.untold().exists()
    }

    pub(super) fn set_untold(&self, untold: bool) -> anyhow::Result<()> {
        let path = self.untold();
        if !untold {
            return current::remove(&path);
        }
        // After a power cut nginx begins anew, and reads all files.
        atomic_file::write_passing(&path, b"", 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Keeps everybody else from the files. Waits for who has them.
    pub(super) fn lock(&self) -> anyhow::Result<FileLock> {
        let path = self.0.join("lock");
        let since = Instant::now();
        loop {
            let lock = FileLock::take(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
            if let Some(lock) = lock {
                self.tidy()?;
                return Ok(lock);
            }
            if since.elapsed() > PATIENCE {
                return Err(UserError::new("others are busy with nginx").hint("try again").code(BUSY).into());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Removes what somebody who was killed has left. The lock is ours.
    fn tidy(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.0).with_context(|| format!("cannot list '{}'", self.0.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TRIAL)) {
                current::remove(&path)?;
            }
        }
        Ok(())
    }

    /// A folder for a trial, gone when it is dropped.
    pub(super) fn trial(&self) -> anyhow::Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new().prefix(TRIAL).tempdir_in(&self.0);
        let dir = dir.with_context(|| format!("cannot make a folder in '{}'", self.0.display()))?;
        DirBuilder::new()
            .mode(0o700)
            .create(dir.path().join("apps"))
            .context("cannot make a folder in it")?;
        Ok(dir)
    }
}

/// Whole, for nobody else's eyes, and on the disk before whatever names it.
pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    atomic_file::write_ordered(path, content, 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))
}
