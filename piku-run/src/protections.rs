//! Protections of this machine: those in effect, and those recorded in `host.yaml`.
//!
//! If a recorded protection is missing later, every build and every start fails. So the record is made
//! once, by the installation or the first start of the daemon, and again on the operator's request.

use std::fmt::Write;

use anyhow::Context;
use piku_chroot::jail;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostSettings, Protection, SettingsKey};
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::WithHint;
use serde::Serialize;

const KEY: SettingsKey = SettingsKey {
    name: "protections:",
    comment: "# What this machine protects apps with. A build or a start that misses one of these fails; see `piku doctor`.",
};

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
    let value = format_value(&holding);
    root.edit_settings(|settings, text| {
        let wanted = HostSettings { protections: Some(holding), ..settings.clone() };
        Ok((KEY.replace_in(text, &value), wanted))
    })
    .context("cannot record the protections")
    .hint(format!("write it there by hand: {} {value}", KEY.name))
}

/// Determines the protections in effect; empty on a machine without jails.
fn holding() -> anyhow::Result<Vec<Protection>> {
    match jail::available() {
        Ok(started) => Ok(started.protections()),
        Err(err) if err.is_absence() => Ok(Vec::new()),
        Err(err) => Err(err.failure().into()),
    }
}

fn format_value(protections: &[Protection]) -> String {
    let names: Vec<&str> = protections.iter().map(|one| one.name()).collect();
    format!("[{}]", names.join(", "))
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
