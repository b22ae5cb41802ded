//! The operator's lock of an app: while it is there, nothing new is deployed.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;
use piku_files::atomic_file;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::name::AppName;
use crate::paths::AppDir;

/// Environment variable of the deploy that belongs to a restore: the lock that came with the app does not stop it. No
/// key can set it.
pub const RESTORED: &str = "PIKU_RESTORED";
/// Longest reason, in bytes.
const LONGEST: usize = 500;

/// The lock of an app: its owner, its start and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployLock {
    /// Name of the key, or of the operator on the server.
    pub by: String,
    /// Time from which it is locked.
    pub at: jiff::Timestamp,
    /// Empty if none was given.
    #[serde(default)]
    pub reason: String,
}

impl DeployLock {
    /// Returns a lock that begins now.
    ///
    /// # Errors
    /// Fails if the reason is longer than 500 bytes.
    pub fn new(by: &str, reason: &str) -> anyhow::Result<Self> {
        if reason.len() > LONGEST {
            let what = format!("the reason has {} bytes, more than {LONGEST}", reason.len());
            return Err(UserError::new(what).hint("give a short one").into());
        }
        let one_line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { by: by.to_owned(), at: jiff::Timestamp::now(), reason: one_line })
    }

    /// Reads the lock; `None` if the app is not locked.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is no lock. The app counts as locked then.
    pub fn read(app: &AppDir) -> anyhow::Result<Option<Self>> {
        let path = app.deploy_lock();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let bad = || format!("bad lock in '{}'; remove it: piku unlock", path.display());
        serde_json::from_slice(&text).map(Some).with_context(bad)
    }

    /// Locks the app. Returns false if it is locked already, also if two try at once.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn create(&self, app: &AppDir) -> anyhow::Result<bool> {
        let path = app.deploy_lock();
        let aside = path.with_file_name(format!(".locked.{}", std::process::id()));
        let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
        let made = (|| {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            // Unlike a rename, a link replaces nothing.
            fs::hard_link(&aside, &path)?;
            atomic_file::sync_parent(&path)
        })();
        let _ = fs::remove_file(&aside);
        match made {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(err) => Err(err).with_context(|| format!("cannot write '{}'", path.display())),
        }
    }

    /// Describes the lock in one line: `blog is locked by alice since TIME: REASON`.
    #[must_use]
    pub fn describe(&self, app: &AppName) -> String {
        let Self { by, at, reason } = self;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("{app} is locked by {by} since {at:.0}{reason}")
    }
}

/// Removes the lock. Returns whether there was one.
///
/// # Errors
/// Fails if it cannot be removed.
pub fn remove(app: &AppDir) -> anyhow::Result<bool> {
    let path = app.deploy_lock();
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err).with_context(|| format!("cannot remove '{}'", path.display())),
    }
}

/// Checks that deploys are allowed.
///
/// # Errors
/// Fails with who has locked the app, since when and why.
pub fn check_unlocked(app: &AppName, dir: &AppDir) -> anyhow::Result<()> {
    match DeployLock::read(dir)? {
        None => Ok(()),
        Some(lock) => {
            Err(UserError::new(lock.describe(app)).hint(format!("to deploy again: piku unlock {app}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PikuRoot;

    #[test]
    fn first_lock_stays() {
        let dir = tempfile::tempdir().unwrap();
        let name: AppName = "blog".parse().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&name);
        fs::create_dir_all(app.path()).unwrap();
        check_unlocked(&name, &app).unwrap();
        assert!(DeployLock::new("alice", " the\n freeze ").unwrap().create(&app).unwrap());
        assert!(!DeployLock::new("bob", "").unwrap().create(&app).unwrap());
        let told = check_unlocked(&name, &app).unwrap_err().to_string();
        assert!(
            told.starts_with("blog is locked by alice since 2") && told.ends_with("Z: the freeze"),
            "{told}"
        );
        assert_eq!(fs::read_dir(app.path()).unwrap().count(), 1);
        assert!(remove(&app).unwrap() && !remove(&app).unwrap());
        fs::write(app.deploy_lock(), "").unwrap();
        check_unlocked(&name, &app).unwrap_err();
        assert!(DeployLock::new("bob", &"x".repeat(501)).is_err());
    }
}
