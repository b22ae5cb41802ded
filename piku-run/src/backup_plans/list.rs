//! `backup list`: the plans with their last results, and what is wrong with them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::free_space;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::key_scope;
use piku_report::output::{self, OutputFormat};
use serde::Serialize;

use super::read_plans;
use super::record::{BackupRecord, PlanRecord};

/// An app of a plan, as scripts get it.
#[derive(Debug, Serialize)]
struct ListedBackup {
    plan: AppName,
    /// `None` if the plan has saved no app yet.
    app: Option<AppName>,
    /// Time of the last backup.
    at: Option<Timestamp>,
    bytes: Option<u64>,
    file: Option<String>,
    /// Error of the last run.
    error: Option<String>,
    /// Description of what the last backup lacks.
    lacks: Option<String>,
    /// Number of files that it lacks.
    left_out: u64,
    is_overdue: bool,
    next: Option<Timestamp>,
}

/// A failed or overdue backup, or one that lacks something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupProblem {
    /// `None` if the plans cannot be read.
    pub(crate) plan: Option<AppName>,
    pub(crate) app: Option<AppName>,
    pub(crate) is_overdue: bool,
    /// Description in a single line.
    pub(crate) text: String,
}

/// Prints the backups of all plans.
pub(crate) fn print_backups(root: &PikuRoot, format: OutputFormat) -> anyhow::Result<()> {
    let listed = list_backups(root, Timestamp::now())?;
    output::print(format, &listed, || {
        let shown = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| format!("{time:.0}"));
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|one| {
                let state = match (&one.error, &one.lacks) {
                    (Some(error), _) => format!("failed: {error}"),
                    (None, _) if one.is_overdue => "overdue".to_owned(),
                    (None, Some(lacks)) => lacks.clone(),
                    (None, None) => "ok".to_owned(),
                };
                vec![
                    one.plan.to_string(),
                    one.app.as_ref().map_or("-".to_owned(), AppName::to_string),
                    shown(one.at),
                    one.bytes.map_or("-".to_owned(), free_space::size),
                    shown(one.next),
                    state,
                ]
            })
            .collect();
        output::table(&["PLAN", "APP", "LAST", "SIZE", "NEXT", "STATE"], &rows)
    })
}

/// Prints what is wrong, a line each. Returns whether all is well.
pub(crate) fn print_problems(root: &PikuRoot) -> anyhow::Result<bool> {
    let problems = find_backup_problems(root, Timestamp::now())?;
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}\n", problem.text)).collect();
    output::write(lines.concat().as_bytes())?;
    Ok(problems.is_empty())
}

fn list_backups(root: &PikuRoot, now: Timestamp) -> anyhow::Result<Vec<ListedBackup>> {
    let record = BackupRecord::read(root)?;
    let zone = TimeZone::system();
    let mut listed = Vec::new();
    for (name, (_, schedule)) in read_plans(root)? {
        let fresh = PlanRecord::new(now);
        let one = record.0.get(&name).unwrap_or(&fresh);
        let is_overdue = one.is_overdue(&schedule, &zone, now);
        let next = one.next_run(&schedule, &zone);
        let row = |app: Option<&AppName>| ListedBackup {
            plan: name.clone(),
            app: app.cloned(),
            at: None,
            bytes: None,
            file: None,
            error: None,
            lacks: None,
            left_out: 0,
            is_overdue,
            next,
        };
        if one.apps.is_empty() {
            listed.push(row(None));
        }
        for (app, result) in &one.apps {
            let is_saved = result.at.is_some();
            listed.push(ListedBackup {
                at: result.at,
                bytes: is_saved.then_some(result.bytes),
                file: is_saved.then(|| result.file.clone()),
                error: result.error.clone(),
                lacks: result.lacks.clone(),
                left_out: result.left_out,
                ..row(Some(app))
            });
        }
    }
    Ok(listed)
}

/// Returns the failed and overdue backups.
pub(crate) fn find_backup_problems(root: &PikuRoot, now: Timestamp) -> anyhow::Result<Vec<BackupProblem>> {
    let record = BackupRecord::read(root)?;
    let zone: TimeZone = TimeZone::system();
    let mut problems = Vec::new();
    for (name, (_, schedule)) in read_plans(root)? {
        let Some(one) = record.0.get(&name) else { continue };
        for (app, result) in &one.apps {
            let is_limited = key_scope().is_some();
            let text = match (result.shown_error(is_limited), result.shown_lacks(is_limited)) {
                (Some(error), _) => {
                    format!("{app}: the backup '{name}' failed: {error}; piku backup:list shows the last one")
                }
                (None, Some(lacks)) => format!("{app}: the backup '{name}' {lacks}"),
                (None, None) => continue,
            };
            let (plan, app) = (Some(name.clone()), Some(app.clone()));
            problems.push(BackupProblem { plan, app, is_overdue: false, text });
        }
        if one.is_overdue(&schedule, &zone, now) {
            problems.push(BackupProblem {
                plan: Some(name.clone()),
                app: None,
                is_overdue: true,
                text: format!(
                    "the backup '{name}' is overdue: the last complete one is of {:.0}; piku backup:list shows why",
                    one.complete
                ),
            });
        }
    }
    Ok(problems)
}
