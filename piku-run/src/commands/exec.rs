//! `exec APP -- COMMAND…`: this process becomes the command, in the app's world. Terminal, stdin, signals and exit code need
//! no care: they are its own.

use std::os::unix::process::CommandExt;

use anyhow::Context;
use piku_procfile::failure::Failure;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::environment::{Role, World};
use crate::place;

pub(super) fn run(root: &Root, app: &AppName, argv: &[String]) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let number = root.app(app).current_number();
    let number =
        number.ok_or_else(|| Failure::new(format!("{app} has no release yet")).hint("push it first"))?;
    let world = World::read(root, app, number)?;
    let (mut vars, _) = world.vars(Role { ps: "run.1", kind: "run", port: None })?;
    if let Some(term) = std::env::var_os("TERM").and_then(|term| term.into_string().ok()) {
        vars.insert("TERM".to_owned(), term);
    }
    place::make(&world.dir.data())?;
    let err = world.command(&vars, argv)?.exec();
    Err(err).with_context(|| format!("cannot run '{}'", argv.first().map_or("", String::as_str)))
}
