//! A build under way: where it works, and with what.

use std::path::{Path, PathBuf};

use piku_procfile::settings::Settings;

use crate::copy::{self, Leave};
use crate::inside::Mount;
use crate::layer::Store;
use crate::room::Room;
use crate::work::Work;
use crate::{disk, environment, talk};

/// The places of one build.
pub(crate) struct Bench<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) jailed: bool,
    pub(crate) cache: &'a Path,
    pub(crate) store: &'a Store,
    pub(crate) work: &'a Work,
    /// The tree of the release before, which nobody can write to.
    pub(crate) before: Option<PathBuf>,
    /// Whether what is made there may be taken from it: not when all is to be made anew.
    pub(crate) takes_made: bool,
}

impl Bench<'_> {
    /// Copies a tree without what is this build's own, when there is room for it. `what` it is called.
    pub(crate) fn copy(&self, from: &Path, to: &Path, what: &str) -> anyhow::Result<()> {
        let leave = Leave::new([self.cache, self.store.path(), self.work.path()]);
        disk::check(self.work.path(), copy::measure(from, &leave)?, what)?;
        for odd in copy::copy(from, to, &leave)? {
            talk::warning(&format!(
                "'{}' is left out: it is neither a file nor a folder nor a link",
                odd.display()
            ));
        }
        Ok(())
    }

    /// The tree of the release before, where what it has made may be taken from it.
    pub(crate) fn made_before(&self) -> Option<&Path> {
        self.before.as_deref().filter(|_| self.takes_made)
    }

    /// Where steps are run.
    pub(crate) fn room<'a>(
        &'a self,
        app: &'a Path,
        app_writable: bool,
        mounts: Vec<Mount>,
        env: &'a environment::Variables,
    ) -> Room<'a> {
        Room {
            jailed: self.jailed,
            app,
            app_writable,
            cache: self.cache,
            home: self.work.join("home"),
            mounts,
            memory: self.settings.build_memory.as_deref(),
            env,
        }
    }
}
