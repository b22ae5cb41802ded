//! Writes a backup. The apps run meanwhile, and can be pushed to.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use piku_backup::{ArchiveWriter, BackupHead, BackupKind, BackupPart, FORMAT};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use super::saved_parts::SavedParts;
use super::{host, repository, services, tell_changed};
use crate::commands::{data, list_apps};
use crate::notify::host_name;

/// Size of the pipe from a program, in bytes.
const PIPE: usize = 1 << 20;

/// Scope of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackupScope {
    App(AppName),
    All,
    /// All apps, and the settings, keys and certificates of the machine.
    Host,
}

/// Writes a backup, with the data of the apps in services or without; returns its size in bytes.
///
/// # Errors
/// Fails if a part cannot be read whole. What was written is then refused by all readers.
pub(crate) fn write_backup(
    root: &PikuRoot,
    scope: &BackupScope,
    with_services: bool,
    output: impl Write,
) -> anyhow::Result<u64> {
    let apps = match scope {
        BackupScope::App(app) => vec![app.clone()],
        BackupScope::All => list_apps(root, &[])?,
        BackupScope::Host => {
            host::check_operator("backup --host")?;
            list_apps(root, &[])?
        }
    };
    let is_host = *scope == BackupScope::Host;
    if apps.is_empty() && !is_host {
        return Err(UserError::new("there is no app").into());
    }
    let apps: Vec<SavedParts> =
        apps.iter().map(|app| SavedParts::read(root, app, with_services)).collect::<anyhow::Result<_>>()?;
    let head = BackupHead {
        format: FORMAT,
        kind: if is_host { BackupKind::Host } else { BackupKind::Apps },
        at: Timestamp::now(),
        host: host_name(),
        piku: env!("CARGO_PKG_VERSION").to_owned(),
        apps: apps.iter().map(|app| app.saved.clone()).collect(),
        parts: is_host
            .then_some(BackupPart::Host)
            .into_iter()
            .chain(apps.iter().flat_map(|app| app.parts.iter().map(|(part, _)| part.clone())))
            .collect(),
    };
    let mut archive = ArchiveWriter::new(&head, output)?;
    if is_host {
        let code = pipe_output(&mut host::export_command(root)?, &BackupPart::Host, &mut archive)?.code();
        // 1: a file has changed while it was read.
        ensure!(matches!(code, Some(0 | 1)), "cannot read all settings of the machine");
    }
    for app in &apps {
        for (part, content) in &app.parts {
            match content {
                Some(content) => archive.write_part(part, content)?,
                None => write_stream(root, &app.saved.app, part, &mut archive)?,
            }
        }
    }
    let (_, bytes) = archive.finish()?;
    Ok(bytes)
}

/// Writes a part that a program prints.
fn write_stream<W: Write>(
    root: &PikuRoot,
    app: &AppName,
    part: &BackupPart,
    archive: &mut ArchiveWriter<'_, W>,
) -> anyhow::Result<()> {
    match part {
        BackupPart::Repository(_) => {
            let mut git = repository::bundle_command(&root.app(app).repo());
            let status = pipe_output(&mut git, part, archive)?;
            ensure!(status.success(), "git cannot bundle the repository of {app}");
        }
        BackupPart::Data(_) => {
            match pipe_output(&mut data::export_command(root, app)?, part, archive)?.code() {
                Some(0) => {}
                // A file has changed or disappeared while it was read.
                Some(1) => tell_changed(app),
                _ => return Err(UserError::new(format!("cannot read all data of {app}")).into()),
            }
        }
        BackupPart::Service(..) => services::write_dump(root, part, archive)?,
        _ => ensure!(false, "'{part}' cannot be read"),
    }
    Ok(())
}

/// Copies the output of a command into a part; returns how it ended.
pub(super) fn pipe_output<W: Write>(
    command: &mut Command,
    part: &BackupPart,
    archive: &mut ArchiveWriter<'_, W>,
) -> anyhow::Result<ExitStatus> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run '{program}'"))?;
    let mut output = child.stdout.take().context("no output")?;
    // The program works on while this one compresses. Without the right to so much, it has what pipes have.
    let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE);
    let mut stream = archive.stream_part(part)?;
    let copied = stream.copy_from(&mut output as &mut dyn Read, archive);
    // A program that still writes ends by this.
    drop(output);
    let status = child.wait().with_context(|| format!("cannot wait for '{program}'"))?;
    copied?;
    stream.finish(archive)?;
    Ok(status)
}
