//! Directories of services. A service has the same files as an app, below `services/` instead of `apps/`, and
//! shares the name space of the apps.

#![expect(clippy::disallowed_methods, reason = "piku's own folders")]

use std::io;
use std::path::PathBuf;

use super::{AppDir, PikuRoot, names_in};
use crate::name::AppName;

/// Prefix of the directory of a service that is being made or removed.
pub const SERVICE_ASIDE: &str = ".aside.";

impl PikuRoot {
    /// Returns the directory with a directory per service.
    #[must_use]
    pub fn services_dir(&self) -> PathBuf {
        self.path().join("services")
    }

    /// Returns the directory of a service, which need not exist.
    #[must_use]
    pub fn service(&self, name: &AppName) -> AppDir {
        AppDir { dir: self.services_dir().join(name.as_str()), run: self.run().join(name.as_str()) }
    }

    /// Returns the directory of a service that is being made or removed, which is no service.
    #[must_use]
    pub fn service_aside(&self, name: &AppName) -> AppDir {
        AppDir {
            dir: self.services_dir().join(format!("{SERVICE_ASIDE}{name}")),
            run: self.run().join(name.as_str()),
        }
    }

    /// Returns true if the name is that of a service.
    #[must_use]
    pub fn is_service(&self, name: &AppName) -> bool {
        self.service(name).path().is_dir()
    }

    /// Lists the services, sorted.
    ///
    /// # Errors
    /// Fails if the folder is there and cannot be read.
    pub fn services(&self) -> io::Result<Vec<AppName>> {
        names_in(&self.services_dir())
    }

    /// Lists everything that has a supervisor: apps and services, sorted.
    ///
    /// # Errors
    /// Fails if one of the folders is there and cannot be read.
    pub fn supervised(&self) -> io::Result<Vec<AppName>> {
        let mut names = self.apps()?;
        names.extend(self.services()?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Returns the directory of the operator's own kinds of services.
    #[must_use]
    pub fn service_kinds(&self) -> PathBuf {
        self.path().join("services.d")
    }
}

impl AppDir {
    /// Returns the file with the kind of the service and the operator's settings for it.
    #[must_use]
    pub fn service_settings(&self) -> PathBuf {
        self.dir.join("service.yaml")
    }

    /// Returns the directory with the data of a service that is being made for another version of its server.
    #[must_use]
    pub fn new_service_data(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    /// Returns the directory with the data of the version that an upgrade has replaced.
    #[must_use]
    pub fn old_service_data(&self) -> PathBuf {
        self.dir.join("data.old")
    }

    /// Returns the directory with a mark for each binding of the service whose data is being restored.
    #[must_use]
    pub fn restores(&self) -> PathBuf {
        self.dir.join("restores")
    }

    /// Returns the file with the version, the port and the bindings of the service.
    #[must_use]
    pub fn service_state(&self) -> PathBuf {
        self.dir.join("state.json")
    }
}
