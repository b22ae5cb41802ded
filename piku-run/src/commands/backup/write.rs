//! Writes a backup. The apps run meanwhile, and can be pushed to. What cannot be read is left out and marked, so that one
//! app does not keep the others from being saved.

use std::io::Write;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use piku_backup::{
    ArchiveWriter, BackupHead, BackupKind, BackupPart, FORMAT, LeftOut, MissingApp, StreamPart,
};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::lacking::{LackingApp, find_lacking};
use super::saved_parts::{SavedContent, SavedParts};
use super::{host, repository, services, tell_changed};
use crate::commands::data_archive::{DataArchive, TarReport};
use crate::known_apps::list_apps;
use crate::notify::host_name;
use crate::process::deadline::{Deadline, TimedPipe, end_child, is_time_limit};

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

/// A backup to be written.
#[derive(Debug, Clone)]
pub(crate) struct BackupRequest {
    pub(crate) scope: BackupScope,
    /// Has the data of the apps in services.
    pub(crate) with_services: bool,
    /// Nothing is written of an app whose data in a service certainly cannot be saved.
    pub(crate) is_strict: bool,
    pub(crate) deadline: Deadline,
}

/// A backup that was written to its end.
#[derive(Debug)]
pub(crate) struct WrittenBackup {
    /// Its size.
    pub(crate) bytes: u64,
    pub(crate) lacking: Vec<LackingApp>,
}

/// Writes a backup.
///
/// # Errors
/// Fails if the output does, and if it takes too long. What was written is then refused by all readers.
pub(crate) fn write_backup(
    root: &PikuRoot,
    request: &BackupRequest,
    output: impl Write,
) -> anyhow::Result<WrittenBackup> {
    let is_host = request.scope == BackupScope::Host;
    let (apps, missing) = read_apps(root, request)?;
    if apps.is_empty() && !is_host {
        let what =
            missing.first().map_or("there is no app".to_owned(), |one| format!("{}: {}", one.app, one.error));
        return Err(UserError::new(what).into());
    }
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
        missing,
    };
    let mut archive = ArchiveWriter::new(&head, output)?;
    if is_host {
        write_stream(root, &BackupPart::Host, &mut archive, request.deadline)?;
    }
    for app in &apps {
        for (part, content) in &app.parts {
            request.deadline.check()?;
            match content {
                SavedContent::Text(content) => archive.write_part(part, content)?,
                SavedContent::Stream => write_stream(root, part, &mut archive, request.deadline)?,
                SavedContent::Missing(error) => {
                    let mut left_out = LeftOut::default();
                    left_out.fail(error);
                    archive.stream_part(part)?.finish(&mut archive, left_out)?;
                }
            }
        }
    }
    let lacking = find_lacking(&head.missing, archive.sums());
    let (_, bytes) = archive.finish()?;
    Ok(WrittenBackup { bytes, lacking })
}

/// Reads the apps of a backup, and why others of them cannot be read.
fn read_apps(root: &PikuRoot, request: &BackupRequest) -> anyhow::Result<(Vec<SavedParts>, Vec<MissingApp>)> {
    match &request.scope {
        BackupScope::App(app) => {
            let saved = SavedParts::read(root, app, request.with_services, request.is_strict)?;
            return Ok((vec![saved], Vec::new()));
        }
        BackupScope::All => {}
        BackupScope::Host => host::check_operator("backup --host")?,
    }
    let (mut apps, mut missing) = (Vec::new(), Vec::new());
    for app in list_apps(root, &[])? {
        match SavedParts::read(root, &app, request.with_services, false) {
            Ok(saved) => apps.push(saved),
            // It was destroyed meanwhile.
            Err(_) if !root.app(&app).is_there() => {}
            Err(err) => missing.push(MissingApp::new(app, &format!("{err:#}"))),
        }
    }
    Ok((apps, missing))
}

