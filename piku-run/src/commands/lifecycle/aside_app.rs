//! A new app that is made in a folder aside, by a clone or from a backup, and appears as a whole.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of the new app, which only piku writes; data is removed inside of jails"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::app_lock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::commands::data;
use crate::config::ConfigValues;
use crate::lock;
use crate::nginx::WebServer;
use crate::releases::current;
use crate::services::state;

/// Settings that belong to one app alone: its host names, and its port.
const OWN: [&str; 2] = ["NGINX_SERVER_NAME", "PORT"];
/// Prefix of the folder; the name of the new app follows.
const ASIDE: &str = ".clone.";

/// The folder of an app that is not there yet, with the lock that the app will have. Dropping it removes it.
#[derive(Debug)]
pub(in crate::commands) struct AsideApp {
    root: PikuRoot,
    name: AppName,
    path: PathBuf,
    lock: Option<FileLock>,
}

impl AsideApp {
    /// Makes an empty folder; what an interrupted clone or restore has left there is removed.
    ///
    /// # Errors
    /// Fails as busy while another app of this name is being made.
    pub(in crate::commands) fn create(root: &PikuRoot, name: &AppName) -> anyhow::Result<Self> {
        let path = root.path().join("apps").join(format!("{ASIDE}{name}"));
        let Some(lock) = lock_folder(&path)? else {
            let what = format!("another clone or restore to {name} is in progress");
            return Err(UserError::new(what).code(BUSY).into());
        };
        let aside = Self { root: root.clone(), name: name.clone(), path, lock: Some(lock) };
        aside.remove_content()?;
        Ok(aside)
    }

    /// Returns the folders that exist, with the names of their apps.
    pub(in crate::commands) fn list_folders(root: &PikuRoot) -> Vec<(AppName, PathBuf)> {
        let entries = fs::read_dir(root.path().join("apps")).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_prefix(ASIDE)?.parse().ok()?;
            Some((name, entry.path()))
        });
        found.collect()
    }

    /// Returns the folder that a killed process has left for this app; `None` if one is at work in it.
    pub(in crate::commands) fn take_over(
        root: &PikuRoot,
        name: &AppName,
        path: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let lock = lock_folder(path)?;
        Ok(lock.map(|lock| Self {
            root: root.clone(),
            name: name.clone(),
            path: path.to_owned(),
            lock: Some(lock),
        }))
    }

    /// Unlocks the folder, and leaves it as it is.
    pub(in crate::commands) fn keep(&mut self) {
        self.lock = None;
    }

    /// Returns the path of an entry of the new app's folder.
    pub(in crate::commands) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(in crate::commands) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it an app. The result is its lock, which no other change can have had.
    pub(in crate::commands) fn publish(mut self) -> anyhow::Result<FileLock> {
        let dir = self.root.app(&self.name);
        crate::folder_moves::move_app_dir(&self.path, dir.path())
            .with_context(|| format!("cannot make '{}'", dir.path().display()))?;
        self.lock.take().context("no lock")
    }

    /// Gives it the name of an app that is there, and its folder aside to that app, in one step. That app is stopped, and its
    /// locks are held. What belongs to the name stays: certificates, grants, keys, and what services keep.
    pub(in crate::commands) fn exchange(&self) -> anyhow::Result<()> {
        let dir = self.root.app(&self.name);
        crate::folder_moves::exchange_dirs(&self.path, dir.path())
            .with_context(|| format!("cannot replace '{}'", dir.path().display()))
    }

    /// Removes the app that was replaced, and what is left of its processes. What fails is told.
    pub(in crate::commands) fn forget_replaced(self) {
        // The site may lead to the old tree; a deploy makes it again. What is left in the folder aside is removed with it.
        let removed = WebServer::load(&self.root)
            .and_then(|web| web.remove_site(&self.name))
            .and_then(|_| current::remove_dir(self.root.app(&self.name).run()));
        if let Err(err) = removed {
            progress::warning(&format!("something of the replaced {} is left: {err:#}", self.name));
        }
    }

    /// Removes everything except for the lock.
    fn remove_content(&self) -> anyhow::Result<()> {
        let data = self.join("data");
        if data.is_dir() {
            data::empty(&self.root, &self.name, &data)?;
            // It may belong to a user of the app's own, who has an empty one left.
            fs::remove_dir(&data).with_context(|| format!("cannot remove '{}'", data.display()))?;
        }
        let cannot = || format!("cannot list '{}'", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(cannot)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != "lock") {
                current::remove_dir(&path)?;
            }
        }
        Ok(())
    }
}

