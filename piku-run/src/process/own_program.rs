//! The file of the running program, which an upgrade may replace.

#![expect(clippy::disallowed_methods, reason = "the path of piku's own program")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

/// Suffix that the kernel appends to the path of a program whose file was removed or replaced.
const DELETED: &[u8] = b" (deleted)";

/// The path of the running program.
#[derive(Debug, Clone)]
pub(crate) struct OwnProgram(PathBuf);

impl OwnProgram {
    /// Finds the path, also if another file is there by now.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let path = std::env::current_exe().context("cannot find out what program this is")?;
        let bytes = path.as_os_str().as_bytes();
        let kept = bytes.strip_suffix(DELETED).unwrap_or(bytes).to_owned();
        Ok(Self(OsString::from_vec(kept).into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns true if the path now leads to another file.
    pub(crate) fn is_replaced(&self) -> bool {
        let identity = |path: &Path| -> io::Result<(u64, u64)> {
            let metadata = fs::metadata(path)?;
            Ok((metadata.dev(), metadata.ino()))
        };
        let (Ok(file), Ok(running)) = (identity(&self.0), identity(Path::new("/proc/self/exe"))) else {
            return false;
        };
        file != running
    }

    /// Executes the program at the path in this process, with the same arguments. Returns only if it does not
    /// run on this machine.
    pub(crate) fn execute(&self, stdin: OwnedFd) -> anyhow::Error {
        self.try_execute(stdin).context(format!("cannot run the new '{}'", self.0.display()))
    }

    fn try_execute(&self, stdin: OwnedFd) -> anyhow::Error {
        let version = Command::new(&self.0).arg("--version").stdin(Stdio::null()).output();
        match version {
            Ok(version) if version.status.success() => {
                Command::new(&self.0).args(std::env::args_os().skip(1)).stdin(stdin).exec().into()
            }
            Ok(version) => {
                anyhow::anyhow!("{}: {}", version.status, String::from_utf8_lossy(&version.stderr).trim())
            }
            Err(err) => err.into(),
        }
    }
}
