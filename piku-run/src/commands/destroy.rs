//! `destroy APP --confirm APP`: stops the app and removes its folder, all but its data. Can be repeated after it was cut short.

use std::fs;
use std::io::ErrorKind;

use anyhow::Context;
use piku_procfile::failure::{Failure, USAGE};
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::protocol::Request;
use crate::{client, place};

pub(super) fn run(root: &Root, app: &AppName, confirm: &AppName) -> anyhow::Result<()> {
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app to destroy, '{app}'");
        return Err(Failure::new(what).code(USAGE).into());
    }
    let dir = root.app(app);
    super::must_be_there(root, app)?;
    client::ask(root, app, &Request::Stop { stay: true })?;
    // First what would make it run again, last the mark that it is stopped.
    place::remove_file(&dir.current())?;
    let kept = [dir.data(), place::stopped(&dir)];
    for entry in
        fs::read_dir(dir.path()).with_context(|| format!("cannot list '{}'", dir.path().display()))?
    {
        let path = entry?.path();
        if kept.contains(&path) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() { place::remove(&path)? } else { place::remove_file(&path)? }
    }
    place::remove(dir.run())?;
    place::remove_file(&place::stopped(&dir))?;
    // Goes when it is empty.
    let _ = fs::remove_dir(dir.data());
    match fs::remove_dir(dir.path()) {
        Err(err) if err.kind() == ErrorKind::DirectoryNotEmpty => {
            client::step(&format!("{app} is destroyed; its data stays in '{}'", dir.data().display()));
        }
        _ => client::step(&format!("{app} is destroyed")),
    }
    Ok(())
}
