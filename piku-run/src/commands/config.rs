//! `config APP …`: the operator's settings. A change is a release of its own, with the tree of the live one: it is live when
//! the command ends, or, where it does not come up, neither live nor stored.

use std::io::Read;

use anyhow::Context;
use piku_build::release::Origin;
use piku_procfile::env::Env;
use piku_procfile::failure::{Failure, Hint};
use piku_procfile::layout::{AppDir, Root};
use piku_procfile::name::AppName;
use piku_procfile::output::{self, Format};

use crate::cli;
use crate::config::{Change, Config, Edit, assignment, store};
use crate::releases::Successor;
use crate::{client, place};

pub(super) fn run(
    root: &Root,
    app: &AppName,
    format: Format,
    action: Option<cli::Config>,
) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let dir = root.app(app);
    let (edit, no_restart) = match action {
        None => return print(&store::read(&dir)?, format),
        Some(cli::Config::Get { name }) => return get(&store::read(&dir)?, &name),
        Some(cli::Config::Set { pairs, no_restart }) => {
            let pairs = pairs.iter().map(|pair| assignment(pair)).collect::<anyhow::Result<_>>()?;
            (Edit::Set(pairs), no_restart)
        }
        Some(cli::Config::Unset { names, no_restart }) => (Edit::Unset(names), no_restart),
        Some(cli::Config::Import { no_restart }) => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).context("cannot read stdin")?;
            (Edit::Import(text), no_restart)
        }
    };
    change(root, app, &edit, no_restart)
}

fn print(config: &Config, format: Format) -> anyhow::Result<()> {
    output::print(format, config, || Env { vars: config.0.clone(), ..Env::default() }.to_text())
}

fn get(config: &Config, name: &str) -> anyhow::Result<()> {
    let value = config.get(name).ok_or_else(|| Failure::new(format!("{name} is not set")))?;
    output::write(format!("{value}\n").as_bytes())
}

fn change(root: &Root, app: &AppName, edit: &Edit, no_restart: bool) -> anyhow::Result<()> {
    let dir = root.app(app);
    let stored = store::read(&dir)?;
    let (config, warnings) = edit.apply(&stored)?;
    for warning in &warnings {
        client::detail(warning);
    }
    let change = Change::between(&stored, &config);
    // With a link that is lost, too, the operator may put right what stands in the store.
    let live = if no_restart { dir.current_number() } else { place::live(&dir)? };
    let stopped = dir.is_stopped();
    let Some(live) = live.filter(|_| !no_restart && !stopped) else {
        if change.is_empty() {
            client::step("The configuration is as it was");
            return Ok(());
        }
        store::apply(&dir, &change)?;
        client::step(&format!("Configuration: {change}"));
        client::detail(&match live {
            _ if stopped => format!("stored; it holds when {app} is started"),
            Some(live) => {
                format!("stored; release {live} runs on without it, until 'restart' or the next release")
            }
            None => "stored; it holds from the first release on".to_owned(),
        });
        return Ok(());
    };
    // What was postponed comes with it.
    let differs = pending(&dir, live, &config)?.unwrap_or_else(|| change.clone());
    if differs.is_empty() {
        store::apply(&dir, &change)?;
        client::step("The configuration is as it was");
        return Ok(());
    }
    client::step(&format!("Configuration: {differs}"));
    go(root, app, live, config, &differs, change)
        .with_context(|| match dir.current_number() {
            Some(now) if now == live => {
                format!("the change is neither live nor stored; {app} runs on as it did")
            }
            _ => format!("release {live} is not the live one any more"),
        })
        .hint("to store it all the same, for the next release: --no-restart")
}

/// How a configuration differs from that of the live release; nothing where that has none of its own.
fn pending(dir: &AppDir, live: u64, config: &Config) -> anyhow::Result<Option<Change>> {
    Ok(store::of_release(dir, live)?.map(|running| Change::between(&running, config)))
}

fn go(
    root: &Root,
    app: &AppName,
    live: u64,
    config: Config,
    differs: &Change,
    change: Change,
) -> anyhow::Result<()> {
    let subject = format!("config: {differs}");
    Successor { tree_of: live, after: live, origin: Origin::Config, subject, config, change }.go(root, app)
}

/// What was stored and postponed: a release with it, when there is any. Says whether there was.
pub(super) fn take_up_postponed(root: &Root, app: &AppName) -> anyhow::Result<bool> {
    let dir = root.app(app);
    let Some((live, stored, differs)) = postponed(&dir)? else { return Ok(false) };
    client::step(&format!("Configuration: {differs}"));
    go(root, app, live, stored, &differs, Change::default()).with_context(|| {
        format!("{app} does not come up with what was stored since release {live} ({differs})")
    })?;
    Ok(true)
}

/// The live release, the store, and how that differs from what runs; nothing when it does not.
pub(super) fn postponed(dir: &AppDir) -> anyhow::Result<Option<(u64, Config, Change)>> {
    let Some(live) = place::live(dir)? else { return Ok(None) };
    let stored = store::read(dir)?;
    let differs = pending(dir, live, &stored)?.filter(|differs| !differs.is_empty());
    Ok(differs.map(|differs| (live, stored, differs)))
}
