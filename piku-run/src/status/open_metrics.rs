//! The text of `OpenMetrics` (<https://github.com/prometheus/OpenMetrics>, version 1.0). Only gauges and counters are used, which
//! the textfile collector of Prometheus' node exporter reads, too.

use std::fmt::Write;

use jiff::Timestamp;

use super::report::{AppReport, HostReport, is_cron, is_up};
use crate::cron::SUCCESS;
use crate::samples::{InstanceSample, SampledState};

/// A family of metrics with its samples.
struct MetricFamily {
    text: String,
    /// Name of its samples.
    sample_name: String,
    begin: usize,
}

impl MetricFamily {
    /// Begins a family of gauges. Its name ends with the unit, if it has one.
    fn gauge(name: &str, unit: &str, help: &str) -> Self {
        Self::new(name, "gauge", unit, help)
    }

    /// Begins a family of counters. The names of its samples end with `_total`.
    fn counter(name: &str, unit: &str, help: &str) -> Self {
        let mut family = Self::new(name, "counter", unit, help);
        family.sample_name.push_str("_total");
        family
    }

    fn new(name: &str, kind: &str, unit: &str, help: &str) -> Self {
        let mut text = format!("# TYPE {name} {kind}\n");
        if !unit.is_empty() {
            text.extend(["# UNIT ", name, " ", unit, "\n"]);
        }
        text.extend(["# HELP ", name, " ", help, "\n"]);
        Self { begin: text.len(), text, sample_name: name.to_owned() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(&self.sample_name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            // Writing to a string cannot fail.
            let _ = write!(self.text, "{open}{name}=\"{}\"", escape(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// Adds a sample if there is a value.
    fn add_some(&mut self, labels: &[(&str, &str)], value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.add(labels, value);
        }
    }

    /// Adds the instances of all apps for which there is a value.
    fn with_instances<V: std::fmt::Display>(
        mut self,
        report: &HostReport,
        value: impl Fn(&InstanceSample) -> Option<V>,
    ) -> Self {
        for app in &report.apps {
            for one in unique_instances(app) {
                let labels = [("app", app.name()), ("instance", &one.instance), ("type", one.kind.as_str())];
                self.add_some(&labels, value(one));
            }
        }
        self
    }

    /// Adds the apps for which there is a value.
    fn with_apps<V: std::fmt::Display>(
        mut self,
        report: &HostReport,
        value: impl Fn(&AppReport) -> Option<V>,
    ) -> Self {
        for app in &report.apps {
            self.add_some(&[("app", app.name())], value(app));
        }
        self
    }

    /// Adds the cron types for which there is a value.
    fn with_crons<V: std::fmt::Display>(
        mut self,
        report: &HostReport,
        value: impl Fn(&InstanceSample) -> Option<V>,
    ) -> Self {
        for app in &report.apps {
            for one in app.crons() {
                self.add_some(&[("app", app.name()), ("type", one.kind.as_str())], value(one));
            }
        }
        self
    }
}

/// Renders the report.
pub(super) fn render(report: &HostReport) -> String {
    let families =
        [app_families(report), instance_families(report), cron_families(report), host_families(report)];
    let mut text = String::new();
    for family in families.into_iter().flatten().filter(|family| family.text.len() > family.begin) {
        text.push_str(&family.text);
    }
    text.push_str("# EOF\n");
    text
}

fn app_families(report: &HostReport) -> Vec<MetricFamily> {
    let mut deploys = MetricFamily::counter(
        "piku_deploys",
        "",
        "Deploys by a push or from another machine, by their result.",
    );
    let mut state = MetricFamily::gauge("piku_app_state", "", "State of the app: 1 for the one that it has.");
    let mut certificates = MetricFamily::gauge(
        "piku_certificate_expiry_timestamp_seconds",
        "seconds",
        "End of the validity of the certificate.",
    );
    let mut backups = MetricFamily::gauge(
        "piku_backup_last_success_timestamp_seconds",
        "seconds",
        "Time of the last backup.",
    );
    let mut backup_failures = MetricFamily::gauge(
        "piku_backup_failed",
        "",
        "1 if the last run of the backup failed, or it is overdue or lacks something.",
    );
    for app in &report.apps {
        for one in &app.backups {
            let labels = [("app", app.name()), ("plan", one.plan.as_str())];
            backups.add_some(&labels, one.at.map(seconds));
            backup_failures.add(&labels, u8::from(!one.is_well()));
        }
        let labels = |result| [("app", app.name()), ("result", result)];
        deploys.add(&labels("succeeded"), app.deploys_total.succeeded);
        deploys.add(&labels("failed"), app.deploys_total.failed);
        state.add(&[("app", app.name()), ("state", app.summary.state.as_str())], 1);
        for one in &app.certificates {
            let labels = [("app", app.name()), ("issuer", &one.issuer), ("state", one.state.as_str())];
            certificates.add_some(&labels, one.not_after.map(seconds));
        }
    }
    vec![
        state,
        MetricFamily::gauge("piku_app_release", "", "Number of the live release.")
            .with_apps(report, |app| app.summary.release),
        MetricFamily::gauge(
            "piku_app_last_deploy_timestamp_seconds",
            "seconds",
            "Time at which the live release was made.",
        )
        .with_apps(report, |app| app.summary.at.map(seconds)),
        MetricFamily::gauge("piku_app_locked", "", "1 if deploys are refused.")
            .with_apps(report, |app| Some(u8::from(app.summary.locked.is_some()))),
        deploys,
        certificates,
        backups,
        backup_failures,
        MetricFamily::gauge("piku_app_data_bytes", "bytes", "Size of the app's data, if it is limited.")
            .with_apps(report, |app| Some(app.data.as_ref()?.bytes)),
        MetricFamily::gauge("piku_app_data_limit_bytes", "bytes", "Limit of the app's data.")
            .with_apps(report, |app| Some(app.data.as_ref()?.limit_bytes)),
    ]
}

fn instance_families(report: &HostReport) -> Vec<MetricFamily> {
    let of_instance = |value: fn(&InstanceSample) -> bool| {
        move |one: &InstanceSample| (!is_cron(one)).then(|| u8::from(value(one)))
    };
    vec![
        MetricFamily::gauge(
            "piku_instance_up",
            "",
            "1 if the process runs and has passed its health check, if its type has one.",
        )
        .with_instances(report, of_instance(is_up)),
        MetricFamily::gauge("piku_instance_healthy", "", "1 if the last health check succeeded.")
            .with_instances(report, of_instance(|one| one.state == SampledState::Healthy)),
        MetricFamily::gauge("piku_instance_memory_bytes", "bytes", "Memory of the process tree (PSS).")
            .with_instances(report, |one| one.memory_bytes),
        MetricFamily::counter("piku_instance_cpu_seconds", "seconds", "Processor time of the process tree.")
            .with_instances(report, |one| one.cpu_seconds),
        MetricFamily::counter("piku_instance_restarts", "", "Restarts after crashes.")
            .with_instances(report, |one| (!is_cron(one)).then_some(one.restarts)),
        MetricFamily::gauge("piku_instance_uptime_seconds", "seconds", "Age of the process.")
            .with_instances(report, |one| one.uptime_s),
    ]
}

fn cron_families(report: &HostReport) -> Vec<MetricFamily> {
    let is_success = |one: &InstanceSample| one.last_exit.as_deref().map(|exit| u8::from(exit == SUCCESS));
    vec![
        MetricFamily::gauge("piku_cron_last_run_timestamp_seconds", "seconds", "Begin of the last run.")
            .with_crons(report, |one| one.last_run.map(seconds)),
        MetricFamily::gauge(
            "piku_cron_last_success_timestamp_seconds",
            "seconds",
            "Begin of the last run that has succeeded.",
        )
        .with_crons(report, |one| one.last_success.map(seconds)),
        MetricFamily::gauge("piku_cron_last_run_success", "", "1 if the last run that has ended succeeded.")
            .with_crons(report, is_success),
        MetricFamily::gauge("piku_cron_next_run_timestamp_seconds", "seconds", "Time of the next run.")
            .with_crons(report, |one| one.next_run.map(seconds)),
    ]
}

fn host_families(report: &HostReport) -> Vec<MetricFamily> {
    let mut total =
        MetricFamily::gauge("piku_disk_size_bytes", "bytes", "Size of the file system with piku's root.");
    total.add(&[], report.disk.total_bytes);
    let mut free = MetricFamily::gauge("piku_disk_free_bytes", "bytes", "Space on it that piku can use.");
    free.add(&[], report.disk.free_bytes);
    let mut problems = MetricFamily::gauge("piku_problems", "", "Problems that `piku status` lists.");
    problems.add(&[], report.problems.len());
    let mut version = MetricFamily::gauge("piku_build_info", "", "1; the label is piku's version.");
    version.add(&[("version", &report.version)], 1);
    vec![total, free, problems, version]
}

fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}

/// Returns the instances of an app. Of two with the same name, the old and the new one during a deploy, the first is
/// the one that stays.
fn unique_instances(app: &AppReport) -> impl Iterator<Item = &InstanceSample> {
    let is_first = |at: usize, one: &InstanceSample| {
        !app.processes[..at].iter().any(|other| other.instance == one.instance)
    };
    app.processes.iter().enumerate().filter(move |(at, one)| is_first(*at, one)).map(|(_, one)| one)
}

/// Escapes a label's value.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
