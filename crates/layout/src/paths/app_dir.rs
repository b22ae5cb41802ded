//! Paths of an app.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parse_entries;

/// Directory of an app, and its directory for sockets.
#[derive(Debug, Clone)]
pub struct AppDir {
    pub(super) dir: PathBuf,
    pub(super) run: PathBuf,
}

impl AppDir {
    /// Returns the path of the app's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the bare git repository that receives pushes.
    #[must_use]
    pub fn repo(&self) -> PathBuf {
        self.dir.join("repo.git")
    }

    /// Returns the lock that is held while anything changes the app; its text names the holder. Never
    /// unlinked.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Returns the file with the last push's commit and the result of its deploy.
    #[must_use]
    pub fn verdict(&self) -> PathBuf {
        self.dir.join("verdict.json")
    }

    /// Variables that `config:set` has stored.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// Returns the file with the last run of each cron job and its result.
    #[must_use]
    pub fn crons(&self) -> PathBuf {
        self.dir.join("crons.json")
    }

    /// Returns the file with the wanted number of instances of each process type.
    #[must_use]
    pub fn formation(&self) -> PathBuf {
        self.dir.join("formation.json")
    }

    /// Directory with a subdirectory per release.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.dir.join("releases")
    }

    /// Returns the directory of release `number`.
    #[must_use]
    pub fn release(&self, number: u64) -> PathBuf {
        self.releases().join(number.to_string())
    }

    /// Returns the link to the live release: `releases/N`, relative.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.dir.join("current")
    }

    /// Returns the number of the live release, if there is one.
    #[must_use]
    pub fn current_number(&self) -> Option<u64> {
        fs::read_link(self.current()).ok()?.file_name()?.to_str()?.parse().ok()
    }

    /// Returns the numbers of the releases on disk, ascending.
    ///
    /// # Errors
    /// Fails if the folder is there and cannot be read.
    pub fn release_numbers(&self) -> io::Result<Vec<u64>> {
        numbers_in(&self.releases(), "", "")
    }

    /// Returns the number of the next deploy: above every release and every deploy's log, so that the log of
    /// a failed deploy is never written over.
    ///
    /// # Errors
    /// Fails if one of the folders is there and cannot be read.
    pub fn next_number(&self) -> io::Result<u64> {
        let releases = self.release_numbers()?;
        let logs = numbers_in(&self.log(), "deploy-", ".log")?;
        let attempts = numbers_in(&self.log(), "deploy-", ".json")?;
        Ok(1 + releases.last().max(logs.last()).max(attempts.last()).copied().unwrap_or(0))
    }

    /// Returns the directory of the dependency layers, with a subdirectory per cache key.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    /// Parts of releases that come from another machine.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    /// Returns the directory of the package managers' build caches.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Returns the directory of the app's own files, `/data` inside; survives `destroy`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Returns the directory of the changes of running processes in `/app`, with a folder for each, which
    /// piku-chroot makes and removes.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Returns the directory of the logs of instances and deploys.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Returns the log of one instance, such as `web.1`.
    #[must_use]
    pub fn instance_log(&self, instance: &str) -> PathBuf {
        self.log().join(format!("{instance}.log"))
    }

    /// Returns the log of the deploy with this number.
    #[must_use]
    pub fn deploy_log(&self, number: u64) -> PathBuf {
        self.log().join(format!("deploy-{number}.log"))
    }

    /// Returns the record of a deploy, removed when its release exists.
    #[must_use]
    pub fn attempt(&self, number: u64) -> PathBuf {
        self.log().join(format!("deploy-{number}.json"))
    }

    /// Returns the numbers of the deploys without a release, ascending, with the one in progress.
    ///
    /// # Errors
    /// Fails if the folder is there and cannot be read.
    pub fn attempts(&self) -> io::Result<Vec<u64>> {
        let releases = self.release_numbers()?;
        let mut numbers = numbers_in(&self.log(), "deploy-", ".json")?;
        numbers.retain(|number| !releases.contains(number));
        Ok(numbers)
    }

    /// This app's sockets, fifos and records.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Returns the supervisor's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }
}
/// Returns the numbers N of the entries named `PREFIX N SUFFIX`, ascending.
fn numbers_in(dir: &Path, prefix: &str, suffix: &str) -> io::Result<Vec<u64>> {
    parse_entries(dir, |name| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok())
}
