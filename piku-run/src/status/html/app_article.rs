//! The part of the page about one app.

use piku_files::free_space::size;
use piku_release::manifest::ReleaseOrigin;

use super::chart::add_chart;
use super::html_writer::HtmlWriter;
use super::{
    StateTone, add_cell, add_number, add_state, add_table, add_time, add_time_cell, tone_of_instance,
};
use crate::cron::SUCCESS;
use crate::nginx::{CertificateState, CertificateStatus};
use crate::releases::ReleaseState;
use crate::status::app_row::AppState;
use crate::status::deploys::DeployReport;
use crate::status::report::AppReport;
use crate::time_text::format_duration;

/// Adds everything about an app.
pub(super) fn add_article(to: &mut HtmlWriter, app: &AppReport) {
    let (id, title) = (format!("app-{}", app.name()), format!("title-{}", app.name()));
    to.element("article", &[("id", &id), ("aria-labelledby", &title)], |to| {
        to.element("h3", &[("id", &title)], |to| {
            to.text_element("span", &[], app.name());
            add_app_state(to, app);
        });
        for url in &app.summary.urls {
            to.element("p", &[], |to| add_link(to, Some(url)));
        }
        add_release(to, app);
        if let Some(lock) = &app.summary.locked {
            let reason = if lock.reason.is_empty() { String::new() } else { format!(": {}", lock.reason) };
            to.text_element("p", &[], &format!("Deploys are locked by {}{reason}", lock.by));
        }
        add_charts(to, app);
        add_instances(to, app);
        add_crons(to, app);
        for backup in &app.backups {
            to.text_element("p", &[], &format!("Backup {}: {}", backup.plan, backup.describe()));
        }
        if let Some(data) = &app.data {
            to.text_element("p", &[], &format!("Data: {}", data.describe()));
        }
        for certificate in &app.certificates {
            add_certificate(to, certificate);
        }
        add_deploys(to, app);
    });
}

pub(super) fn add_app_state(to: &mut HtmlWriter, app: &AppReport) {
    let state = app.summary.state;
    let tone = match state {
        AppState::Running | AppState::Remote => StateTone::Good,
        AppState::Maintenance => StateTone::Warning,
        AppState::CrashLooping | AppState::Unknown => StateTone::Bad,
        AppState::Created | AppState::Stopped => StateTone::Off,
    };
    add_state(to, tone, state.as_str());
}

/// Adds a link, if it is one to a web page.
pub(super) fn add_link(to: &mut HtmlWriter, url: Option<&str>) {
    match url {
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            to.text_element("a", &[("href", url), ("rel", "noreferrer")], url);
        }
        other => to.text(other.unwrap_or("–")),
    }
}

fn add_release(to: &mut HtmlWriter, app: &AppReport) {
    let summary = &app.summary;
    let Some(number) = summary.release else {
        return to.markup("<p class=\"soft\">It has no release yet: a push deploys one.</p>\n");
    };
    to.element("p", &[], |to| {
        to.text(&format!("Release {number}"));
        if let Some(by) = summary.by.as_deref().filter(|by| !by.is_empty()) {
            to.text(&format!(" by {by}"));
        }
        if let Some(at) = summary.at {
            to.text(", ");
            add_time(to, at);
        }
        if let Some(commit) = summary.commit.as_deref().and_then(|commit| commit.get(..8)) {
            to.text(", commit ");
            to.text_element("code", &[], commit);
        }
        if let Some(subject) = &app.subject {
            to.text(&format!(": {subject}"));
        }
    });
}

fn add_charts(to: &mut HtmlWriter, app: &AppReport) {
    let history = &app.history;
    if history.memory_bytes.is_empty() {
        return;
    }
    let cpu: Vec<Option<u64>> = history.cpu_millis.iter().map(|value| value.map(u64::from)).collect();
    to.element("div", &[("class", "charts")], |to| {
        add_chart(to, "Memory", &history.memory_bytes, size);
        add_chart(to, "CPU", &cpu, |millis| format!("{}.{} %", millis / 10, millis % 10));
    });
}

