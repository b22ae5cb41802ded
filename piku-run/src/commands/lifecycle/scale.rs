//! `scale APP` without numbers: the formation of the app.

use std::collections::BTreeMap;

use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};

use crate::desired;
use crate::instance::environment::ReleaseContext;
use crate::releases::current;

/// Prints the number of instances that each process type has, or will have when it is started.
pub(in crate::commands) fn print_formation(
    root: &PikuRoot,
    app: &AppName,
    format: OutputFormat,
) -> anyhow::Result<()> {
    crate::commands::must_be_there(root, app)?;
    let dir = root.app(app);
    let formation = desired::read_formation(&dir.formation())?;
    let mut counts: BTreeMap<ProcessName, u32> = formation.clone().into_iter().collect();
    if let Some(number) = current::live_release(&dir)? {
        let (plan, ..) = desired::plan(&ReleaseContext::read(root, app, number)?, &formation);
        counts = plan.types.iter().map(|kind| (kind.name.clone(), kind.count)).collect();
    }
    let render = || {
        let lines: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}\n")).collect();
        lines.concat()
    };
    output::print(format, &counts, render)
}
