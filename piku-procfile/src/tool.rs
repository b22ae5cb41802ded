//! What the tool does with a file: reads it, says what is wrong with it, prints what it says.

use piku_report::output;
use piku_report::user_error::UserError;

use crate::cli::ProcfileAction;
use crate::input::{environment, platform, procfile};
use crate::procfile::Procfile;
use crate::render;

/// Does it.
pub(crate) fn run(action: ProcfileAction) -> anyhow::Result<()> {
    match action {
        ProcfileAction::Check { input, options } => procfile(&input, options).map(drop),
        ProcfileAction::List { input, options, format } => {
            let procfile = procfile(&input, options)?;
            output::print(format, &procfile.entries, || procfile.to_string())
        }
        ProcfileAction::Show { input, options, name } => {
            let procfile = procfile(&input, options)?;
            let entry = procfile.get(&name).ok_or_else(|| no_such_type(&name, &procfile))?;
            output::write(format!("{}\n", entry.command).as_bytes())
        }
        ProcfileAction::PrintEnv { input, options, format } => {
            let env = environment(&input, &platform(None), options)?;
            output::print(format, &env.vars, || env.to_text())
        }
        ProcfileAction::Render(rendering) => render::tool::run(&rendering),
        // Each name has a value when the app runs, so `${PORT:?}` is no error here.
        ProcfileAction::CheckEnv { input, options } => {
            environment(&input, &platform(Some("0")), options).map(drop)
        }
    }
}

fn no_such_type(name: &str, procfile: &Procfile) -> UserError {
    let names: Vec<&str> = procfile.entries.iter().take(20).map(|entry| entry.name.as_str()).collect();
    let more = if names.len() < procfile.entries.len() { ", …" } else { "" };
    UserError::new(format!("there is no process type '{name}'"))
        .hint(format!("the Procfile has {}{more}", names.join(", ")))
}
