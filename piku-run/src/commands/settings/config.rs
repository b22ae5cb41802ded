//! `config APP …`: the operator's config. A change makes a release of its own with the tree of the live
//! one. If that release does not come up, it is removed and the change is not stored.

use anyhow::{Context, ensure};
use piku_layout::app_lock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_procfile::env::EnvFile;
use piku_release::manifest::ReleaseOrigin;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError, WithHint};

use super::read_input;
use crate::cli;
use crate::commands::lifecycle::successor::ReleaseSuccessor;
use crate::config::{ConfigChange, ConfigEdit, ConfigValues, check_env_name, parse_assignment, store};
use crate::known_apps;
use crate::lock;
use crate::releases::current;

/// Returns the edited config, and warnings for the operator.
type EditFunction<'a> = dyn Fn(&ConfigValues) -> anyhow::Result<(ConfigValues, Vec<String>)> + 'a;

pub(in crate::commands) fn run(
    root: &PikuRoot,
    app: &AppName,
    format: OutputFormat,
    action: Option<cli::ConfigCommand>,
) -> anyhow::Result<()> {
    let dir = root.app(app);
    if !matches!(action, Some(cli::ConfigCommand::Set { .. } | cli::ConfigCommand::Import { .. })) {
        known_apps::must_be_there(root, app)?;
    }
    let mut expected = None;
    let mut may_remove_all = true;
    let (edit, no_restart) = match action {
        None => return print_values(&store::read(&dir)?, format),
        Some(cli::ConfigCommand::Get { name, format }) => {
            return print_value(&store::read(&dir)?, &name, format);
        }
        Some(cli::ConfigCommand::Set { pairs, stdin: true, no_restart }) => {
            (ConfigEdit::Set(vec![(only_name(&pairs)?, read_value()?)]), no_restart)
        }
        Some(cli::ConfigCommand::Set { pairs, no_restart, .. }) => {
            let pairs = pairs.iter().map(|pair| parse_assignment(pair)).collect::<anyhow::Result<_>>()?;
            (ConfigEdit::Set(pairs), no_restart)
        }
        Some(cli::ConfigCommand::Unset { names, no_restart }) => (ConfigEdit::Unset(names), no_restart),
        Some(cli::ConfigCommand::Import { replace, allow_empty, before, no_restart }) => {
            may_remove_all = !replace || allow_empty;
            let mut text = read_input()?;
            if let Some(length) = before {
                ensure!(length <= text.len(), "stdin ends before the config that --before announces");
                let edited = text.split_off(length);
                expected = Some(std::mem::replace(&mut text, edited));
            }
            (if replace { ConfigEdit::Replace(text) } else { ConfigEdit::Import(text) }, no_restart)
        }
    };
    // A bad value creates nothing.
    let (alone, _) = edit.apply(&ConfigValues::default())?;
    if matches!(edit, ConfigEdit::Import(_)) && alone.0.is_empty() {
        progress::detail("stdin has no settings");
    }
    crate::commands::create_if_missing(root, app)?;
    change_config(root, app, no_restart, &|stored| {
        // Under the lock of the store, or for a change that is a difference from `stored`.
        if expected.as_ref().is_some_and(|expected| *expected != to_text(stored).as_bytes()) {
            let what = format!("the settings of {app} were changed meanwhile; nothing was stored");
            return Err(UserError::new(what).into());
        }
        let edited = edit.apply(stored)?;
        if !may_remove_all && edited.0.0.is_empty() && !stored.0.is_empty() {
            return Err(all_would_be_removed(app, stored.0.len()).into());
        }
        Ok(edited)
    })
}

/// Returns the error for a file without settings, which is more often an accident than what is meant.
fn all_would_be_removed(app: &AppName, count: usize) -> UserError {
    let settings = if count == 1 { "the only setting" } else { &format!("all {count} settings") };
    UserError::new(format!(
        "stdin has no settings, and would remove {settings} of {app}; nothing was changed"
    ))
    .hint(format!("to remove them: piku config:import {app} --replace --allow-empty </dev/null"))
}

/// Returns the name whose value is read from stdin.
fn only_name(words: &[String]) -> anyhow::Result<String> {
    match words {
        [name] if !name.contains('=') => {
            check_env_name(name).map_err(|failure| failure.code(USAGE))?;
            Ok(name.clone())
        }
        _ => Err(UserError::new("--stdin needs one NAME, without '='").code(USAGE).into()),
    }
}

