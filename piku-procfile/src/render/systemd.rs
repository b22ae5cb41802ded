//! The workers and crons of a Procfile as units for systemd: a template a type, a timer a cron, and a target for all.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use indexmap::IndexMap;
use piku_layout::name::{AppName, ProcessName};
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics};
use piku_report::user_error::UserError;

use crate::command;
use crate::procfile::{self, ProcessKind, Procfile, ProcfileEntry};
use crate::render::values::AppValues;
use crate::schedule;

/// What the caller decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSettings {
    /// The app, whose name is in front of each unit's.
    pub app: AppName,
    /// The folder in which commands run; absolute.
    pub dir: PathBuf,
    /// The user who runs them; none for the manager of a user.
    pub user: Option<String>,
    /// How many of each type the target starts; one of those that are not in it.
    pub formation: BTreeMap<ProcessName, u16>,
    /// The first port.
    pub port: u16,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdUnit {
    /// Its name, such as `blog.web@.service`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// All files. `Display` writes each after a comment with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdUnits {
    /// The files, the target first.
    pub files: Vec<SystemdUnit>,
    /// What their author should look at.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for SystemdUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, unit) in self.files.iter().enumerate() {
            let blank = if at > 0 { "\n" } else { "" };
            write!(f, "{blank}# {}\n{}", unit.name, unit.text)?;
        }
        Ok(())
    }
}

/// The ports of one type begin this far above those of the one before.
const PORTS_A_TYPE: u16 = 100;

/// Stands for the instance while an ENV file that uses PORT is read; private characters that no such file has.
const INSTANCE: &str = "\u{f0000}piku-instance\u{f0000}";

/// What Linux takes for one argument (`MAX_ARG_STRLEN`), its end included.
const MAX_ARGUMENT: usize = 128 << 10;

/// The units. `values` gives the variables of one type, for which `PORT`, `PS` and `PROC_TYPE` have the values that it is given.
///
/// # Errors
/// When nothing in the Procfile runs under systemd, or something of it cannot stand in a unit: then a [`Diagnostics`].
pub fn render(
    settings: &UnitSettings,
    procfile: &Procfile,
    mut values: impl FnMut(IndexMap<String, String>) -> anyhow::Result<AppValues>,
) -> anyhow::Result<SystemdUnits> {
    if let Some(name) = settings
        .formation
        .keys()
        .find(|name| !procfile.entries.iter().any(|entry| entry.kind.runs() && entry.name == **name))
    {
        return Err(
            UserError::new(format!("--formation: '{name}' is no type of worker in the Procfile")).into()
        );
    }
    let place = place(settings)?;
    let app = &settings.app;
    let (mut errors, mut warnings) = (DiagnosticCollector::default(), DiagnosticCollector::default());
    let mut wanted = Vec::new();
    let mut units = Vec::new();
    let mut port = settings.port;
    for entry in &procfile.entries {
        let name = format!("{app}.{}", entry.name);
        if !entry.kind.runs() && entry.kind != ProcessKind::Cron {
            let what = match entry.kind {
                ProcessKind::Release => "is no unit: run it before the target is started",
                ProcessKind::Preflight => "is no unit: run it before the app is built",
                _ => "is no unit: a web server serves it",
            };
            warnings.push(|| {
                Diagnostic::error(procfile::FILE, entry.line, format!("'{}' {what}", entry.name)).warning()
            });
            continue;
        }
        let known = known(entry);
        let values = values(known.clone())?;
        let service = match service(settings, &place, entry, &known, &values) {
            Ok(service) => service,
            Err(found) => {
                errors.push(|| *found);
                continue;
            }
        };
        if entry.kind == ProcessKind::Cron {
            let (calendar, never) = calendar(entry.schedule.as_deref().unwrap_or_default());
            if never {
                warnings.push(|| {
                    let message = format!("'{}' never runs: no month has such a day", entry.name);
                    Diagnostic::error(procfile::FILE, entry.line, message).warning()
                });
            }
            let mut timer =
                format!("[Unit]\nDescription={app} {}\nPartOf={app}.target\n\n[Timer]\n", entry.name);
            for time in calendar {
                // Writing to a string cannot fail.
                let _ = writeln!(timer, "OnCalendar={time}");
            }
            timer.push_str("AccuracySec=1s\n");
            wanted.push(format!("{name}.timer"));
            units.push(SystemdUnit { name: format!("{name}.service"), text: service });
            units.push(SystemdUnit { name: format!("{name}.timer"), text: timer });
            continue;
        }
        let count = settings.formation.get(&entry.name).copied().unwrap_or(1);
        if entry.kind.listens() {
            if port.checked_add(count).is_none() {
                return Err(UserError::new(format!("--port: no ports are left for '{}'", entry.name)).into());
            }
            wanted.extend((0..count).map(|at| format!("{name}@{}.service", port + at)));
            port = port.saturating_add(PORTS_A_TYPE);
        } else {
            wanted.extend((1..=count).map(|at| format!("{name}@{at}.service")));
        }
        units.push(SystemdUnit { name: format!("{name}@.service"), text: service });
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors.finish()).into());
    }
    if units.is_empty() {
        return Err(UserError::new("nothing in the Procfile runs under systemd").into());
    }
    let mut target = format!("[Unit]\nDescription={app}\n");
    for unit in wanted {
        let _ = writeln!(target, "Wants={unit}");
    }
    target.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    units.insert(0, SystemdUnit { name: format!("{app}.target"), text: target });
    Ok(SystemdUnits { files: units, warnings: warnings.finish() })
}