/// Makes the folder and takes its lock; `None` if another process has it.
fn lock_folder(path: &Path) -> anyhow::Result<Option<FileLock>> {
    let file = path.join("lock");
    loop {
        current::create_dir(path)?;
        let lock = match lock::try_lock(&file) {
            // Its last owner has removed the folder.
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            lock => lock.with_context(|| format!("cannot lock '{}'", file.display()))?,
        };
        match lock {
            Some(lock) if !app_lock::is_at(&lock, &file) => {}
            lock => return Ok(lock),
        }
    }
}

impl Drop for AsideApp {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // What cannot be removed now is removed by the next one.
            let _ = self.remove_content();
            let _ = current::remove_dir(&self.path);
        }
    }
}

/// Removes the settings that only one app of a machine can have; returns their names.
pub(in crate::commands) fn remove_own_settings(config: &mut ConfigValues) -> Vec<&'static str> {
    let own: Vec<&str> = OWN.into_iter().filter(|name| config.get(name).is_some()).collect();
    for name in &own {
        config.unset(name);
    }
    own
}

/// Removes the addresses of services that other apps have from the config of a new app, which was that of `source`: it
/// would change their data. Those of `source` have its names; those of an app that was renamed, or has been copied
/// before, have a password of its binding.
pub(in crate::commands) fn remove_bindings_of_others(
    root: &PikuRoot,
    new: &AppName,
    source: &AppName,
    config: &mut ConfigValues,
) -> anyhow::Result<()> {
    let mut removed = Vec::new();
    for app in root.apps().context("cannot list the apps")?.iter().filter(|app| *app != new) {
        for binding in state::bindings(root, app)?.into_iter().map(|one| one.binding) {
            let (names, password) = (&binding.variables, binding.password.as_str());
            let has_password = |name: &String| {
                !password.is_empty() && config.get(name).is_some_and(|value| value.contains(password))
            };
            if app == source || names.iter().any(has_password) {
                let there = names.iter().filter(|name| config.get(name).is_some()).cloned();
                removed.extend(there.collect::<Vec<_>>());
                for name in names {
                    config.unset(name);
                }
            }
        }
    }
    if !removed.is_empty() {
        progress::detail(&format!("without {}, for a service of another app", removed.join(" and ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an app with a binding.
    fn bind(root: &PikuRoot, app: &str, password: &str) {
        let dir = root.service(&format!("db-{app}").parse().unwrap());
        fs::create_dir_all(dir.path()).unwrap();
        fs::create_dir_all(root.app(&app.parse().unwrap()).path()).unwrap();
        fs::write(dir.service_settings(), "kind: postgres\n").unwrap();
        let binding = format!(
            r#"{{"app": "{app}", "variable": "DATABASE", "name": "app", "password": "{password}",
                 "variables": ["DATABASE_URL", "PGHOST"], "state": "bound", "since": "2026-11-29T03:00:00Z"}}"#
        );
        let state = format!(r#"{{"version": "17", "port": 15400, "bindings": [{binding}]}}"#);
        fs::write(dir.service_state(), state).unwrap();
    }

    #[test]
    fn copy_has_no_address_of_another_app_in_a_service() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        fs::create_dir(dir.path().join("apps")).unwrap();
        let names_after = |new: &str, source: &str| {
            let mut config = ConfigValues::default();
            config.set("DATABASE_URL", "postgres://app:hush@127.0.0.1/app").unwrap();
            config.set("PGHOST", "127.0.0.1").unwrap();
            config.set("KEPT", "1").unwrap();
            remove_bindings_of_others(&root, &new.parse().unwrap(), &source.parse().unwrap(), &mut config)
                .unwrap();
            config.0.keys().cloned().collect::<Vec<_>>()
        };
        let all = ["DATABASE_URL", "PGHOST", "KEPT"];
        assert_eq!(names_after("copy", "blog"), all, "no service has an app");
        bind(&root, "blog", "other");
        assert_eq!(names_after("copy", "blog"), ["KEPT"], "the names are those of its binding");
        assert_eq!(names_after("blog", "blog"), all, "it is the app itself");
        assert_eq!(names_after("copy", "shop"), all, "blog has a database of its own");
        bind(&root, "news", "hush");
        assert_eq!(names_after("blog", "blog"), ["KEPT"], "blog was renamed to news");
    }
}
