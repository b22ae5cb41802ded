//! Protections of this machine: those in effect, and those recorded in `host.yaml`.
//!
//! If a recorded protection is missing later, every build and every start fails. So the record is made
//! once, by the installation or the first start of the daemon, and again on the operator's request.

#![expect(clippy::disallowed_methods, reason = "host.yaml, which is the operator's")]

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use piku_chroot::jail;
use piku_files::atomic_file;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostSettings, Protection};
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::WithHint;
use serde::Serialize;

/// Key in `host.yaml`.
const KEY: &str = "protections:";
/// Comment above a new key.
const COMMENT: &str = "# What this machine protects apps with. A build or a start that misses one of these fails; see `piku doctor`.";

/// A protection as it is printed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ProtectionRow {
    protection: Protection,
    holds: bool,
    /// `None` if nothing was recorded yet.
    recorded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// Prints all protections, with `record` after recording those in effect. Returns whether none is lost.
///
/// # Errors
/// Fails if the protections cannot be determined or recorded.
pub(crate) fn run(root: &PikuRoot, record: bool, format: OutputFormat) -> anyhow::Result<bool> {
    if record {
        self::record(root)?;
    }
    let rows = report_rows(HostSettings::read(&root.settings())?.protections.as_deref())?;
    output::print(format, &rows, || render_report(&rows))?;
    Ok(!rows.iter().any(|row| !row.holds && row.recorded == Some(true)))
}

/// Records the protections in effect if none are recorded.
///
/// # Errors
/// As [`run`].
pub(crate) fn record_first(root: &PikuRoot) -> anyhow::Result<()> {
    if HostSettings::read(&root.settings())?.protections.is_none() { record(root) } else { Ok(()) }
}

fn record(root: &PikuRoot) -> anyhow::Result<()> {
    let holding = holding().context("cannot tell what protects apps here")?;
    let path = root.settings();
    let (text, mode) = match fs::read_to_string(&path) {
        Ok(text) => (text, mode_of(&path)?),
        Err(err) if err.kind() == ErrorKind::NotFound => (String::new(), 0o600),
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    };
    let line = format_line(&holding);
    let written = with_line(&text, &line).hint(format!("write it there by hand: {line}"));
    let written = written.with_context(|| format!("cannot record it in '{}'", path.display()))?;
    atomic_file::write(&path, written.as_bytes(), mode)
        .with_context(|| format!("cannot write '{}'", path.display()))
}

fn mode_of(path: &Path) -> anyhow::Result<u32> {
    let about = fs::metadata(path).with_context(|| format!("cannot look at '{}'", path.display()))?;
    Ok(about.permissions().mode() & 0o777)
}

/// Determines the protections in effect; empty on a machine without jails.
fn holding() -> anyhow::Result<Vec<Protection>> {
    match jail::available() {
        Ok(started) => Ok(started.protections()),
        Err(err) if err.is_absence() => Ok(Vec::new()),
        Err(err) => Err(err.failure().into()),
    }
}

fn format_line(protections: &[Protection]) -> String {
    let names: Vec<&str> = protections.iter().map(|one| one.name()).collect();
    format!("{KEY} [{}]", names.join(", "))
}

/// Returns the text of the settings with this line in place of the old one, or at the end. The rest is
/// unchanged.
fn with_line(text: &str, line: &str) -> anyhow::Result<String> {
    let mut lines: Vec<&str> = Vec::new();
    let mut place = None;
    let mut inside = false;
    for old in text.lines() {
        // A list may continue below its key.
        inside = old.starts_with(KEY) || inside && old.starts_with([' ', '\t', '-']);
        if old.starts_with(KEY) {
            place = Some(lines.len());
            lines.push(line);
        } else if !inside {
            lines.push(old);
        }
    }
    if place.is_none() {
        // Only the line itself may have been removed.
        lines.retain(|old| *old != COMMENT);
        lines.extend([COMMENT, line]);
    }
    let new = lines.join("\n") + "\n";
    let settings = |text: &str| -> anyhow::Result<HostSettings> {
        let settings =
            if text.trim().is_empty() { HostSettings::default() } else { serde_yaml::from_str(text)? };
        Ok(HostSettings { protections: None, ..settings })
    };
    let is_same = settings(text)? == settings(&new).context("it cannot be added to this file")?;
    ensure!(is_same, "it cannot be added to this file");
    Ok(new)
}

