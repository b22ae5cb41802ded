//! `scale APP [TYPE=N]…`: the formation of the app.

use std::collections::BTreeMap;

use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};

use crate::desired;
use crate::instance::environment::ReleaseContext;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::releases::current;

/// Sets the numbers of instances, or prints them.
pub(in crate::commands) fn run(
    root: &PikuRoot,
    app: &AppName,
    counts: Vec<(ProcessName, u32)>,
    format: OutputFormat,
) -> anyhow::Result<()> {
    if counts.is_empty() {
        return print_formation(root, app, format);
    }
    crate::commands::create_if_missing(root, app)?;
    client::ask(root, app, &SupervisorRequest::Scale { counts: counts.into_iter().collect() })
}

/// Prints the number of instances that each process type has, or will have when it is started.
fn print_formation(root: &PikuRoot, app: &AppName, format: OutputFormat) -> anyhow::Result<()> {
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
