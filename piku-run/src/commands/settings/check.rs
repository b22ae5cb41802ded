//! `check APP FOLDER`: checks the settings of a pushed app before anything is built from it.

use std::path::Path;

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;

use crate::data_limit;
use crate::desired;
use crate::instance::environment::ReleaseContext;
use crate::nginx::WebServer;
use crate::nginx::front::FrontSite;

pub(in crate::commands) fn run(root: &PikuRoot, app: &AppName, folder: &Path) -> anyhow::Result<()> {
    let folder =
        std::path::absolute(folder).with_context(|| format!("cannot find '{}'", folder.display()))?;
    let world = ReleaseContext::of_source(root, app, folder)?;
    let settings = HostSettings::read(&root.settings())?;
    desired::check_limits(&world)?;
    desired::check_kept_paths(&world)?;
    let (plan, ..) = desired::plan(&world, &desired::read_formation(&root.app(app).formation())?);
    desired::check_network(&world, &plan, &settings)?;
    // Another machine has its own ports and names; names of a front are those of this one.
    if settings.deploy_to.get(app).is_some_and(|to| !to.runs_here()) {
        return FrontSite::check_source(root, &world);
    }
    data_limit::check_push(root, app, &world)?;
    desired::pinned_port::check_free(root, &world, &plan)?;
    WebServer::load(root)?.check_values(&world, world.values()?)
}
