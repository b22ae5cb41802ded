//! What the tool does with a file: reads it, says what is wrong with it, prints what it says.

use std::io;
use std::path::Path;

use anyhow::Context;
use indexmap::IndexMap;

use crate::cli::{Action, Input};
use crate::diagnostic::Diagnostic;
use crate::env::{self, Env};
use crate::failure::{self, Failure};
use crate::procfile::{Options, Procfile};
use crate::{output, render, source};

/// Does it.
pub(crate) fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Check { input, options } => procfile(&input, options).map(drop),
        Action::List { input, options, format } => {
            let procfile = procfile(&input, options)?;
            output::print(format, &procfile.entries, || procfile.to_string())
        }
        Action::Show { input, options, name } => {
            let procfile = procfile(&input, options)?;
            let entry = procfile.get(&name).ok_or_else(|| no_such_type(&name, &procfile))?;
            output::write(format!("{}\n", entry.command).as_bytes())
        }
        Action::PrintEnv { input, options, format } => {
            let env = environment(&input, &platform(None), options)?;
            output::print(format, &env.vars, || env.to_text())
        }
        Action::Render(rendering) => render::tool::run(&rendering),
        // Each name has a value when the app runs, so `${PORT:?}` is no error here.
        Action::CheckEnv { input, options } => environment(&input, &platform(Some("0")), options).map(drop),
    }
}

pub(crate) fn procfile(input: &Input, options: Options) -> anyhow::Result<Procfile> {
    let procfile = match input {
        Input::Stdin => Procfile::parse(&stdin()?, options)?,
        Input::File(path) => Procfile::read(path, options)?,
    };
    tell(&procfile.warnings);
    Ok(procfile)
}

fn environment(input: &Input, platform: &IndexMap<String, String>, options: Options) -> anyhow::Result<Env> {
    let env = match input {
        Input::Stdin => Env::parse(&stdin()?, platform, options)?,
        Input::File(path) => {
            // Fine for an app, but who names a file wants that one.
            if is_missing(path) {
                return Err(Failure::new(format!("there is no file '{}'", path.display()))
                    .hint("an ENV file has NAME=value lines; an app needs none")
                    .into());
            }
            Env::read(path, platform, options)?
        }
    };
    tell(&env.warnings);
    Ok(env)
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|err| err.kind() == io::ErrorKind::NotFound)
}

fn stdin() -> anyhow::Result<Vec<u8>> {
    source::read_from(io::stdin().lock()).context("cannot read stdin")
}

/// What the platform sets, as far as this program's own environment knows it.
pub(crate) fn platform(otherwise: Option<&str>) -> IndexMap<String, String> {
    env::PLATFORM
        .iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok().or_else(|| otherwise.map(str::to_owned))?;
            Some(((*name).to_owned(), value))
        })
        .collect()
}

pub(crate) fn tell(warnings: &[Diagnostic]) {
    for warning in warnings {
        failure::tell(&warning.to_string());
    }
}

fn no_such_type(name: &str, procfile: &Procfile) -> Failure {
    let names: Vec<&str> = procfile.entries.iter().take(20).map(|entry| entry.name.as_str()).collect();
    let more = if names.len() < procfile.entries.len() { ", …" } else { "" };
    Failure::new(format!("there is no process type '{name}'"))
        .hint(format!("the Procfile has {}{more}", names.join(", ")))
}
