//! Directories and settings of a running build.

use std::path::Path;

use piku_files::TreeHandle;
use piku_layout::settings::HostSettings;
use piku_release::removals;
use piku_report::progress;

use crate::build::work_folder::WorkFolder;
use crate::step::environment;
use crate::step::step_runner::StepMount;
use crate::step::step_runner::StepRunner;
use crate::store::layer::LayerStore;
use crate::tree::copy::{self, CopyExclusions};

/// Directories and settings of one build.
pub(crate) struct BuildContext<'a> {
    pub(crate) settings: &'a HostSettings,
    pub(crate) jailed: bool,
    pub(crate) cache: &'a Path,
    pub(crate) store: &'a LayerStore,
    pub(crate) work: &'a WorkFolder,
    /// Tree of the previous release, which is read-only.
    pub(crate) before: Option<TreeHandle>,
    /// True if results of earlier builds may be reused.
    pub(crate) takes_made: bool,
}

impl BuildContext<'_> {
    /// Copies a tree to the directory `name` of `to` if there is enough space, without the build's own
    /// directories. `what` names the copy in messages.
    pub(crate) fn copy(
        &self,
        from: &TreeHandle,
        to: &TreeHandle,
        name: &str,
        what: &str,
    ) -> anyhow::Result<()> {
        let leave = CopyExclusions::new([self.cache, self.store.path(), self.work.path()]);
        let need = copy::measure_tree(from, &leave)?;
        removals::check_space(self.work.path(), need, what)?;
        for odd in copy::copy_tree(from, to, name, &leave, need)? {
            progress::warning(&format!(
                "'{}' is left out: it is neither a file nor a folder nor a link",
                odd.display()
            ));
        }
        Ok(())
    }

    /// Returns the tree of the previous release if its results may be reused.
    pub(crate) fn reusable_tree(&self) -> Option<&TreeHandle> {
        self.before.as_ref().filter(|_| self.takes_made)
    }

    /// Returns a runner for steps in the tree at `app`.
    pub(crate) fn step_runner<'a>(
        &'a self,
        app: &'a Path,
        app_writable: bool,
        mounts: Vec<StepMount>,
        env: &'a environment::Variables,
    ) -> StepRunner<'a> {
        StepRunner {
            jailed: self.jailed,
            app,
            app_writable,
            cache: self.cache,
            home: self.work.join("home"),
            mounts,
            ports: self.settings.reserved_ports(),
            memory: self.settings.build_memory.as_deref(),
            env,
        }
    }
}
