//! Renders a Procfile as systemd units: a service template per process type, a service and a timer per
//! cron job, and one target for the app.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use indexmap::IndexMap;
use piku_layout::name::{AppName, ProcessName};
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, quote_word};
use piku_report::user_error::UserError;

use crate::command;
use crate::env::MAX_STRING;
use crate::procfile::{self, ProcessKind, Procfile, ProcfileEntry};
use crate::quoting::{quote_shell, quote_systemd};
use crate::render::app_values::AppValues;
use crate::schedule;

/// Settings of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitSettings {
    /// App whose name each unit's name begins with.
    pub(crate) app: AppName,
    /// Absolute path of the directory in which the commands run.
    pub(crate) dir: PathBuf,
    /// User that runs the commands. `None` for the service manager of a user.
    pub(crate) user: Option<String>,
    /// Number of instances of each type that the target starts; 1 for a type that is missing.
    pub(crate) formation: BTreeMap<ProcessName, u16>,
    /// First port of the first type that listens.
    pub(crate) port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemdUnit {
    /// File name, such as `blog.web@.service`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// All units of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemdUnits {
    /// The target is the first.
    pub(crate) files: Vec<SystemdUnit>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Returns the units as one text, each after a comment with its name.
pub(crate) fn print_units(units: &[SystemdUnit]) -> String {
    let texts = units.iter().map(|unit| format!("# {}\n{}", unit.name, unit.text));
    texts.collect::<Vec<_>>().join("\n")
}

/// Distance between the first ports of two types.
const PORTS_PER_TYPE: u16 = 100;

/// Placeholder for the instance name in the value of PORT and PS while the ENV file is read. It has
/// private-use characters, which no ENV file contains.
const INSTANCE: &str = "\u{f0000}piku-instance\u{f0000}";

/// Renders the units. `values` reads the variables of one type; it is given the values of `PORT`, `PS` and
/// `PROC_TYPE`.
///
/// # Errors
/// Fails if the Procfile has nothing that runs under systemd, and with [`Diagnostics`] if a unit cannot
/// express something.
pub(crate) fn render(
    settings: &UnitSettings,
    procfile: &Procfile,
    mut values: impl FnMut(IndexMap<String, String>) -> anyhow::Result<AppValues>,
) -> anyhow::Result<SystemdUnits> {
    let is_process = |name: &ProcessName| {
        procfile.entries.iter().any(|entry| entry.kind.is_long_running() && entry.name == *name)
    };
    if let Some(name) = settings.formation.keys().find(|name| !is_process(name)) {
        return Err(UserError::new(format!("--formation: the Procfile has no service '{name}'")).into());
    }
    let location = render_location(settings)?;
    let app = &settings.app;
    let (mut errors, mut warnings) = (DiagnosticCollector::default(), DiagnosticCollector::default());
    let mut wanted = Vec::new();
    let mut units = Vec::new();
    let mut port = settings.port;
    for entry in &procfile.entries {
        let mut warn = |message: &str| {
            let message = format!("'{}' {message}", entry.name);
            warnings.push(|| Diagnostic::error(procfile::FILE, entry.line, message).warning());
        };
        match entry.kind {
            ProcessKind::Release => {
                warn("has no unit: run it before you start the target");
                continue;
            }
            ProcessKind::Preflight => {
                warn("has no unit: run it before you build the app");
                continue;
            }
            ProcessKind::Static => {
                warn("has no unit: a web server serves it");
                continue;
            }
            ProcessKind::Web | ProcessKind::Wsgi | ProcessKind::Worker | ProcessKind::Cron => {}
        }
        let name = format!("{app}.{}", entry.name);
        let platform = platform_variables(entry);
        let values = values(platform.clone())?;
        let service = match render_service(settings, &location, entry, &platform, &values) {
            Ok(service) => service,
            Err(found) => {
                errors.push(|| *found);
                continue;
            }
        };
        if entry.kind == ProcessKind::Cron {
            let (times, is_never) = calendar_events(entry.schedule.as_deref().unwrap_or_default());
            if is_never {
                warn("never runs: none of its months has that day");
            }
            wanted.push(format!("{name}.timer"));
            units.push(SystemdUnit { name: format!("{name}.service"), text: service });
            units.push(SystemdUnit {
                name: format!("{name}.timer"),
                text: render_timer(app, entry, &times, Some(&format!("{app}.target"))),
            });
            continue;
        }
        let count = settings.formation.get(&entry.name).copied().unwrap_or(1);
        if entry.kind.has_port() {
            if port.checked_add(count).is_none() {
                let message = format!("--port: no ports are left for '{}'", entry.name);
                return Err(UserError::new(message).into());
            }
            wanted.extend((0..count).map(|at| format!("{name}@{}.service", port + at)));
            port = port.saturating_add(PORTS_PER_TYPE);
        } else {
            wanted.extend((1..=count).map(|at| format!("{name}@{at}.service")));
        }
        units.push(SystemdUnit { name: format!("{name}@.service"), text: service });
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors.finish()).into());
    }
    if units.is_empty() {
        return Err(UserError::new("the Procfile has nothing that runs under systemd").into());
    }
    units.insert(0, SystemdUnit { name: format!("{app}.target"), text: render_target(app, &wanted) });
    Ok(SystemdUnits { files: units, warnings: warnings.finish() })
}

