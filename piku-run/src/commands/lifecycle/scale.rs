//! `scale APP [TYPE=N]…`: the formation of the app.

use std::collections::BTreeMap;

use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::{USAGE, UserError};

use crate::app_request;
use crate::desired;
use crate::instance::environment::ReleaseContext;
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;
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
    let counts = collect_counts(counts)?;
    crate::commands::create_if_missing(root, app)?;
    app_request::ask(root, app, &SupervisorRequest::Scale { counts })
}

/// Returns the counts by process type.
///
/// # Errors
/// Fails with the exit code of wrong usage if a type is named twice.
pub(crate) fn collect_counts(counts: Vec<(ProcessName, u32)>) -> anyhow::Result<BTreeMap<ProcessName, u32>> {
    let mut collected = BTreeMap::new();
    for (name, count) in counts {
        if collected.contains_key(&name) {
            let what = format!("{name} is named twice");
            return Err(UserError::new(what)
                .hint(format!("write one number for it, such as {name}={count}"))
                .code(USAGE)
                .into());
        }
        collected.insert(name, count);
    }
    Ok(collected)
}

/// Prints the number of instances that each process type has, or will have when it is started.
fn print_formation(root: &PikuRoot, app: &AppName, format: OutputFormat) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_counted_once() {
        let collect = |words: &[(&str, u32)]| {
            collect_counts(words.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect())
        };
        assert_eq!(collect(&[("web", 1), ("worker", 2)]).unwrap().len(), 2);
        let twice = collect(&[("web", 1), ("worker", 2), ("web", 1)]).unwrap_err();
        assert_eq!(twice.to_string(), "web is named twice");
    }
}
