//! Programs that read or write an app's data in a jail that contains only these files, as their owner.

use std::path::Path;
use std::process::Command;

use piku_chroot::jail::{self, JailSpec};
use piku_layout::jail::DATA;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostSettings, Protection, SandboxMode};

use crate::instance::environment;

/// Returns the command that writes an app's files to stdout as a tar archive, without the holes of sparse ones.
pub(crate) fn export_command(root: &PikuRoot, app: &AppName) -> anyhow::Result<Command> {
    jail_command(root, app, &root.app(app).data(), &["tar", "-c", "-S", "-C", DATA, "."])
}

/// Returns the command that unpacks a tar archive from stdin into a data folder.
pub(crate) fn import_command(root: &PikuRoot, app: &AppName, data: &Path) -> anyhow::Result<Command> {
    jail_command(root, app, data, &["tar", "-x", "-C", DATA])
}

/// Returns the command that lists all of an app's data, a line for each file with its type, its blocks of 512 bytes
/// and its links.
pub(crate) fn list_data_command(root: &PikuRoot, app: &AppName) -> anyhow::Result<Command> {
    let argv = ["find", DATA, "-ignore_readdir_race", "-xdev", "-printf", "%y %b %n\\n"];
    jail_command(root, app, &root.app(app).data(), &argv)
}

/// Returns the command that runs `argv` on the data as its owner.
pub(crate) fn jail_command(
    root: &PikuRoot,
    app: &AppName,
    data: &Path,
    argv: &[&str],
) -> anyhow::Result<Command> {
    let own = environment::is_of_own_user(root, data)?;
    match jail::available() {
        Ok(_) => {
            let jail = JailSpec::new().data(data);
            let jail = if own { jail.own_user(app.as_str(), &root.uid_ranges()) } else { jail };
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            Ok(jail.command([("LANG", "C.UTF-8")], &argv))
        }
        // Data of another user is reachable only through a jail, and a machine that had jails must have
        // them.
        Err(err) if !err.is_absence() || own || had_jails(root)? => Err(err.failure().into()),
        Err(_) => {
            let real = |word: &&str| if *word == DATA { data.as_os_str().to_owned() } else { word.into() };
            let mut command = Command::new(argv[0]);
            // In a jail it has no other language.
            command.env("LC_ALL", "C").args(argv[1..].iter().map(real));
            Ok(command)
        }
    }
}

/// Returns whether jails were recorded as a protection, or are required by the settings.
fn had_jails(root: &PikuRoot) -> anyhow::Result<bool> {
    let settings = HostSettings::read(&root.settings())?;
    let recorded = settings.protections.unwrap_or_default();
    Ok(recorded.contains(&Protection::Namespaces) || settings.sandbox == SandboxMode::Require)
}