fn render_target(app: &AppName, wanted: &[String]) -> String {
    let mut text = format!("[Unit]\nDescription={app}\n");
    for unit in wanted {
        text.extend(["Wants=", unit, "\n"]);
    }
    text + "\n[Install]\nWantedBy=multi-user.target\n"
}

/// Renders a timer. Stopping `target` stops it; without one it starts at boot.
pub(super) fn render_timer(
    app: &AppName,
    entry: &ProcfileEntry,
    times: &[String],
    target: Option<&str>,
) -> String {
    let mut text = format!("[Unit]\nDescription={app} {}\n", entry.name);
    if let Some(target) = target {
        text.extend(["PartOf=", target, "\n"]);
    }
    text.push_str("\n[Timer]\n");
    for time in times {
        text.extend(["OnCalendar=", time, "\n"]);
    }
    text.push_str("AccuracySec=1s\n");
    if target.is_none() {
        text.push_str("\n[Install]\nWantedBy=timers.target\n");
    }
    text
}

/// Renders `User=` and `WorkingDirectory=`.
fn render_location(settings: &UnitSettings) -> anyhow::Result<String> {
    let dir = settings.dir.to_str().filter(|dir| !dir.contains(char::is_control) && !dir.ends_with('\\'));
    // systemd removes blanks at the end.
    let dir = dir.filter(|dir| dir.starts_with('/') && dir.trim() == *dir);
    let dir =
        dir.ok_or_else(|| anyhow!("--dir: systemd cannot use the path '{}'", settings.dir.display()))?;
    let mut text = String::new();
    if let Some(user) = &settings.user {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if user.is_empty() || user.len() > 31 || !user.bytes().all(inner) || user.starts_with(['-', '.']) {
            return Err(anyhow!("--user: {} is not a user name", quote_word(user)));
        }
        text.extend(["User=", user, "\n"]);
    }
    Ok(text + "WorkingDirectory=" + &dir.replace('%', "%%") + "\n")
}

/// Returns the variables that the platform sets for this type.
fn platform_variables(entry: &ProcfileEntry) -> IndexMap<String, String> {
    let mut variables = IndexMap::new();
    variables.insert("PROC_TYPE".to_owned(), entry.name.to_string());
    if entry.kind == ProcessKind::Cron {
        variables.insert("PS".to_owned(), entry.name.to_string());
        return variables;
    }
    variables.insert("PS".to_owned(), format!("{}.{INSTANCE}", entry.name));
    if entry.kind.has_port() {
        variables.insert("BIND_ADDRESS".to_owned(), "127.0.0.1".to_owned());
        variables.insert("PORT".to_owned(), INSTANCE.to_owned());
    }
    variables
}

