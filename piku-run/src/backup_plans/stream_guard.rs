//! The guard of a command that reads a backup: the end of its input means that the backup is whole, so it comes
//! only when this is told, and never because a process of piku was killed.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, ensure};

const WHOLE: &str = "whole";
/// Waits for the guard, byte by byte from the pipe that the command reads afterwards.
const COMMAND: &str = r#"read -r said; [ "$said" = go ] && exec sh -c "$1""#;
/// Ends well when it reads that the backup is whole; at the end of its input, which is the death of its parent, it
/// first kills the process group.
const GUARD: &str =
    r#"trap "" HUP INT TERM; read -r said; [ "$said" = whole ] && exit; kill -s KILL -- "-$1"; exit 1"#;

/// A process that holds the input of a command open.
#[derive(Debug)]
pub(super) struct StreamGuard(Child);

impl StreamGuard {
    /// Returns a command that does not begin before it has a guard. It leads a process group, which the guard kills.
    pub(super) fn command(line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", COMMAND, "sh", line]).process_group(0);
        shell
    }

    /// Guards the input of such a command, and lets it begin.
    pub(super) fn start(command: &Child, input: &mut ChildStdin) -> anyhow::Result<Self> {
        let end = input.as_fd().try_clone_to_owned().context("cannot keep the command's input")?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", &command.id().to_string()]).process_group(0);
        guard.stdin(Stdio::piped()).stdout(end).stderr(Stdio::null());
        let guard = Self(guard.spawn().context("cannot run 'sh'")?);
        input.write_all(b"go\n").context("the command has ended")?;
        Ok(guard)
    }

    /// Lets the command see the end of its input.
    pub(super) fn release(mut self) -> anyhow::Result<()> {
        let mut said = self.0.stdin.take().context("no input")?;
        writeln!(said, "{WHOLE}").context("the guard of the command was killed")?;
        drop(said);
        let status = self.0.wait().context("cannot wait for 'sh'")?;
        ensure!(status.success(), "the guard of the command was killed ({status})");
        Ok(())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // What it guards was killed by then; its number may be that of another process soon.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a command that writes a file at the end of its input.
    fn start(dir: &std::path::Path) -> (Child, ChildStdin) {
        // Two processes: killing the first alone is not enough.
        let mut command = StreamGuard::command("cat >read; echo >taken; cat /dev/null");
        let mut child = command.current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        (child, input)
    }

    #[test]
    fn input_ends_when_the_guard_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, mut input) = start(dir.path());
        let guard = StreamGuard::start(&child, &mut input).unwrap();
        input.write_all(b"all\n").unwrap();
        drop(input);
        guard.release().unwrap();
        assert!(child.wait().unwrap().success() && dir.path().join("taken").exists());
        assert_eq!(std::fs::read(dir.path().join("read")).unwrap(), b"all\n");
    }

    #[test]
    fn death_of_the_parent_kills_the_command_before_the_end_of_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, mut input) = start(dir.path());
        let mut guard = StreamGuard::start(&child, &mut input).unwrap();
        input.write_all(b"half\n").unwrap();
        // As the kernel closes both for a killed process.
        drop(input);
        drop(guard.0.stdin.take());
        assert!(!child.wait().unwrap().success());
        assert!(!guard.0.wait().unwrap().success());
        assert!(!dir.path().join("taken").exists());
        let (mut child, input) = start(dir.path());
        drop(input);
        assert!(!child.wait().unwrap().success() && !dir.path().join("taken").exists());
    }
}
