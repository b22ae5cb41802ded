//! The settings that this host keeps for builds and the front. They follow a rollback of the target hosts, as those of
//! an app that runs here do.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, ensure};
use piku_layout::deploys::missed_settings::SettingChanges;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;

use super::host_request::QUERY;
use super::relay_order::RelayOrder;
use super::settings_change::BegunChange;
use super::{own_command, request_words};
use crate::app_context::AppContext;
use crate::distribute::session_failure::SessionFailure;
use crate::distribute::ssh::{self, SessionInput};

/// Names of settings with their values.
pub(super) type SettingValues = BTreeMap<String, String>;

/// Changes on this host what a target host has changed since it had the settings `before_there`. Settings of this host
/// alone stay. The machines `has` have these changes; it is noted that `lacks` lack them.
pub(super) fn follow_settings(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &MachineAddress,
    order: &RelayOrder,
    before_there: &SettingValues,
    (has, lacks): (Vec<String>, Vec<String>),
) -> anyhow::Result<()> {
    let of_host = changed_settings(before_there, &read_settings(context, to, machine)?);
    let before = read_own_settings(context)?;
    let mut after = before.clone();
    for (name, value) in of_host {
        match value {
            Some(value) => after.insert(name, value),
            None => after.remove(&name),
        };
    }
    let changes = changed_settings(&before, &after);
    if changes.is_empty() {
        return Ok(());
    }
    let begun = BegunChange::begin_followed(context, before, has, lacks)?;
    // Refuses names that are not valid, before they are passed on.
    let stored = order.share(|| store_settings(context, &after));
    begun.note(context)?;
    stored?;
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    progress::detail(&format!("the settings for builds on this machine follow: {}", names.join(", ")));
    Ok(())
}

/// Returns the settings of this host; none for an app that it does not know yet.
pub(super) fn read_own_settings(context: &AppContext<'_>) -> anyhow::Result<SettingValues> {
    if !context.dir().is_there() {
        return Ok(SettingValues::new());
    }
    let args = ["--format", "json"].map(str::to_owned);
    let out = own_command(context, "config", &args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let out = out.context("cannot run the script of the verbs")?;
    ensure!(out.status.success(), "cannot read the settings of this machine");
    serde_json::from_slice(&out.stdout).context("the settings of this machine are not valid")
}

/// Returns the names whose values differ, with the new values.
pub(super) fn changed_settings(old: &SettingValues, new: &SettingValues) -> SettingChanges {
    let names = old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name));
    names.map(|name| (name.clone(), new.get(name).cloned())).collect()
}

/// Returns the settings of a target host.
pub(super) fn read_settings(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &MachineAddress,
) -> anyhow::Result<SettingValues> {
    let words = request_words(context, "config", &["--format", "json"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = machine.name();
    let ended = ssh::run_on_host(&name, machine, to, &words, SessionInput::Nothing, QUERY)?;
    if let Some(failure) = SessionFailure::of(&ended, Some(machine), to) {
        anyhow::bail!("{name}: {}", failure.why);
    }
    serde_json::from_str(&ended.answer).with_context(|| format!("the settings of {name} are not valid"))
}

/// Replaces the settings of this host in one step. The words of the command are shown if it fails.
fn store_settings(context: &AppContext<'_>, settings: &SettingValues) -> anyhow::Result<()> {
    let args = ["--replace", "--allow-empty", "--no-restart"].map(str::to_owned);
    let mut command = own_command(context, "config:import", &args);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run the script of the verbs")?;
    let text = serde_json::to_vec(settings).context("cannot encode the settings as JSON")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read them reports why.
        let _ = stdin.write_all(&text);
    }
    let out = child.wait_with_output().context("cannot run the script of the verbs")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_has_changed_is_a_change() {
        let of = |text: &str| -> SettingValues {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let (old, new) = (of("A=1 B=2 C=3"), of("A=1 B=9 D=4"));
        let change = changed_settings(&old, &new);
        let expected = [("B", Some("9")), ("C", None), ("D", Some("4"))];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(change, SettingChanges::from(expected));
        assert!(changed_settings(&new, &new).is_empty());
    }
}