fn render_service(
    settings: &UnitSettings,
    location: &str,
    entry: &ProcfileEntry,
    platform: &IndexMap<String, String>,
    values: &AppValues,
) -> Result<String, Box<Diagnostic>> {
    let app = &settings.app;
    let is_cron = entry.kind == ProcessKind::Cron;
    let command = match entry.kind {
        ProcessKind::Wsgi => format!("gunicorn --bind \"127.0.0.1:$PORT\" {}", quote_shell(&entry.command)),
        _ => entry.command.clone(),
    };
    let [shell, flag, command] = command::argv(&command);
    if command.len() >= MAX_STRING {
        let message = format!("'{}': the command is longer than Linux's limit of 128 KiB", entry.name);
        return Err(Box::new(Diagnostic::error(procfile::FILE, entry.line, message)));
    }
    let instance = if is_cron { "" } else { " %i" };
    let mut text = format!("[Unit]\nDescription={app} {}{instance}\n", entry.name);
    // Writing to a string cannot fail.
    if !is_cron {
        let _ = write!(text, "PartOf={app}.target\nAfter=network.target\nStartLimitIntervalSec=0\n");
    }
    let _ = write!(text, "\n[Service]\nType={}\n{location}", if is_cron { "oneshot" } else { "exec" });
    let own = values.iter().filter(|(name, _)| !platform.contains_key(*name));
    let own = own.map(|(name, value)| (name, value.text.as_str()));
    // As with piku, the platform's values take precedence.
    for (name, value) in own.chain(platform.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        let _ = writeln!(text, "Environment={}", quote_with_instance(&format!("{name}={value}")));
    }
    // systemd reads `$$` as a dollar, which the shell must see.
    let _ = writeln!(text, "ExecStart={shell} {flag} {}", quote_with_instance(&command).replace('$', "$$"));
    let _ = writeln!(text, "SyslogIdentifier={app}.{}", entry.name);
    if !is_cron {
        text.push_str("Restart=always\nRestartSec=1\nKillMode=mixed\nTimeoutStopSec=10\n");
    }
    Ok(text)
}

/// Quotes a word and replaces the placeholder by systemd's specifier for the instance.
fn quote_with_instance(word: &str) -> String {
    quote_systemd(word).replace(INSTANCE, "%i")
}

/// Converts a schedule to calendar events of systemd.time(7). Returns two events if cron runs the job on
/// days that match either of the two fields for days. The second value is true if the job never runs.
pub(super) fn calendar_events(schedule: &str) -> (Vec<String>, bool) {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let times = schedule::expand_schedule(schedule);
    let [minutes, hours, days, months, weekdays] = &times.fields;
    let list = |numbers: &[u32], all: usize| {
        if numbers.len() == all {
            return "*".to_owned();
        }
        numbers.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(",")
    };
    let date = |days: &[u32]| format!("*-{}-{}", list(months, 12), list(days, 31));
    let time = format!("{}:{}:00", list(hours, 24), list(minutes, 60));
    let week: Vec<&str> = weekdays.iter().filter_map(|day| DAYS.get(*day as usize).copied()).collect();
    let week = if week.len() == 7 { String::new() } else { format!("{} ", week.join(",")) };
    let lengths = |month: &u32| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let longest = months.iter().map(lengths).max().unwrap_or(0);
    let is_never = times.requires_both_days && days.first().is_none_or(|first| *first > longest);
    if times.requires_both_days {
        return (vec![format!("{week}{} {time}", date(days))], is_never);
    }
    let all: Vec<u32> = (1..=31).collect();
    (vec![format!("{} {time}", date(days)), format!("{week}{} {time}", date(&all))], false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_times_of_systemd() {
        for (schedule, wanted) in [
            ("* * * * *", &["*-*-* *:*:00"][..]),
            ("*/15 8-10 * * mon-fri", &["Mon,Tue,Wed,Thu,Fri *-*-* 08,09,10:00,15,30,45:00"]),
            ("0 0 1 1 *", &["*-01-01 00:00:00"]),
            ("5 4 */10 * *", &["*-*-01,11,21,31 04:05:00"]),
            ("0 12 13 * fri", &["*-*-13 12:00:00", "Fri *-*-* 12:00:00"]),
            ("0 0 * * 7", &["Sun *-*-* 00:00:00"]),
            ("0 0 * feb,MAR 1-7/2", &["Sun,Mon,Wed,Fri *-02,03-* 00:00:00"]),
            ("@weekly", &["Sun *-*-* 00:00:00"]),
            ("@hourly", &["*-*-* *:00:00"]),
        ] {
            assert_eq!(calendar_events(schedule).0, wanted, "{schedule}");
        }
        assert!(calendar_events("0 0 30 2 *").1 && calendar_events("0 0 31 4,6 *").1);
        assert!(!calendar_events("0 0 29 2 *").1 && !calendar_events("0 0 30 2 mon").1);
    }

    #[test]
    fn the_placeholder_becomes_the_instance() {
        assert_eq!(quote_with_instance(&format!("PORT={INSTANCE}")), "\"PORT=%i\"");
    }
}
