//! Text form of `status`.

use jiff::Timestamp;
use piku_files::free_space::size;
use piku_report::diagnostic::readable;
use piku_report::output;

use super::report::{AppReport, HostReport, is_up};
use crate::time_text::format_duration;
use crate::time_text::format_local_time;

/// Renders the report: the machine, the problems, a table of the apps, their crons, certificates and last deploys.
pub(super) fn render(report: &HostReport) -> String {
    let disk = report.disk;
    let mut text = format!(
        "{}: piku {}, disk {} of {} free",
        readable(&report.host),
        report.version,
        size(disk.free_bytes),
        size(disk.total_bytes)
    );
    if let (Some(total), Some(free)) = (report.memory.total_bytes, report.memory.available_bytes) {
        text.extend([", memory ", &size(free), " of ", &size(total), " available"]);
    }
    text.push('\n');
    for problem in &report.problems {
        text.extend(["Problem: ", &readable(&problem.text), "\n"]);
    }
    let tables = [
        app_table(report),
        cron_table(report),
        backup_table(report),
        data_table(report),
        certificate_table(report),
        deploy_table(report),
    ];
    for table in tables.iter().filter(|table| !table.is_empty()) {
        text.extend(["\n", table]);
    }
    text
}

fn or_none(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

fn app_table(report: &HostReport) -> String {
    let row = |app: &AppReport| {
        let summary = &app.summary;
        let (all, up) = (app.instances().count(), app.instances().filter(|one| is_up(one)).count());
        let uptime = app.instances().filter_map(|one| one.uptime_s).min();
        vec![
            summary.app.to_string(),
            summary.state.as_str().to_owned(),
            or_none(summary.release.map(|number| number.to_string())),
            or_none(summary.by.as_deref().map(readable)),
            format!("{up}/{all}"),
            app.restarts().to_string(),
            or_none(app.cpu_percent().map(|percent| format!("{percent:.1}%"))),
            or_none(app.memory_bytes().map(size)),
            or_none(uptime.map(format_duration)),
            or_none(summary.urls.first().cloned()),
        ]
    };
    let headings = ["APP", "STATE", "RELEASE", "BY", "UP", "RESTARTS", "CPU", "MEMORY", "UPTIME", "URL"];
    table(&headings, report.apps.iter().map(row))
}

fn cron_table(report: &HostReport) -> String {
    let time = |at: Option<Timestamp>| or_none(at.map(format_local_time));
    let rows = report.apps.iter().flat_map(|app| {
        app.crons().map(|cron| {
            let (last, next) = (time(cron.last_run), time(cron.next_run));
            let result = or_none(cron.last_exit.as_deref().map(readable));
            vec![app.name().to_owned(), cron.kind.to_string(), last, result, next]
        })
    });
    table(&["APP", "CRON", "LAST RUN", "RESULT", "NEXT RUN"], rows)
}

fn backup_table(report: &HostReport) -> String {
    let rows = report.apps.iter().flat_map(|app| {
        app.backups.iter().map(|one| {
            let last = or_none(one.at.map(format_local_time));
            vec![app.name().to_owned(), one.plan.to_string(), last, one.describe()]
        })
    });
    table(&["APP", "BACKUP", "LAST", "STATE"], rows)
}

fn data_table(report: &HostReport) -> String {
    let rows = report.apps.iter().filter_map(|app| {
        let data = app.data.as_ref()?;
        Some(vec![app.name().to_owned(), data.describe(), format_local_time(data.at)])
    });
    table(&["APP", "DATA", "MEASURED"], rows)
}

fn certificate_table(report: &HostReport) -> String {
    let certificates = report.apps.iter().flat_map(|app| &app.certificates);
    let rows = certificates.map(|one| {
        let end = or_none(one.not_after.map(format_local_time));
        vec![one.owner().to_owned(), one.state.as_str().to_owned(), or_none(Some(readable(&one.issuer))), end]
    });
    table(&["APP", "CERTIFICATE", "ISSUER", "UNTIL"], rows)
}

fn deploy_table(report: &HostReport) -> String {
    let rows = report.apps.iter().flat_map(|app| {
        app.deploys.iter().map(|deploy| {
            let release = &deploy.release;
            vec![
                app.name().to_owned(),
                release.release.to_string(),
                release.state.as_str().to_owned(),
                or_none(release.at.map(format_local_time)),
                or_none(Some(readable(&release.by))),
                readable(&release.subject),
            ]
        })
    });
    table(&["APP", "RELEASE", "STATE", "AT", "BY", "SUBJECT"], rows)
}

fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() { String::new() } else { output::table(headings, &rows) }
}
