//! Paths below the root. Only this module and the scripts define them.

#![expect(clippy::disallowed_methods, reason = "piku's own folders")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::name::AppName;

mod app_dir;
mod app_markers;
mod root_check;
mod service_dirs;

pub use app_dir::AppDir;
pub use service_dirs::SERVICE_ASIDE;

pub use app_markers::{DEPLOY_LOCK, RESTORING, UNDEPLOYED, USAGE_HISTORY};

/// The name of the environment variable with the root's path; without it the root is `~/.piku`.
pub const ROOT_VARIABLE: &str = "PIKU_ROOT";
/// Suffix of a directory that is being removed; its name also begins with a dot.
pub const GONE_SUFFIX: &str = ".gone";
/// Prefix of an app's temporary directory that holds one deploy.
pub const DEPLOY_PREFIX: &str = "deploy.";

/// The folder with everything that piku keeps, mode 0700.
#[derive(Debug, Clone)]
pub struct PikuRoot(PathBuf);

impl PikuRoot {
    /// Returns the given folder, or else `~/.piku`. The command line has read `PIKU_ROOT` (clap's
    /// `env`).
    ///
    /// # Errors
    /// Fails if no folder is given and HOME is not set.
    pub fn new(given: Option<PathBuf>) -> io::Result<Self> {
        given
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".piku")))
            .map(Self)
            .ok_or_else(|| io::Error::other("neither --root nor PIKU_ROOT nor HOME is set"))
    }

    /// Returns the path of the root directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the directory of an app, which need not exist, or of the service that has the name.
    #[must_use]
    pub fn app(&self, name: &AppName) -> AppDir {
        if self.is_service(name) {
            return self.service(name);
        }
        AppDir { dir: self.0.join("apps").join(name.as_str()), run: self.0.join("run").join(name.as_str()) }
    }

    /// Lists the apps that have a folder, sorted. Names that are not an app's are skipped.
    ///
    /// # Errors
    /// Fails if the folder is there and cannot be read.
    pub fn apps(&self) -> io::Result<Vec<AppName>> {
        names_in(&self.0.join("apps"))
    }

    /// Sockets, fifos and pids: what is worthless after a boot.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Returns the lock that the daemon holds; it contains the daemon's pid.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.run().join("daemon.lock")
    }

    /// Returns the control socket of the daemon.
    #[must_use]
    pub fn daemon_socket(&self) -> PathBuf {
        self.run().join("daemon.sock")
    }

    /// Returns the directory with a file per claimed port, locked while an instance has the port. No app can
    /// have this name.
    #[must_use]
    pub fn ports(&self) -> PathBuf {
        self.run().join("ports.d")
    }

    /// Returns the log of all actions with the key that performed them, one per line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    /// Returns the file with the results of scheduled backups.
    #[must_use]
    pub fn backup_record(&self) -> PathBuf {
        self.0.join("backups.json")
    }

    /// Returns the directory with backups of an app's earlier states, which `restore --replace` has replaced.
    #[must_use]
    pub fn replaced(&self, name: &AppName) -> PathBuf {
        self.0.join("replaced").join(name.as_str())
    }

    /// Lists the apps of which earlier states are kept.
    ///
    /// # Errors
    /// Fails if the directory is there and cannot be read.
    pub fn replaced_apps(&self) -> io::Result<Vec<AppName>> {
        names_in(&self.0.join("replaced"))
    }

    /// Returns the file of a change of an app's settings that is not yet noted for the app's other machines.
    #[must_use]
    pub fn unfinished_change(&self, name: &AppName) -> PathBuf {
        self.0.join("changes").join(format!("{name}.json"))
    }

    /// Returns the file of a rollback of the machines of an app that has not ended.
    #[must_use]
    pub fn unfinished_rollback(&self, name: &AppName) -> PathBuf {
        self.0.join("changes").join(format!("{name}.rollback.json"))
    }

    /// Returns the file of a verb about the machines of an app that has not ended.
    #[must_use]
    pub fn unfinished_verb(&self, name: &AppName) -> PathBuf {
        self.0.join("changes").join(format!("{name}.verb.json"))
    }

    /// Returns the apps with changes that have not ended; some may have no folder.
    ///
    /// # Errors
    /// Fails if the folder of the changes cannot be read.
    pub fn changing_apps(&self) -> io::Result<Vec<AppName>> {
        let name = |file: &str| {
            let (app, kind) = file.split_once('.')?;
            ["json", "rollback.json", "verb.json"].contains(&kind).then(|| app.parse().ok())?
        };
        let mut apps = parse_entries(&self.0.join("changes"), name)?;
        apps.dedup();
        Ok(apps)
    }

    /// Returns the file with the subordinate uids of the apps, which piku-chroot writes.
    #[must_use]
    pub fn uid_ranges(&self) -> PathBuf {
        self.0.join("uid-ranges")
    }

    /// Returns the directory of piku's nginx: configuration, logs, temporary files.
    #[must_use]
    pub fn nginx(&self) -> PathBuf {
        self.0.join("nginx")
    }

    /// The operator's pages for sites that are down, such as `maintenance.html`.
    #[must_use]
    pub fn pages(&self) -> PathBuf {
        self.0.join("pages")
    }

    /// Returns the directory of the status page: the page, its metrics and its password.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.0.join("status")
    }

    /// Returns the file with the names and hashed passwords of the readers of the status page.
    #[must_use]
    pub fn status_passwords(&self) -> PathBuf {
        self.status().join("passwd")
    }

    /// Logs of piku's nginx, two for each app: `APP.access.log` and `APP.error.log`.
    #[must_use]
    pub fn nginx_logs(&self) -> PathBuf {
        self.nginx().join("logs")
    }

    /// Tools that builds of all apps share, in layers.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.0.join("tools")
    }

    /// Returns the directory with the bases of container images.
    #[must_use]
    pub fn image_bases(&self) -> PathBuf {
        self.0.join("bases")
    }

    /// Certificates and the state of the ACME client.
    #[must_use]
    pub fn acme(&self) -> PathBuf {
        self.0.join("acme")
    }

    /// Settings of this machine, `host.yaml`.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("host.yaml")
    }
}

/// Returns the entries of a folder that can be names of apps, sorted.
fn names_in(dir: &Path) -> io::Result<Vec<AppName>> {
    parse_entries(dir, |name| name.parse().ok())
}

/// Returns what `parse` makes of the names of a folder's entries, sorted; nothing if there is no folder.
fn parse_entries<T: Ord>(dir: &Path, parse: impl Fn(&str) -> Option<T>) -> io::Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry?.file_name().to_str().and_then(&parse));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_above_releases_and_failed_deploys() {
        let dir = std::env::temp_dir().join(format!("piku-layout-{}", std::process::id()));
        let root = PikuRoot::new(Some(dir.clone())).unwrap();
        let app = root.app(&"blog".parse().unwrap());
        assert_eq!(app.next_number().unwrap(), 1);
        for made in [app.release(9), app.release(10), app.releases().join("11.part")] {
            fs::create_dir_all(made).unwrap();
        }
        assert_eq!(app.next_number().unwrap(), 11);
        fs::create_dir_all(app.log()).and_then(|()| fs::write(app.deploy_log(12), "")).unwrap();
        assert_eq!(app.next_number().unwrap(), 13);
        assert_eq!(app.release_numbers().unwrap(), [9, 10]);
        assert_eq!(root.apps().unwrap(), ["blog".parse().unwrap()]);
        fs::remove_dir_all(dir).unwrap();
    }
}
