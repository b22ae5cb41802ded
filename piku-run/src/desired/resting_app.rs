//! Apps without a supervisor: what they would run.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use crate::core::{InstanceName, RunPlan};
use crate::instance::environment::ReleaseContext;
use crate::releases::current;
use crate::samples::InstanceSample;

/// Returns whether the app is live without a supervisor, because no process of it runs: a static site.
#[expect(clippy::disallowed_methods, reason = "looks for the socket of the app's supervisor")]
pub(crate) fn is_resting(root: &PikuRoot, app: &AppName) -> bool {
    let dir = root.app(app);
    let rests = || read_plan(root, app).is_ok_and(|plan| plan.is_some_and(|plan| !plan.has_processes()));
    // A supervisor removes its socket when it leaves.
    !dir.is_stopped() && !dir.socket().exists() && rests()
}

/// Reads the plan of the live release; `None` without one.
fn read_plan(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<RunPlan>> {
    let dir = root.app(app);
    let Some(number) = current::live_release(&dir)? else { return Ok(None) };
    let formation = super::read_formation(&dir.formation())?;
    Ok(Some(super::plan(&ReleaseContext::read(root, app, number)?, &formation).0))
}

/// Returns the slots of a stopped app.
pub(crate) fn empty_slots(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<InstanceSample>> {
    let Some(plan) = read_plan(root, app)? else { return Ok(Vec::new()) };
    let number = plan.release;
    let row =
        |ps: InstanceName| InstanceSample { release: Some(number), ..InstanceSample::empty_slot(app, &ps) };
    let crons = plan.crons.iter().map(|(name, _)| InstanceName { kind: name.clone(), index: 1 });
    Ok(plan.slots().map(|(ps, _)| ps).chain(crons).map(row).collect())
}
