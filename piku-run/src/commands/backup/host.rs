//! Settings, keys and certificates of the machine in a backup, and back. Only the operator on the server saves and
//! restores them: they decide who may do what.

#![expect(
    clippy::disallowed_methods,
    reason = "piku's own settings, keys and certificates, which no app can reach"
)]

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use piku_backup::{BackupHead, BackupKind, BackupPart, PartSink, read_archive};
use piku_files::atomic_file;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::lacking::find_lacking;
use crate::releases::current;

const SETTINGS: &str = "host.yaml";
/// Folders below the root: certificates with the state of their client; pages and kinds of services of the operator's.
const FOLDERS: [&str; 3] = ["acme", "pages", "services.d"];
const KEYS: &str = "authorized_keys";
/// Folder for what is unpacked and not verified yet.
const ASIDE: &str = ".restore-host";

/// Fails for a key.
pub(super) fn check_operator(what: &str) -> anyhow::Result<()> {
    if std::env::var_os("PIKU_KEY").is_none_or(|key| key.is_empty()) {
        return Ok(());
    }
    let error = UserError::new(format!("{what} does not work through ssh"));
    Err(error.hint(format!("on the server: sudo piku {what}")).into())
}

/// Returns the command that prints the archive.
pub(super) fn export_command(root: &PikuRoot) -> anyhow::Result<Command> {
    let mut tar = Command::new("tar");
    // What it says is read.
    tar.env("LC_ALL", "C").arg("-c").arg("-C").arg(root.path());
    let is_there = |name: &&str| root.path().join(name).exists();
    tar.args([SETTINGS].iter().chain(&FOLDERS).filter(|name| is_there(name)));
    let keys = keys_file()?;
    if let (true, Some(folder)) = (keys.exists(), keys.parent()) {
        tar.arg("-C").arg(folder).arg(KEYS);
    }
    Ok(tar)
}

fn keys_file() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".ssh").join(KEYS))
}

/// Restores what the machine has lost: settings, keys, certificates and pages, and no app.
pub(in crate::commands) fn restore_host(
    root: &PikuRoot,
    is_dry: bool,
    input: impl Read,
) -> anyhow::Result<ExitCode> {
    check_operator("restore --host")?;
    let aside = root.path().join(ASIDE);
    // What a killed one has left.
    current::remove_dir(&aside)?;
    current::create_dir(&aside)?;
    let restored = read_archive(input, &mut HostSink { aside: &aside }).and_then(|(head, sums)| {
        for one in find_lacking(&[], &sums).iter().filter(|one| one.app.is_none()) {
            ensure!(!one.is_broken, "{}", one.describe());
            progress::warning(&one.describe());
        }
        if is_dry {
            progress::step(&format!("would restore the settings, keys and certificates of {}", head.host));
            return Ok(());
        }
        apply(root, &aside)?;
        progress::step(&format!("the machine has the settings, keys and certificates of {}", head.host));
        progress::detail("to use them: sudo systemctl restart piku piku-nginx");
        progress::detail("then restore the apps: sudo piku restore < FILE");
        Ok(())
    });
    current::remove_dir(&aside)?;
    restored.map(|()| ExitCode::SUCCESS)
}

/// Unpacks the part of the machine.
struct HostSink<'a> {
    aside: &'a Path,
}

impl PartSink for HostSink<'_> {
    fn begin(&mut self, head: &BackupHead) -> anyhow::Result<()> {
        if head.kind == BackupKind::Host {
            return Ok(());
        }
        let what = "this is a backup of apps, without settings of a machine";
        Err(UserError::new(what).hint("piku backup --host makes one with them").into())
    }

    fn take(&mut self, part: &BackupPart, content: &mut dyn Read) -> anyhow::Result<()> {
        if *part != BackupPart::Host {
            return Ok(());
        }
        let mut tar = Command::new("tar");
        tar.args(["-x", "--no-same-owner", "-C"]).arg(self.aside).stdin(Stdio::piped());
        let mut tar = tar.spawn().context("cannot run 'tar'")?;
        let mut stdin = tar.stdin.take().context("tar has no input")?;
        let copied = std::io::copy(content, &mut stdin);
        drop(stdin);
        let status = tar.wait().context("cannot wait for 'tar'")?;
        match copied {
            // tar does not read what follows the end of its archive.
            Err(err) if err.kind() == ErrorKind::BrokenPipe => {}
            copied => drop(copied.context("cannot unpack the settings")?),
        }
        ensure!(status.success(), "cannot unpack the settings");
        Ok(())
    }
}

/// Moves everything to its place. Each step can be repeated.
fn apply(root: &PikuRoot, aside: &Path) -> anyhow::Result<()> {
    let (new, settings) = (aside.join(SETTINGS), root.settings());
    if let Some(text) = read_if_there(&new)? {
        match read_if_there(&settings)? {
            Some(old) if old != text => {
                let kept = settings.with_file_name("host.yaml.before-restore");
                atomic_file::write(&kept, &old, 0o600)
                    .with_context(|| format!("cannot write '{}'", kept.display()))?;
                progress::detail(&format!("the settings that were here are in '{}'", kept.display()));
            }
            _ => {}
        }
        atomic_file::write(&settings, &text, 0o600)
            .with_context(|| format!("cannot write '{}'", settings.display()))?;
    }
    for name in FOLDERS {
        let (from, to) = (aside.join(name), root.path().join(name));
        if !from.is_dir() {
            continue;
        }
        // Succeeds if it is empty.
        let _ = fs::remove_dir(&to);
        if to.exists() {
            progress::warning(&format!("'{}' is there, and is left alone", to.display()));
            continue;
        }
        fs::rename(&from, &to)
            .and_then(|()| atomic_file::sync_parent(&to))
            .with_context(|| format!("cannot make '{}'", to.display()))?;
    }
    let Some(new) = read_if_there(&aside.join(KEYS))? else { return Ok(()) };
    add_keys(&keys_file()?, &String::from_utf8_lossy(&new))
}

/// Adds the lines that the file of keys does not have.
fn add_keys(path: &Path, new: &str) -> anyhow::Result<()> {
    let mut text = String::from_utf8_lossy(&read_if_there(path)?.unwrap_or_default()).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let missing: Vec<&str> = new.lines().filter(|line| !text.lines().any(|own| own == *line)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    text.extend(missing.iter().flat_map(|line| [*line, "\n"]));
    if let Some(folder) = path.parent() {
        current::create_dir(folder)?;
    }
    atomic_file::write(path, text.as_bytes(), 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".ssh/authorized_keys");
        add_keys(&path, "restrict a\nrestrict b\n").unwrap();
        fs::write(&path, "# mine\nrestrict b").unwrap();
        add_keys(&path, "restrict a\nrestrict b\n").unwrap();
        add_keys(&path, "restrict a\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\nrestrict b\nrestrict a\n");
    }
}
