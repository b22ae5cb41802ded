//! `data-usage`: measures the data of all apps and services that have a limit. The daemon runs it.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::{output, progress};

use super::usage_record::{DataUsage, DataUsageRecord};
use super::{data_size, limit_of_live};
use crate::instance::data_jail::list_data_command;
use crate::lock;
use crate::releases::current;

/// Name of the subcommand.
pub(super) const NAME: &str = "data-usage";
/// Niceness of a measurement that nobody waits for.
const NICE: i32 = 15;
/// Longest time of a measurement, and of one that a push waits for.
const LONGEST: Duration = Duration::from_secs(120);
const LONGEST_OF_PUSH: Duration = Duration::from_secs(15);

/// Measures what is due. Does nothing while another one runs.
pub(crate) fn measure_due(root: &PikuRoot) -> anyhow::Result<()> {
    current::create_dir(&root.run())?;
    let path = root.run().join("data-usage.lock");
    let locked = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(_lock) = locked else { return Ok(()) };
    let _ = rustix::process::nice(NICE);
    let mut limited = Vec::new();
    for app in root.supervised().context("cannot list the apps")? {
        match limit_of_live(root, &app) {
            Ok(Some(limit)) if current::has_dir(root.app(&app).path(), "data") => {
                limited.push(app.clone());
                if !DataUsageRecord::read(root).is_due(&app, limit, Timestamp::now()) {
                    continue;
                }
                if let Err(err) = measure(root, &app, limit, LONGEST) {
                    progress::error(&format!("{app}: its data cannot be measured: {err:#}"));
                }
            }
            Ok(_) => {}
            Err(err) => progress::error(&format!("{app}: {err:#}")),
        }
    }
    let mut record = DataUsageRecord::read(root);
    record.retain(|app| limited.contains(app));
    record.write(root)
}

/// Measures the data of an app that is pushed to, and records the size.
pub(super) fn measure_now(root: &PikuRoot, app: &AppName, limit: u64) -> anyhow::Result<DataUsage> {
    measure(root, app, limit, LONGEST_OF_PUSH)
}

/// Returns the size of the data of an app or a service in bytes, as far as it was counted in time.
pub(crate) fn count_data(root: &PikuRoot, app: &AppName) -> anyhow::Result<u64> {
    Ok(data_size::count(list_data_command(root, app)?, LONGEST)?.bytes)
}

fn measure(root: &PikuRoot, app: &AppName, limit: u64, within: Duration) -> anyhow::Result<DataUsage> {
    let begun = Instant::now();
    let counted = data_size::count(list_data_command(root, app)?, within)?;
    let usage = DataUsage {
        bytes: counted.bytes,
        limit_bytes: limit,
        is_partial: counted.is_partial,
        at: Timestamp::now(),
    };
    // Two that write at once lose one measurement.
    let mut record = DataUsageRecord::read(root);
    record.add(app, usage.clone(), begun.elapsed());
    record.write(root)?;
    Ok(usage)
}

/// Prints the apps whose data is near its limit, a line each. Returns whether there are none.
pub(crate) fn print_problems(root: &PikuRoot) -> anyhow::Result<bool> {
    let record = DataUsageRecord::read(root);
    let apps = root.supervised().context("cannot list the apps")?;
    let worst = apps.iter().filter_map(|app| record.problems_of(app).pop());
    let lines: Vec<String> = worst.map(|problem| format!("{}\n", problem.text)).collect();
    output::write(lines.concat().as_bytes())?;
    Ok(lines.is_empty())
}
