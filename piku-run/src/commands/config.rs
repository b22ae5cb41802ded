//! `config APP …`: the operator's settings; a change is live when the command ends.

use std::io::Read;

use anyhow::Context;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::cli;
use crate::config::{self, Action};
use crate::protocol::Request;
use crate::{client, place};
use piku_procfile::output::{self, Format};

pub(super) fn run(
    root: &Root,
    app: &AppName,
    format: Format,
    action: Option<cli::Config>,
) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let dir = root.app(app);
    let (action, restart) = match action {
        None => (Action::List(format), false),
        Some(cli::Config::Get { name }) => (Action::Get(name), false),
        Some(cli::Config::Set { pairs, no_restart }) => {
            let pairs = pairs.iter().map(|pair| config::assignment(pair)).collect::<anyhow::Result<_>>()?;
            (Action::Set(pairs), !no_restart)
        }
        Some(cli::Config::Unset { names, no_restart }) => (Action::Unset(names), !no_restart),
        Some(cli::Config::Import { no_restart }) => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).context("cannot read stdin")?;
            (Action::Import(text), !no_restart)
        }
    };
    let done = config::run(&dir.config(), action)?;
    for warning in done.warnings {
        client::detail(&warning);
    }
    output::write(done.output.as_bytes())?;
    if done.changed.is_empty() || !restart {
        return Ok(());
    }
    client::step(&format!("Changed {}", done.changed.join(", ")));
    if dir.current_number().is_none() || place::is_stopped(&dir) {
        return Ok(());
    }
    client::ask(root, app, &Request::Restart { only: None })
        .context("the change is stored, but the app does not run with it")?;
    Ok(())
}
