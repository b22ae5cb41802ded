//! Where a scheduled backup goes: a folder, a folder of another machine, or a command. A file has its name only
//! when it is whole.

#![expect(clippy::disallowed_methods, reason = "the folder of backups, which the operator has named")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use piku_files::atomic_file;
use piku_layout::settings::{BackupPlace, BackupPlan};
use piku_report::user_error::UserError;

use super::error_relay::ErrorRelay;
use super::file_name::{BackupSeries, part_name};
use super::stream_guard::StreamGuard;
use crate::process::deadline::{Deadline, TimedPipe, end_child};
use crate::process::installed_program::find_program;

/// A backup on its way. What is not finished is ended, and no reader takes it for whole.
#[derive(Debug)]
pub(crate) struct BackupDelivery<'a> {
    plan: &'a BackupPlan,
    series: BackupSeries<'a>,
    name: &'a str,
    /// Programs that the stream passes, the first one first.
    programs: Vec<StreamProgram>,
    /// Keeps the input of the plan's command open until all programs before it have succeeded.
    guard: Option<StreamGuard>,
    /// File that is being written.
    file: Option<(PathBuf, File)>,
    deadline: Deadline,
}

impl<'a> BackupDelivery<'a> {
    /// Opens the destination; returns the writer for the backup with it.
    ///
    /// # Errors
    /// Fails if a folder or a program is missing.
    pub(crate) fn open(
        plan: &'a BackupPlan,
        series: BackupSeries<'a>,
        name: &'a str,
        deadline: Deadline,
    ) -> anyhow::Result<(Self, Box<dyn Write>)> {
        let mut delivery =
            Self { plan, series, name, programs: Vec::new(), guard: None, file: None, deadline };
        let end = delivery.open_end()?;
        let Some(recipient) = &plan.age else {
            return Ok((delivery, end.into_writer(deadline)));
        };
        if find_program("age").is_none() {
            let error = UserError::new("encrypted backups need age");
            return Err(error.hint("sudo apt-get install age").into());
        }
        let mut age = Command::new("age");
        age.args(["-r", recipient.as_str()]).stdout(end.into_stdio());
        let input = delivery.start("age", &mut age)?;
        // It is the first that the stream passes.
        delivery.programs.rotate_right(1);
        Ok((delivery, input.into_writer(deadline)))
    }

    /// Opens the last station of the stream.
    fn open_end(&mut self) -> anyhow::Result<StreamEnd> {
        match (&self.plan.to, &self.plan.command) {
            (Some(BackupPlace::Folder(folder)), _) => {
                if !folder.is_dir() {
                    let what = format!("'{}' is not a directory", folder.display());
                    let hint =
                        "if it is on another disk, mount that; otherwise create it, writable for piku's user";
                    return Err(UserError::new(what).hint(hint).into());
                }
                let path = folder.join(part_name(self.name));
                let cannot = || format!("cannot write '{}'", path.display());
                let mut options = fs::OpenOptions::new();
                let options = options.write(true).create(true).truncate(true).mode(0o600);
                let file = options.open(&path).with_context(cannot)?;
                let writer = file.try_clone().with_context(cannot)?;
                self.file = Some((folder.clone(), file));
                Ok(StreamEnd::File(writer))
            }
            (Some(BackupPlace::Ssh { path, .. }), _) => {
                let part = part_name(self.name);
                let line = format!("umask 077; mkdir -p '{path}' && cat >'{path}/{part}'");
                let mut ssh = self.ssh(&line)?;
                self.start("ssh", &mut ssh)
            }
            (None, Some(command)) => {
                let mut shell = StreamGuard::command(command);
                shell.env("BACKUP_APP", self.series.app.as_str()).env("BACKUP_FILE", self.name);
                let mut end = self.start("the command", shell.stdout(Stdio::null()))?;
                if let (StreamEnd::Program(input), Some(last)) = (&mut end, self.programs.last()) {
                    self.guard = Some(StreamGuard::start(&last.child, input)?);
                }
                Ok(end)
            }
            (None, None) => anyhow::bail!("it has no place"),
        }
    }

    /// Starts a program in a process group of its own; returns its stdin.
    fn start(&mut self, name: &'static str, command: &mut Command) -> anyhow::Result<StreamEnd> {
        let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
        let mut child = child.with_context(|| format!("cannot run {name}"))?;
        let input = child.stdin.take().context("no input")?;
        let errors = ErrorRelay::start(child.stderr.take().context("no stderr")?);
        self.programs.push(StreamProgram { name, child, errors });
        Ok(StreamEnd::Program(input))
    }

