//! Text output of `ps`.

use crate::samples::{InstanceSample, NO_SANDBOX, SampledLimit};
use crate::time_text::{format_duration, format_local_time};
use piku_chroot::report::LimitEnforcer;
use piku_files::free_space::size;
use piku_report::diagnostic::readable;
use piku_report::output::{self, OutputFormat};

/// Prints the instances on stdout.
///
/// # Errors
/// Fails if stdout cannot be written.
pub(super) fn print_instances(instances: &[InstanceSample], format: OutputFormat) -> anyhow::Result<()> {
    output::print(format, instances, || render_table(instances))
}

/// Renders the table. Columns that are empty, or the same in each row of an app, are left out.
fn render_table(instances: &[InstanceSample]) -> String {
    let several = instances.windows(2).any(|pair| pair[0].app != pair[1].app);
    let crons = instances.iter().any(|one| one.next_run.is_some());
    let exits = instances.iter().any(|one| one.last_exit.is_some());
    let headings = [
        "APP",
        "PS",
        "STATE",
        "PID",
        "PORT",
        "RELEASE",
        "UPTIME",
        "RESTARTS",
        "CPU",
        "MEMORY",
        "LAST EXIT",
        "NEXT RUN",
        "NODE",
    ];
    let nodes = instances.iter().any(|one| one.node.is_some());
    let shown = |column: usize| match column {
        0 => several,
        10 => exits,
        11 => crons,
        12 => nodes,
        _ => true,
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = instances
        .iter()
        .map(|one| {
            let row = [
                one.app.to_string(),
                one.instance.clone(),
                one.state.as_str().to_owned(),
                or_none(one.pid.map(|pid| pid.to_string())),
                or_none(one.port.map(|port| port.to_string())),
                or_none(one.release.map(|release| release.to_string())),
                or_none(one.uptime_s.map(format_duration)),
                one.restarts.to_string(),
                or_none(one.cpu_percent.map(|percent| format!("{percent:.1}%"))),
                or_none(one.memory_bytes.map(size)),
                or_none(last_exit(one)),
                or_none(one.next_run.map(format_local_time)),
                or_none(one.node.clone()),
            ];
            row.into_iter().enumerate().filter(|(column, _)| shown(*column)).map(|(_, cell)| cell).collect()
        })
        .collect();
    let headings: Vec<&str> =
        headings.into_iter().enumerate().filter(|(column, _)| shown(*column)).map(|(_, it)| it).collect();
    if rows.is_empty() {
        String::new()
    } else {
        output::table(&headings, &rows)
            + &render_sandboxes(instances, several)
            + &render_limits(instances, several)
            + &render_grants(instances, several)
            + &render_site_states(instances, several)
            + &render_backups(instances, several)
            + &render_data(instances, several)
            + &render_notes(instances, several)
    }
}

/// Renders the protections: one line per app, or more if its instances differ.
fn render_sandboxes(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for app in instances.chunk_by(|one, next| one.app == next.app) {
        let known: Vec<(&str, &str)> =
            app.iter().filter_map(|one| Some((one.sandbox.as_deref()?, one.instance.as_str()))).collect();
        let mut told: Vec<&str> = Vec::new();
        for (sandbox, _) in &known {
            if told.contains(sandbox) {
                continue;
            }
            told.push(sandbox);
            let alike: Vec<&str> =
                known.iter().filter(|(other, _)| other == sandbox).map(|(_, instance)| *instance).collect();
            let whose =
                if alike.len() < known.len() { format!(" {}", alike.join(" ")) } else { String::new() };
            let title = if several { format!(" {}", app[0].app) } else { String::new() };
            // Until it is built again inside a jail.
            let mend = match &app[0] {
                one if *sandbox == NO_SANDBOX => format!(
                    " (built without a jail; where there is one, build it again: piku deploy {})",
                    one.app
                ),
                _ => String::new(),
            };
            let (short, explained) = match sandbox.split_once(',') {
                Some((level, _)) => (level, " (piku doctor explains)"),
                None => (*sandbox, ""),
            };
            lines.extend(["Sandbox", &title, &whose, ": ", short, explained, &mend, "\n"]);
        }
    }
    lines
}

/// Renders the limits, one line per instance that has any. The old instance of a deploy, which may have the
/// same name, is listed only if its limits differ.
fn render_limits(instances: &[InstanceSample], several: bool) -> String {
    let by = |limit: &SampledLimit| match limit.by {
        Some(LimitEnforcer::Cgroup) => "by cgroup",
        Some(LimitEnforcer::Rlimit) => "by rlimit, each process",
        None => "held by nothing here",
    };
    let mut lines: Vec<String> = Vec::new();
    for one in instances.iter().filter(|one| !one.limits.is_empty()) {
        let app = if several { format!(" {}", one.app) } else { String::new() };
        let words: Vec<String> = one
            .limits
            .iter()
            .map(|limit| format!("{} {} ({})", limit.limit, limit.value, by(limit)))
            .collect();
        let line = format!("Limits{app} {}: {}\n", one.instance, words.join(", "));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

/// Renders what each app may use of the machine.
fn render_grants(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for app in instances.chunk_by(|one, next| one.app == next.app) {
        if !app[0].grants.is_empty() {
            let title = if several { format!(" {}", app[0].app) } else { String::new() };
            lines.extend(["Grants", &title, ": ", &app[0].grants.join(", "), "\n"]);
        }
    }
    lines
}

/// Renders what is unusual about the sites, one line per app.
fn render_site_states(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for app in instances.chunk_by(|one, next| one.app == next.app) {
        if let Some(state) = &app[0].site {
            let title = if several { format!(" {}", app[0].app) } else { String::new() };
            lines.extend(["Site", &title, ": ", state, "\n"]);
        }
    }
    lines
}

/// Renders the last backups, one line per app and plan.
fn render_backups(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for app in instances.chunk_by(|one, next| one.app == next.app) {
        for backup in &app[0].backups {
            let title = if several { format!(" {}", app[0].app) } else { String::new() };
            lines.extend(["Backup", &title, " ", backup.plan.as_str(), ": ", &backup.describe()]);
            lines.push_str(if backup.is_well() { "\n" } else { "; piku backup:list shows why\n" });
        }
    }
    lines
}

/// Renders the sizes of limited data, one line per app.
fn render_data(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for app in instances.chunk_by(|one, next| one.app == next.app) {
        if let Some(data) = &app[0].data {
            let title = if several { format!(" {}", app[0].app) } else { String::new() };
            lines.extend(["Data", &title, ": ", &data.describe(), "\n"]);
        }
    }
    lines
}

/// Renders the notes for the operator, one per line.
fn render_notes(instances: &[InstanceSample], several: bool) -> String {
    let mut lines = String::new();
    for one in instances {
        let Some(note) = &one.note else { continue };
        let app = if several { format!(" {}", one.app) } else { String::new() };
        lines.extend(["Note", &app, " ", &one.instance, ": ", note, "\n"]);
    }
    lines
}

/// Returns how its last process ended, with its memory if it ran out of that.
fn last_exit(one: &InstanceSample) -> Option<String> {
    let exit = readable(one.last_exit.as_ref()?);
    Some(one.last_memory_peak_bytes.map_or(exit.clone(), |peak| format!("{exit} ({})", size(peak))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_plans::AppBackup;
    use crate::core::InstanceName;
    use crate::data_limit::DataUsage;
    use crate::samples::SampledState;

    fn instance(app: &str, name: &str) -> InstanceSample {
        let (kind, index) = name.split_once('.').unwrap();
        let ps = InstanceName { kind: kind.parse().unwrap(), index: index.parse().unwrap() };
        InstanceSample {
            state: SampledState::Healthy,
            pid: Some(4711),
            port: Some(20000),
            release: Some(3),
            uptime_s: Some(3905),
            cpu_percent: Some(1.25),
            memory_bytes: Some(40_055_603),
            ..InstanceSample::empty_slot(&app.parse().unwrap(), &ps)
        }
    }

    #[test]
    fn a_table_for_people() {
        let stopped = InstanceSample {
            state: SampledState::CrashLooping,
            pid: None,
            port: None,
            uptime_s: None,
            restarts: 7,
            cpu_percent: None,
            memory_bytes: None,
            last_exit: Some("out of memory".to_owned()),
            last_memory_peak_bytes: Some(64 << 20),
            ..instance("blog", "worker.1")
        };
        let expected = "\
PS        STATE          PID   PORT   RELEASE  UPTIME  RESTARTS  CPU   MEMORY    LAST EXIT
web.1     healthy        4711  20000  3        1h 5m   0         1.2%  38.2 MiB  -
worker.1  crash-looping  -     -      3        -       7         -     -         out of memory (64.0 MiB)
";
        assert_eq!(render_table(&[instance("blog", "web.1"), stopped]), expected);
        let holds =
            |one: InstanceSample, sandbox: &str| InstanceSample { sandbox: Some(sandbox.to_owned()), ..one };
        let (web, worker) =
            (holds(instance("blog", "web.1"), "level 1"), holds(instance("blog", "worker.1"), "level 1"));
        assert!(render_table(&[web.clone(), worker.clone()]).ends_with("\nSandbox: level 1\n"));
        let limit =
            |limit: &str, value: &str, by| SampledLimit { limit: limit.into(), value: value.into(), by };
        let limits = vec![limit("memory", "64m", Some(LimitEnforcer::Cgroup)), limit("pids", "9", None)];
        let limited = InstanceSample { limits, ..worker.clone() };
        let limited = render_table(&[limited.clone(), limited]);
        let expected = "\nLimits worker.1: memory 64m (by cgroup), pids 9 (held by nothing here)\n";
        assert!(limited.ends_with(expected) && limited.matches("Limits").count() == 1, "{limited}");
        let noted =
            InstanceSample { note: Some("port 20001 was taken by pid 7".to_owned()), ..worker.clone() };
        assert!(render_table(&[noted]).ends_with("\nNote worker.1: port 20001 was taken by pid 7\n"));
        let granted = InstanceSample { grants: vec!["/dev/a".into(), "/b:ro".into()], ..worker.clone() };
        assert!(render_table(&[granted]).ends_with("\nGrants: /dev/a, /b:ro\n"));
        let backup = |error: Option<&str>, age_s| AppBackup {
            plan: "nightly".parse().unwrap(),
            at: None,
            age_s,
            bytes: Some(2048),
            error: error.map(str::to_owned),
            lacks: None,
            is_overdue: false,
        };
        let backups = vec![backup(None, Some(7500)), backup(Some("no disk"), Some(90_000))];
        let data = DataUsage {
            bytes: 3 << 20,
            limit_bytes: 4 << 20,
            is_partial: true,
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let kept = render_table(&[InstanceSample { backups, data: Some(data), ..worker.clone() }]);
        assert!(
            kept.ends_with(
                "\nBackup nightly: 2h 5m ago, 2 KiB\n\
                 Backup nightly: failed, the last one is 1d 1h old; piku backup:list shows why\n\
                 Data: at least 3.0 MiB of 4.0 MiB, 75 %\n"
            ),
            "{kept}"
        );
        let unlike = render_table(&[web.clone(), holds(worker, "none")]);
        assert!(unlike.ends_with("\nSandbox web.1: level 1\nSandbox worker.1: none (built without a jail; where there is one, build it again: piku deploy blog)\n"), "{unlike}");
        let apps = render_table(&[web, holds(instance("shop", "web.1"), "level 1")]);
        assert!(apps.ends_with("\nSandbox blog: level 1\nSandbox shop: level 1\n"), "{apps}");
        let two = render_table(&[instance("blog", "web.1"), instance("shop", "web.1")]);
        assert!(two.starts_with("APP   PS     STATE"), "{two}");
        assert_eq!(render_table(&[]), "");
    }

    #[test]
    fn the_fields_that_scripts_rely_on() {
        let json = output::render(OutputFormat::Json, &[instance("blog", "web.1")], String::new).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        let fields: Vec<&str> = read[0].as_object().unwrap().keys().map(String::as_str).collect();
        let promised = "app instance type state pid port release uptime_s restarts cpu_percent cpu_seconds memory_bytes last_exit last_memory_peak_bytes sandbox limits next_run last_run last_success listens_on_all note";
        assert_eq!(fields.join(" "), promised);
        let back: Vec<InstanceSample> = serde_json::from_str(&json).unwrap();
        assert_eq!(back, [instance("blog", "web.1")]);
        let yaml = output::render(OutputFormat::Yaml, &[instance("blog", "web.1")], String::new).unwrap();
        assert!(yaml.contains("state: healthy\n"), "{yaml}");
        assert_eq!(
            output::render(OutputFormat::Json, &[] as &[InstanceSample], String::new).unwrap(),
            "[]\n"
        );
    }

    #[test]
    fn durations() {
        assert_eq!([0, 59, 60, 3600, 90_000].map(format_duration), ["0s", "59s", "1m 0s", "1h 0m", "1d 1h"]);
    }
}