/// Writes a part that programs print. What they cannot read, it lacks.
fn write_stream<W: Write>(
    root: &PikuRoot,
    part: &BackupPart,
    archive: &mut ArchiveWriter<'_, W>,
    deadline: Deadline,
) -> anyhow::Result<()> {
    let mut to = PartOutput { stream: archive.stream_part(part)?, archive, deadline, has_failed: false };
    let written = match part {
        BackupPart::Repository(app) => write_repository(root, app, &mut to),
        BackupPart::Data(app) => write_data(root, app, &mut to),
        BackupPart::Service(app, variable) => services::write_dump(root, app, variable, &mut to),
        BackupPart::Host => write_host(root, &mut to),
        _ => Err(anyhow::anyhow!("'{part}' cannot be read")),
    };
    let PartOutput { stream, archive, has_failed, .. } = to;
    let left_out = match written {
        Ok(left_out) => left_out,
        // That of the backup itself.
        Err(err) if has_failed => return Err(err),
        Err(err) => {
            let mut left_out = LeftOut::default();
            left_out.fail(&format!("{err:#}"));
            left_out
        }
    };
    stream.finish(archive, left_out)?;
    Ok(())
}

/// The part that is being written.
pub(super) struct PartOutput<'a, 'w, W: Write> {
    stream: StreamPart,
    archive: &'a mut ArchiveWriter<'w, W>,
    deadline: Deadline,
    /// The output of the backup has failed, or the time is over.
    has_failed: bool,
}

impl<W: Write> PartOutput<'_, '_, W> {
    /// Copies the output of a program.
    fn copy(&mut self, output: ChildStdout) -> anyhow::Result<()> {
        // The program works on while this one compresses. Without the right to so much, it has what pipes have.
        let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE);
        let mut output = TimedPipe { pipe: output, deadline: self.deadline };
        let copied = self.stream.copy_from(&mut output, self.archive);
        self.has_failed |= copied.is_err();
        copied.map(drop)
    }

    /// Runs a program and copies what it prints; returns how it ended.
    pub(super) fn run(&mut self, command: &mut Command) -> anyhow::Result<ExitStatus> {
        let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        self.copy_child(&mut child)
    }

    /// Copies what a program prints; returns how it ended.
    fn copy_child(&mut self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        let copied = child.stdout.take().context("no output").and_then(|output| self.copy(output));
        if let Err(err) = copied {
            end_child(child);
            return Err(err);
        }
        let status = self.deadline.wait_child(child);
        self.has_failed |= status.is_err();
        status.context("cannot wait for the end of a program")
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let child = command.spawn();
    child.with_context(|| format!("cannot run '{}'", command.get_program().to_string_lossy()))
}

fn write_repository<W: Write>(
    root: &PikuRoot,
    app: &AppName,
    to: &mut PartOutput<'_, '_, W>,
) -> anyhow::Result<LeftOut> {
    let status = to.run(&mut repository::bundle_command(&root.app(app).repo()))?;
    ensure!(status.success(), "git cannot bundle it ({status})");
    Ok(LeftOut::default())
}

fn write_data<W: Write>(
    root: &PikuRoot,
    app: &AppName,
    to: &mut PartOutput<'_, '_, W>,
) -> anyhow::Result<LeftOut> {
    let mut archive = DataArchive::start(root, app, Stdio::piped())?;
    to.copy(archive.take_output()?)?;
    let end = archive.finish(to.deadline);
    to.has_failed |= end.as_ref().is_err_and(is_time_limit);
    let end = end?;
    if end.has_changed {
        tell_changed(app);
    }
    if end.sockets > 0 {
        progress::detail(&format!("{app}: sockets have no content, and are left out: {}", end.sockets));
    }
    Ok(end.left_out)
}

fn write_host<W: Write>(root: &PikuRoot, to: &mut PartOutput<'_, '_, W>) -> anyhow::Result<LeftOut> {
    let mut tar = host::export_command(root)?;
    let mut child = spawn(tar.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let report = TarReport::start(child.stderr.take().context("no stderr")?);
    let status = to.copy_child(&mut child)?;
    let report = report.join().ok().context("a thread has ended early")?;
    report.check(status)?;
    Ok(report.left_out)
}