fn add_instances(to: &mut HtmlWriter, app: &AppReport) {
    if app.instances().next().is_none() {
        return;
    }
    to.markup("<h4>Instances</h4>\n");
    let headings = [
        ("Instance", false),
        ("State", false),
        ("Release", true),
        ("Uptime", true),
        ("Restarts", true),
        ("CPU", true),
        ("Memory", true),
        ("Last exit", false),
        ("Note", false),
    ];
    let has_notes = app.instances().any(|one| one.note.is_some());
    let shown = if has_notes { &headings[..] } else { &headings[..8] };
    add_table(to, &format!("Instances of {}", app.name()), shown, |to| {
        for one in app.instances() {
            to.element("tr", &[], |to| {
                to.text_element("th", &[("scope", "row")], &one.instance);
                to.element("td", &[], |to| add_state(to, tone_of_instance(one.state), one.state.as_str()));
                add_number(to, one.release.map(|number| number.to_string()));
                add_number(to, one.uptime_s.map(format_duration));
                add_number(to, Some(one.restarts.to_string()));
                add_number(to, one.cpu_percent.map(|percent| format!("{percent:.1} %")));
                add_number(to, one.memory_bytes.map(size));
                add_cell(to, one.last_exit.as_deref());
                if has_notes {
                    add_cell(to, one.note.as_deref());
                }
            });
        }
    });
}

fn add_crons(to: &mut HtmlWriter, app: &AppReport) {
    if app.crons().next().is_none() {
        return;
    }
    to.markup("<h4>Cron jobs</h4>\n");
    let headings = [("Job", false), ("Last result", false), ("Last run", false), ("Next run", false)];
    add_table(to, &format!("Cron jobs of {}", app.name()), &headings, |to| {
        for one in app.crons() {
            to.element("tr", &[], |to| {
                to.text_element("th", &[("scope", "row")], one.kind.as_str());
                to.element("td", &[], |to| match one.last_exit.as_deref() {
                    Some(SUCCESS) => add_state(to, StateTone::Good, "succeeded"),
                    Some(exit) => add_state(to, StateTone::Bad, &format!("failed: {exit}")),
                    None if one.pid.is_some() => add_state(to, StateTone::Good, "runs"),
                    None => to.text("–"),
                });
                add_time_cell(to, one.last_run);
                add_time_cell(to, one.next_run);
            });
        }
    });
}

fn add_certificate(to: &mut HtmlWriter, certificate: &CertificateStatus) {
    let tone = match certificate.state {
        CertificateState::Valid => StateTone::Good,
        CertificateState::SelfSigned => StateTone::Warning,
        CertificateState::Failed | CertificateState::Expired => StateTone::Bad,
    };
    to.markup("<h4>Certificate</h4>\n");
    to.element("p", &[], |to| {
        add_state(to, tone, certificate.state.as_str());
        to.text(&format!(" {}", certificate.names.join(", ")));
        if let Some(end) = certificate.not_after {
            to.text(", until ");
            add_time(to, end);
        }
        if certificate.state != CertificateState::SelfSigned && !certificate.issuer.is_empty() {
            to.text(&format!(", issued by {}", certificate.issuer));
        }
        if let Some(error) = &certificate.error {
            to.text(&format!(". The last request failed: {error}"));
        }
    });
}

fn add_deploys(to: &mut HtmlWriter, app: &AppReport) {
    if app.deploys.is_empty() {
        return;
    }
    let totals = app.deploys_total;
    let heading =
        format!("Last deploys (of {} that succeeded and {} that failed)", totals.succeeded, totals.failed);
    to.text_element("h4", &[], &heading);
    to.element("ol", &[("class", "deploys")], |to| {
        for deploy in &app.deploys {
            to.element("li", &[], |to| add_deploy(to, app, deploy));
        }
    });
}

fn add_deploy(to: &mut HtmlWriter, app: &AppReport, deploy: &DeployReport) {
    let release = &deploy.release;
    let tone = match release.state {
        ReleaseState::Live => StateTone::Good,
        ReleaseState::Previous => StateTone::Off,
        ReleaseState::Deploying => StateTone::Warning,
        ReleaseState::Failed | ReleaseState::Broken => StateTone::Bad,
    };
    to.element("p", &[], |to| {
        to.text_element("strong", &[], &release.release.to_string());
        to.text(" ");
        add_state(to, tone, release.state.as_str());
        match release.origin {
            ReleaseOrigin::Deploy => {}
            ReleaseOrigin::Config => to.text(" settings"),
            ReleaseOrigin::Rollback => to.text(" rollback"),
        }
        if !release.by.is_empty() {
            to.text(&format!(" by {}", release.by));
        }
        if let Some(at) = release.at {
            to.text(", ");
            add_time(to, at);
        }
        if !release.subject.is_empty() {
            to.text(&format!(": {}", release.subject));
        }
    });
    if let Some(log) = deploy.log.as_ref().filter(|log| !log.is_empty()) {
        to.element("details", &[], |to| {
            to.text_element("summary", &[], &format!("Log of deploy {} of {}", release.release, app.name()));
            to.text_element("pre", &[("tabindex", "0")], &log.join("\n"));
        });
    }
}