/// Reads a value from stdin, without the newline that ends it.
fn read_value() -> anyhow::Result<String> {
    let mut text = String::from_utf8(read_input()?).context("the value on stdin is not valid UTF-8")?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn print_values(config: &ConfigValues, format: OutputFormat) -> anyhow::Result<()> {
    output::print(format, config, || to_text(config))
}

fn to_text(config: &ConfigValues) -> String {
    EnvFile { vars: config.0.clone(), ..EnvFile::default() }.to_text()
}

fn print_value(config: &ConfigValues, name: &str, format: OutputFormat) -> anyhow::Result<()> {
    let value = config.get(name).ok_or_else(|| UserError::new(format!("{name} is not set")))?;
    output::print(format, value, || format!("{value}\n"))
}

/// Edits the config, and makes it live with a release of its own, or stores it for the next one. Each change that
/// another session makes meanwhile counts too: `edit` is then asked again, with the config as it is after it.
pub(crate) fn change_config(
    root: &PikuRoot,
    app: &AppName,
    no_restart: bool,
    edit: &EditFunction<'_>,
) -> anyhow::Result<()> {
    let dir = root.app(app);
    let (_, warnings) = edit(&store::read(&dir)?)?;
    for warning in &warnings {
        progress::detail(warning);
    }
    loop {
        // The stored config can be corrected even if the link to the live release is lost.
        let live = if no_restart { dir.current_number() } else { current::live_release(&dir)? };
        match live {
            Some(live) if !no_restart && !dir.is_stopped() => {
                if change_running(root, app, live, edit)? {
                    return Ok(());
                }
                progress::detail("another release has gone live meanwhile: once more, after that one");
            }
            _ => return store_only(root, app, no_restart, live, edit),
        }
    }
}

/// Stores the edited config, without a release of its own.
fn store_only(
    root: &PikuRoot,
    app: &AppName,
    no_restart: bool,
    live: Option<u64>,
    edit: &EditFunction<'_>,
) -> anyhow::Result<()> {
    let dir = root.app(app);
    let change = store::edit(&dir, |stored| Ok(edit(stored)?.0))?;
    if change.is_empty() {
        progress::step("The configuration is as it was");
        return Ok(());
    }
    progress::step(&format!("Configuration: {change}"));
    if !no_restart && wait_for_start(root, app)? && take_up_postponed(root, app)? {
        return Ok(());
    }
    progress::detail(&match live {
        _ if dir.is_stopped() => format!("stored; it holds when {app} is started"),
        Some(live) if no_restart => {
            format!("stored; release {live} runs on without it, until 'restart' or the next release")
        }
        _ if dir.current_number().is_some() => "stored; the release that has gone live has it".to_owned(),
        _ => "stored; it holds from the first release on".to_owned(),
    });
    Ok(())
}

/// Waits for the release that a push is starting, which has its own copy of the config. Returns whether the app
/// runs.
fn wait_for_start(root: &PikuRoot, app: &AppName) -> anyhow::Result<bool> {
    let dir = root.app(app);
    lock::wait_for(root, &format!("the release of {app} that is being started"), || {
        let newest = crate::commands::release_numbers(&dir)?.last().copied();
        let is_starting = newest > dir.current_number() && app_lock::is_held(&dir);
        Ok((!is_starting).then_some(()))
    })?;
    Ok(dir.current_number().is_some() && !dir.is_stopped())
}

/// Deploys a release with the edited config. Returns false if another release than `live` is live.
fn change_running(
    root: &PikuRoot,
    app: &AppName,
    live: u64,
    edit: &EditFunction<'_>,
) -> anyhow::Result<bool> {
    let dir = root.app(app);
    let stored = store::read(&dir)?;
    let (config, _) = edit(&stored)?;
    let change = ConfigChange::between(&stored, &config);
    // Includes changes that were postponed.
    let differs = pending_change(&dir, live, &config)?.unwrap_or_else(|| change.clone());
    if differs.is_empty() {
        store::apply(&dir, &change)?;
        progress::step("The configuration is as it was");
        return Ok(true);
    }
    progress::step(&format!("Configuration: {differs}"));
    let deployed = deploy_successor(root, app, live, config, &differs, change);
    if deployed.is_err() {
        // It may have got another name meanwhile.
        known_apps::must_be_there(root, app)?;
    }
    deployed
        .with_context(|| match dir.current_number() {
            Some(now) if now == live => {
                format!("the change is neither live nor stored; {app} runs on as it did")
            }
            _ => format!("release {live} is not the live one any more"),
        })
        .hint("to store it all the same, for the next release: --no-restart")
}

/// Returns the difference between a config and that of the live release; `None` if that release has none of
/// its own.
fn pending_change(dir: &AppDir, live: u64, config: &ConfigValues) -> anyhow::Result<Option<ConfigChange>> {
    Ok(store::of_release(dir, live)?.map(|running| ConfigChange::between(&running, config)))
}

fn deploy_successor(
    root: &PikuRoot,
    app: &AppName,
    live: u64,
    config: ConfigValues,
    differs: &ConfigChange,
    change: ConfigChange,
) -> anyhow::Result<bool> {
    let subject = format!("config: {differs}");
    ReleaseSuccessor { tree_of: live, after: live, origin: ReleaseOrigin::Config, subject, config, change }
        .deploy(root, app)
}

/// Deploys a release with the postponed changes, if any. Returns whether there were any.
pub(in crate::commands) fn take_up_postponed(root: &PikuRoot, app: &AppName) -> anyhow::Result<bool> {
    let dir = root.app(app);
    while let Some((live, stored, differs)) = postponed(&dir)? {
        progress::step(&format!("Configuration: {differs}"));
        let deployed = deploy_successor(root, app, live, stored, &differs, ConfigChange::default());
        let is_live = deployed.with_context(|| {
            format!("{app} does not come up with what was stored since release {live} ({differs})")
        })?;
        if is_live {
            return Ok(true);
        }
        progress::detail("another release has gone live meanwhile: once more, after that one");
    }
    Ok(false)
}

/// Returns the live release, the stored config and its difference from the running one; `None` if they are
/// equal.
pub(in crate::commands) fn postponed(
    dir: &AppDir,
) -> anyhow::Result<Option<(u64, ConfigValues, ConfigChange)>> {
    let Some(live) = current::live_release(dir)? else { return Ok(None) };
    let stored = store::read(dir)?;
    let differs = pending_change(dir, live, &stored)?.filter(|differs| !differs.is_empty());
    Ok(differs.map(|differs| (live, stored, differs)))
}