/// `User=` and `WorkingDirectory=`.
fn place(settings: &UnitSettings) -> anyhow::Result<String> {
    let dir = settings.dir.to_str().filter(|dir| !dir.contains(char::is_control) && !dir.ends_with('\\'));
    // Blanks at its end would be cut off.
    let dir = dir.filter(|dir| dir.starts_with('/') && dir.trim() == *dir);
    let dir =
        dir.ok_or_else(|| anyhow!("--dir: systemd cannot have the path '{}'", settings.dir.display()))?;
    let mut text = String::new();
    if let Some(user) = &settings.user {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if user.is_empty() || user.len() > 31 || !user.bytes().all(inner) || user.starts_with(['-', '.']) {
            return Err(anyhow!("--user: {} is no user's name", piku_report::diagnostic::word(user)));
        }
        let _ = writeln!(text, "User={user}");
    }
    let _ = writeln!(text, "WorkingDirectory={}", dir.replace('%', "%%"));
    Ok(text)
}

/// What the platform sets for this type.
fn known(entry: &ProcfileEntry) -> IndexMap<String, String> {
    let mut known = IndexMap::new();
    known.insert("PROC_TYPE".to_owned(), entry.name.to_string());
    if entry.kind == ProcessKind::Cron {
        known.insert("PS".to_owned(), entry.name.to_string());
        return known;
    }
    known.insert("PS".to_owned(), format!("{}.{INSTANCE}", entry.name));
    if entry.kind.listens() {
        known.insert("BIND_ADDRESS".to_owned(), "127.0.0.1".to_owned());
        known.insert("PORT".to_owned(), INSTANCE.to_owned());
    }
    known
}

fn service(
    settings: &UnitSettings,
    place: &str,
    entry: &ProcfileEntry,
    known: &IndexMap<String, String>,
    values: &AppValues,
) -> Result<String, Box<Diagnostic>> {
    let app = &settings.app;
    let cron = entry.kind == ProcessKind::Cron;
    let run = match entry.kind {
        ProcessKind::Wsgi => {
            format!("gunicorn --bind \"127.0.0.1:$PORT\" '{}'", entry.command.replace('\'', "'\"'\"'"))
        }
        _ => entry.command.clone(),
    };
    let [shell, flag, run] = command::argv(&run);
    if run.len() >= MAX_ARGUMENT {
        let message = format!("'{}': Linux takes no command longer than 128 KiB", entry.name);
        return Err(Box::new(Diagnostic::error(procfile::FILE, entry.line, message)));
    }
    let instance = if cron { "" } else { " %i" };
    let mut text = format!("[Unit]\nDescription={app} {}{instance}\n", entry.name);
    if !cron {
        let _ = write!(text, "PartOf={app}.target\nAfter=network.target\nStartLimitIntervalSec=0\n");
    }
    let _ = write!(text, "\n[Service]\nType={}\n{place}", if cron { "oneshot" } else { "exec" });
    for (name, value) in values.iter().filter(|(name, _)| !known.contains_key(*name)) {
        let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={}", value.text)));
    }
    // The platform's own win, as they do with piku.
    for (name, value) in known {
        let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}")));
    }
    // Here `$$` is a dollar; the shell is to see the command as it is.
    let _ = writeln!(text, "ExecStart={shell} {flag} {}", quoted(&run).replace('$', "$$"));
    let _ = writeln!(text, "SyslogIdentifier={app}.{}", entry.name);
    if !cron {
        text.push_str("Restart=always\nRestartSec=1\nKillMode=mixed\nTimeoutStopSec=10\n");
    }
    Ok(text)
}

/// Between quotes, as systemd.syntax(7) undoes them; `%` begins nothing, except for the instance.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '%' => quoted.push_str("%%"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted.replace(INSTANCE, "%i")
}

/// The times of a schedule as systemd.time(7) has them, and whether there are none. Two where a day is one that either of
/// the fields for days names.
fn calendar(schedule: &str) -> (Vec<String>, bool) {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let times = schedule::times(schedule);
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
    let either = !times.starred[2] && !times.starred[4];
    let never = !either && days.first().is_none_or(|first| *first > longest);
    if either {
        let all: Vec<u32> = (1..=31).collect();
        (vec![format!("{} {time}", date(days)), format!("{week}{} {time}", date(&all))], never)
    } else {
        (vec![format!("{week}{} {time}", date(days))], never)
    }
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
            assert_eq!(calendar(schedule).0, wanted, "{schedule}");
        }
        assert!(calendar("0 0 30 2 *").1 && calendar("0 0 31 4,6 *").1);
        assert!(!calendar("0 0 29 2 *").1 && !calendar("0 0 30 2 mon").1);
    }

    #[test]
    fn nothing_is_left_for_systemd_to_read_into_a_text() {
        assert_eq!(quoted("A=50% \"x\" \\n\n$HOME\u{1}é"), "\"A=50%% \\\"x\\\" \\\\n\\n$HOME\\x01é\"");
        assert_eq!(quoted(&format!("PORT={INSTANCE}")), "\"PORT=%i\"");
    }
}
