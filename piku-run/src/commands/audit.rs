//! `audit [APP]`: prints who has done what.

use piku_events::audit::{AuditQuery, AuditRecord};
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::key_scope;
use piku_report::output;

use crate::cli;

/// Number of lines without `-n` and `--since`.
const LINES: usize = 100;

pub(super) fn run(root: &PikuRoot, typed: cli::AuditArgs) -> anyhow::Result<()> {
    let scope = key_scope();
    let last = typed.lines.or(typed.since.is_none().then_some(LINES));
    let query = AuditQuery {
        app: typed.app,
        scope: scope.map(|scope| scope.split(' ').map(str::to_owned).collect()),
        key: typed.key,
        since: typed.since,
        last,
    };
    let records = query.read(root)?;
    output::print(typed.format, &records, || format_table(&records))
}

fn format_table(records: &[AuditRecord]) -> String {
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let app = record.app.clone().unwrap_or_else(|| "-".to_owned());
            vec![record.at.to_string(), record.key.clone(), record.verb.clone(), app, record.outcome.clone()]
        })
        .collect();
    output::table(&["TIME", "KEY", "VERB", "APP", "OUTCOME"], &rows)
}
