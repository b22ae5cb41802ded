//! Files in an app's directory that mark or record a state of the app.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use piku_files::atomic_file;

use super::AppDir;

/// Name of the file that exists while deploys are refused.
pub const DEPLOY_LOCK: &str = "locked.json";

/// Name of the file with the memory and processor usage of an app.
pub const USAGE_HISTORY: &str = "history.json";

/// Name of the folder with dumps for the services of a restored app.
pub const RESTORING: &str = "restoring";

/// Name of the marker of an app that a restore has made and not deployed yet.
pub const UNDEPLOYED: &str = "undeployed";

impl AppDir {
    /// Creates one of the app's markers, whose existence is all that counts. A verb that makes room must not need any, not
    /// even that of an empty file: on a full disk, the index of the app's source becomes the marker, which may be deleted at
    /// any time, or else a second name of the lock.
    ///
    /// # Errors
    /// Fails if the disk does.
    pub fn create_marker(&self, marker: &Path) -> io::Result<()> {
        match atomic_file::write(marker, b"", 0o600) {
            Err(err) if matches!(err.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let spare = atomic_file::rename(&self.dir.join("source.index"), marker);
                spare.or_else(|_| atomic_file::link(&self.lock(), marker)).map_err(|_| err)
            }
            done => done,
        }
    }

    /// Returns the marker that exists from the first step of the app's removal to its last.
    #[must_use]
    pub fn destroying(&self) -> PathBuf {
        self.dir.join("destroying")
    }

    /// Returns the marker of an app whose data is being copied from another piku.
    #[must_use]
    pub fn importing(&self) -> PathBuf {
        self.dir.join("importing")
    }

    /// Returns true if the import of the app's data was interrupted, or is under way.
    #[must_use]
    pub fn is_importing(&self) -> bool {
        self.importing().exists()
    }

    /// Returns the file that exists while deploys are refused, with who has locked the app and why.
    #[must_use]
    pub fn deploy_lock(&self) -> PathBuf {
        self.dir.join(DEPLOY_LOCK)
    }

    /// Returns the file with the names that the app had before it was renamed.
    #[must_use]
    pub fn former_names(&self) -> PathBuf {
        self.dir.join("former-names")
    }

    /// Returns the folder with the dumps of a restored app that its services do not have yet.
    #[must_use]
    pub fn restoring(&self) -> PathBuf {
        self.dir.join(RESTORING)
    }

    /// Returns true if the services of a restored app do not have its data yet.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.restoring().exists()
    }

    /// Returns the marker of an app that a restore from a backup has made, until its deploy has ended.
    #[must_use]
    pub fn undeployed(&self) -> PathBuf {
        self.dir.join(UNDEPLOYED)
    }

    /// Returns the record that exists from the first step of a renaming to its last.
    #[must_use]
    pub fn renaming(&self) -> PathBuf {
        self.dir.join("renaming.json")
    }

    /// Returns the file with the numbers of deploys that succeeded and failed.
    #[must_use]
    pub fn deploy_totals(&self) -> PathBuf {
        self.dir.join("deploys.json")
    }

    /// Returns the file with the memory and processor usage of a day.
    #[must_use]
    pub fn usage_history(&self) -> PathBuf {
        self.dir.join(USAGE_HISTORY)
    }

    /// Returns the file with the key of the front that passes requests to this machine.
    #[must_use]
    pub fn front_key(&self) -> PathBuf {
        self.dir.join("front-key")
    }

    /// Returns the file with what this machine's front needs of the app: its key and settings of nginx.
    #[must_use]
    pub fn front(&self) -> PathBuf {
        self.dir.join("front.json")
    }

    /// Returns the folder with the state of the machines behind this machine's front.
    #[must_use]
    pub fn front_state(&self) -> PathBuf {
        self.run.join("front")
    }

    /// Returns the folder with what `destroy` has kept of the app, for `restore`.
    #[must_use]
    pub fn destroyed(&self) -> PathBuf {
        self.dir.join("destroyed")
    }

    /// Returns true if the app has a repository or a live release: not only what a destroyed one has left.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.repo().is_dir() || self.current().symlink_metadata().is_ok()
    }

    /// Returns the record of the cluster in which the app runs; missing for one that runs on this machine.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// Returns the records of clusters that the app has left and that may still have objects of it.
    #[must_use]
    pub fn left_cluster(&self) -> PathBuf {
        self.dir.join("left-cluster.json")
    }

    /// Returns true if the instances of the app run in a cluster, and none on this machine.
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        self.cluster().exists()
    }

    /// Returns the marker that exists while all requests are answered with 503.
    #[must_use]
    pub fn maintenance(&self) -> PathBuf {
        self.dir.join("maintenance")
    }

    /// Returns true if all requests get the maintenance page.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.maintenance().exists()
    }

    /// Returns the marker of an app that the operator has stopped: it stays stopped over restarts and boots.
    #[must_use]
    pub fn stopped(&self) -> PathBuf {
        self.dir.join("stopped")
    }

    /// Returns the marker of an app that was stopped with all others, until the daemon is started again.
    #[must_use]
    pub fn paused(&self) -> PathBuf {
        self.run.join("paused")
    }

    /// Returns the file that is locked while a change of the app is passed on to other machines.
    #[must_use]
    pub(crate) fn relay_lock(&self) -> PathBuf {
        self.run.join("relay.lock")
    }

    /// Returns true if no process of the app should run.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped().exists() || self.paused().exists()
    }
}