fn report_rows(recorded: Option<&[Protection]>) -> anyhow::Result<Vec<ProtectionRow>> {
    let row = |protection, why: Option<String>, mend: Option<String>| ProtectionRow {
        protection,
        holds: why.is_none(),
        recorded: recorded.map(|recorded| recorded.contains(&protection)),
        why,
        mend,
    };
    match jail::available() {
        Ok(started) => {
            let holds = started.protections();
            Ok(Protection::ALL
                .into_iter()
                .map(|one| match started.missing(one) {
                    Some(missing) => row(one, Some(missing.why.clone()), missing.fix.clone()),
                    None if holds.contains(&one) => row(one, None, None),
                    None => row(one, Some("piku-chroot does not know it".to_owned()), None),
                })
                .collect())
        }
        Err(err) if err.is_absence() => {
            let mend = || err.hints().first().cloned();
            let of = |one| match one {
                Protection::Namespaces => row(one, Some(err.to_string()), mend()),
                _ => row(one, Some("there is no jail".to_owned()), None),
            };
            Ok(Protection::ALL.into_iter().map(of).collect())
        }
        Err(err) => Err(err.failure().into()),
    }
}

/// Renders one line per protection; for a missing one, the reason and the remedy.
fn render_report(rows: &[ProtectionRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let holds = if row.holds { "yes" } else { "no" };
        let recorded = match row.recorded {
            Some(true) => "recorded",
            Some(false) => "not recorded",
            None => "nothing recorded",
        };
        let _ = writeln!(text, "{:<18}{holds:<5}{recorded}", row.protection.name());
        for (what, said) in [("why: ", &row.why), ("mend:", &row.mend)] {
            if let Some(said) = said {
                let _ = writeln!(text, "    {what} {said}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_leaves_everything_else_as_it_is() {
        let new = "protections: [namespaces]";
        let added = |text: &str| with_line(text, new).unwrap();
        assert_eq!(added(""), format!("{COMMENT}\n{new}\n"));
        let settings = "# mine\nsandbox: require\n\nlogs: {keep: 2} # few";
        assert_eq!(added(settings), format!("{settings}\n{COMMENT}\n{new}\n"));
        for before in [
            "protections: []\n",
            "protections: [seccomp] # old\n",
            "protections:\n  - seccomp\n  - landlock\n",
            "protections:\n- seccomp\n",
        ] {
            let text = format!("sandbox: off\n{before}app_users: own\n");
            assert_eq!(added(&text), format!("sandbox: off\n{new}\napp_users: own\n"), "{before}");
        }
        assert_eq!(added(&added(settings)), added(settings));
        assert_eq!(added(&format!("{COMMENT}\nsandbox: off\n")), format!("sandbox: off\n{COMMENT}\n{new}\n"));
        for bad in ["{sandbox: off}", "sandbox: off\n...\n", "sandbocks: off\n"] {
            assert!(with_line(bad, new).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_table_says_what_is_lost() {
        let rows = [
            ProtectionRow {
                protection: Protection::Namespaces,
                holds: true,
                recorded: Some(true),
                why: None,
                mend: None,
            },
            ProtectionRow {
                protection: Protection::ListenPorts,
                holds: false,
                recorded: None,
                why: Some("w".into()),
                mend: Some("m".into()),
            },
        ];
        let expected = "namespaces        yes  recorded\nlisten-ports      no   nothing recorded\n    why:  w\n    mend: m\n";
        assert_eq!(render_report(&rows), expected);
    }
}
