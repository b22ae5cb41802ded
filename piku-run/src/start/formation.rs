//! Process types to run, and the number of instances of each.

use piku_layout::name::ProcessName;
use piku_procfile::procfile::{ProcessKind, ProcfileEntry};
use piku_report::edit_distance::nearest_name;
use piku_report::user_error::{USAGE, UserError};

use super::STRIDE;
use crate::core::{ProcessType, TrialRule};

/// Name for all types in `-m all=1,web=2`.
const ALL: &str = "all";

/// Returns when piku runs a process type that does not run permanently.
pub(super) fn when(kind: ProcessKind) -> Option<&'static str> {
    match kind {
        ProcessKind::Release => Some("before each release goes live"),
        ProcessKind::Preflight => Some("before each build"),
        ProcessKind::Cron => Some("at its times"),
        _ => None,
    }
}

/// Returns the process types and their counts. Fails if a name is unknown or nothing is left to run.
pub(super) fn types(
    entries: &[ProcfileEntry],
    formation: &[(ProcessName, u32)],
) -> anyhow::Result<Vec<ProcessType>> {
    let known = || entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ");
    let named = |name: &str| formation.iter().find(|(one, _)| one.as_str() == name).map(|(_, count)| *count);
    for (at, (name, _)) in formation.iter().enumerate() {
        if formation.iter().take(at).any(|(earlier, _)| earlier == name) {
            let hint = format!("write one number for it, such as {name}=2");
            return Err(UserError::new(format!("{name} is named twice")).hint(hint).code(USAGE).into());
        }
        if name.as_str() != ALL && !entries.iter().any(|entry| entry.name == *name) {
            let failure = UserError::new(format!("the Procfile has no process type '{name}'")).code(USAGE);
            let near = nearest_name(name.as_str(), entries.iter().map(|entry| entry.name.as_str()));
            let near = near.map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
            return Err(failure.hint(format!("{near}it has: {}", known())).into());
        }
    }
    let rest = named(ALL).unwrap_or_else(|| u32::from(formation.is_empty()));
    let types: Vec<ProcessType> = entries
        .iter()
        .map(|entry| ProcessType {
            name: entry.name.clone(),
            count: named(entry.name.as_str()).unwrap_or(if entry.kind.is_long_running() { rest } else { 0 }),
            // No health checks: the user sees the output.
            must_listen: false,
            pinned: None,
            overlap: false,
            notifies: false,
            trial: TrialRule::default(),
        })
        .collect();
    if types.iter().all(|kind| kind.count == 0) {
        return Err(UserError::new("there is nothing to run").hint(format!("it has: {}", known())).into());
    }
    Ok(types)
}

/// Checks that each instance gets its own port.
pub(super) fn check_ports(first: u16, types: &[ProcessType]) -> anyhow::Result<()> {
    let last = |(at, kind): (usize, &ProcessType)| match kind.count {
        0 => 0,
        count => usize::from(first) + at * usize::from(STRIDE) + count as usize - 1,
    };
    let last = types.iter().enumerate().map(last).max().unwrap_or(0);
    if last > usize::from(u16::MAX) {
        let failure = UserError::new(format!("the last instance's PORT would be {last}")).code(USAGE);
        return Err(failure.hint("ports end at 65535: choose a lower --port").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_procfile::procfile::{ParseOptions, Procfile};

    fn parse_counts(formation: &[(&str, u32)]) -> anyhow::Result<Vec<u32>> {
        let file = Procfile::parse(b"web: a\nworker: b\nrelease: c\n", ParseOptions::default()).unwrap();
        let entries = file.entries;
        let formation: Vec<_> =
            formation.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect();
        types(&entries, &formation).map(|types| types.iter().map(|kind| kind.count).collect())
    }

    #[test]
    fn ports_end_somewhere() {
        let types = |counts: &[u32]| -> Vec<ProcessType> {
            let kind = |count: &u32| ProcessType {
                name: "web".parse().unwrap(),
                count: *count,
                must_listen: false,
                overlap: false,
                notifies: false,
                pinned: None,
                trial: TrialRule::default(),
            };
            counts.iter().map(kind).collect()
        };
        check_ports(65_435, &types(&[1, 1])).unwrap();
        check_ports(65_535, &types(&[1, 0])).unwrap();
        assert!(check_ports(65_436, &types(&[1, 1])).is_err());
        assert!(check_ports(65_535, &types(&[2])).is_err());
    }

    #[test]
    fn a_formation_says_how_many_of_each() {
        assert_eq!(parse_counts(&[]).unwrap(), [1, 1, 0]);
        assert_eq!(parse_counts(&[("web", 2)]).unwrap(), [2, 0, 0]);
        assert_eq!(parse_counts(&[("all", 1), ("web", 3)]).unwrap(), [3, 1, 0]);
        assert_eq!(parse_counts(&[("release", 1)]).unwrap(), [0, 0, 1]);
        assert!(parse_counts(&[("web", 0)]).is_err());
        assert!(parse_counts(&[("wep", 1)]).is_err());
        assert!(parse_counts(&[("web", 1), ("web", 2)]).is_err());
    }
}