    /// Returns the command that runs a line in the shell of the other machine.
    fn ssh(&self, line: &str) -> anyhow::Result<Command> {
        let Some(BackupPlace::Ssh { machine, .. }) = &self.plan.to else { anyhow::bail!("no machine") };
        let mut ssh = Command::new("ssh");
        ssh.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=30"]);
        if let Some(port) = machine.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(identity) = &self.plan.identity {
            ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
        }
        if let Some(known_hosts) = &self.plan.known_hosts {
            ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known_hosts.display()));
        }
        if let Some(user) = &machine.user {
            ssh.args(["-l", user]);
        }
        ssh.args(["--", &machine.host, line]);
        Ok(ssh)
    }

    /// Ends the delivery of a backup that was written to its end, and removes old files, but not `last_whole`.
    ///
    /// # Errors
    /// Fails if a program has failed, or does not end in time; the backup then has no name.
    pub(crate) fn finish(mut self, last_whole: Option<&str>) -> anyhow::Result<()> {
        while !self.programs.is_empty() {
            if self.programs.len() == 1 {
                self.guard.take().map_or(Ok(()), StreamGuard::release)?;
            }
            // If it does not end, it is killed with what it has started.
            let first = &self.programs[0];
            self.deadline.wait_end(&first.child).with_context(|| format!("{} does not end", first.name))?;
            let StreamProgram { name, mut child, errors } = self.programs.remove(0);
            let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
            ensure!(status.success(), "{name} failed ({status}){}", errors.reason());
        }
        match (&self.plan.to, self.file.take()) {
            (Some(BackupPlace::Ssh { path, .. }), _) => self.name_remote(path, last_whole),
            (_, Some((folder, file))) => {
                file.sync_all().context("cannot sync the backup")?;
                self.name_local(&folder, last_whole)
            }
            _ => Ok(()),
        }
    }

    /// Returns the failure of a program that has ended before it read everything, which is the cause of a failed write;
    /// otherwise the error itself.
    pub(crate) fn explain(mut self, err: anyhow::Error) -> anyhow::Error {
        let is_closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if !err.chain().filter_map(|cause| cause.downcast_ref()).any(is_closed) {
            return err;
        }
        for StreamProgram { name, child, errors } in &mut self.programs {
            // It ends after it has closed its input.
            let reason = errors.reason();
            if let Some(status) = child.try_wait().ok().flatten().filter(|status| !status.success()) {
                return anyhow!("{name} failed ({status}){reason}");
            }
        }
        err
    }

    fn name_local(&self, folder: &Path, last_whole: Option<&str>) -> anyhow::Result<()> {
        let path = folder.join(self.name);
        fs::rename(folder.join(part_name(self.name)), &path)
            .and_then(|()| atomic_file::sync_parent(&path))
            .with_context(|| format!("cannot write '{}'", path.display()))?;
        let list = || format!("cannot list '{}'", folder.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).with_context(list)? {
            names.extend(entry.with_context(list)?.file_name().into_string());
        }
        for old in self.series.find_old(names.iter().map(String::as_str), self.plan.keep, last_whole) {
            let old = folder.join(old);
            fs::remove_file(&old).with_context(|| format!("cannot remove '{}'", old.display()))?;
        }
        Ok(())
    }

    fn name_remote(&self, path: &str, last_whole: Option<&str>) -> anyhow::Result<()> {
        let (part, name) = (part_name(self.name), self.name);
        let listed = self.run_ssh(&format!(
            "cd '{path}' && {{ sync '{part}' 2>/dev/null || sync; }} && mv '{part}' '{name}' && ls -A"
        ))?;
        let old = self.series.find_old(listed.lines(), self.plan.keep, last_whole);
        if !old.is_empty() {
            // The names have no characters that a shell reads.
            self.run_ssh(&format!("cd '{path}' && rm -f -- {}", old.join(" ")))?;
        }
        Ok(())
    }

    fn run_ssh(&self, line: &str) -> anyhow::Result<String> {
        let mut ssh = self.ssh(line)?;
        let mut child = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.as_mut().map_err(|err| anyhow!("cannot run ssh: {err}"))?;
        let errors = ErrorRelay::start(child.stderr.take().context("no stderr")?);
        let output = child.stdout.take().context("no stdout")?;
        let said = io::read_to_string(TimedPipe { pipe: output, deadline: self.deadline });
        if said.is_err() {
            end_child(child);
        }
        let said = said.context("ssh does not end")?;
        let status = self.deadline.wait_child(child).context("ssh does not end")?;
        ensure!(status.success(), "ssh failed ({status}){}", errors.reason());
        Ok(said)
    }
}

impl Drop for BackupDelivery<'_> {
    fn drop(&mut self) {
        // A program that gets the end of its input would take the backup for whole: the guard ends after it.
        for one in &self.programs {
            if let Ok(pid) = i32::try_from(one.child.id()) {
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        self.guard = None;
        for one in &mut self.programs {
            let _ = one.child.wait();
        }
        if let Some((folder, _)) = &self.file {
            let _ = fs::remove_file(folder.join(part_name(self.name)));
        }
    }
}

/// A program that the stream passes.
#[derive(Debug)]
struct StreamProgram {
    name: &'static str,
    child: Child,
    errors: ErrorRelay,
}

/// The place that a program or piku writes to.
enum StreamEnd {
    File(File),
    Program(std::process::ChildStdin),
}

impl StreamEnd {
    fn into_writer(self, deadline: Deadline) -> Box<dyn Write> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Program(input) => Box::new(TimedPipe { pipe: input, deadline }),
        }
    }

    fn into_stdio(self) -> Stdio {
        match self {
            Self::File(file) => file.into(),
            Self::Program(input) => input.into(),
        }
    }
}
