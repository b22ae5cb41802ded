//! Bounds on what a stranger's bytes may cost this machine: memory and file sizes of the programs that read them, and how much
//! may come in at all.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use piku_files::free_space::{FreeSpace, size};
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As little memory as git may need for an honest push, in bytes.
const LEAST_MEMORY: u64 = 256 << 20;

/// The names of the settings, for messages.
const MAX_PUSH: &str = "max_push_size in host.yaml";
const RESERVE: &str = "disk_reserve in host.yaml";

/// Returns how much memory a program may take that reads what came in, in bytes: half of what this machine has to spare now,
/// so that a small file that grows to gigabytes ends its own push and no app.
fn memory() -> u64 {
    let available = piku_procfs::meminfo().and_then(|meminfo| meminfo.bytes("MemAvailable"));
    LEAST_MEMORY.max(available.unwrap_or(0) / 2)
}

/// Lowers what this process may use, for it and for what it starts. Returns what it was.
fn lower(resource: Resource, most: u64) -> io::Result<Rlimit> {
    let before = getrlimit(resource);
    let current = Some(before.current.map_or(most, |current| current.min(most)));
    setrlimit(resource, Rlimit { current, ..before })?;
    Ok(before)
}

/// Bounds the memory of this process and of all that it starts.
pub(crate) fn bound_memory() -> io::Result<()> {
    lower(Resource::Data, memory()).map(drop)
}

/// Starts a program that reads what came in, with its memory bounded and, where `file_size` is given, the size of each file that
/// it writes. The bounds are soft: a program that it starts may have reasons to lift them.
pub(crate) fn spawn_bounded(command: &mut Command, file_size: Option<u64>) -> io::Result<Child> {
    // A child begins with what this process has just then; nothing else is started meanwhile.
    let data = lower(Resource::Data, memory())?;
    let size = file_size.map(|most| lower(Resource::Fsize, most)).transpose()?;
    let child = command.spawn();
    setrlimit(Resource::Data, data)?;
    if let Some(size) = size {
        setrlimit(Resource::Fsize, size)?;
    }
    child
}

/// The limit on how much may come in from outside at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IntakeLimit {
    /// By the settings, in bytes.
    most: u64,
    /// The disk space that stays free, in bytes.
    reserve: u64,
    /// The disk space that is free now, in bytes.
    free: u64,
    /// The folder that was asked about.
    dir: PathBuf,
}

impl IntakeLimit {
    /// Returns the limit for what is written below `dir`, which is there.
    pub(crate) fn of(settings: &HostSettings, dir: &Path) -> anyhow::Result<Self> {
        let (most, reserve) = (settings.max_push_bytes(), settings.reserve_bytes());
        Ok(Self { most, reserve, free: FreeSpace::of(dir)?.bytes, dir: dir.to_owned() })
    }

    /// Returns the limit in bytes.
    ///
    /// # Errors
    /// When nothing may come in at all.
    pub(crate) fn bytes(&self) -> Result<u64, UserError> {
        match self.most.min(self.free.saturating_sub(self.reserve)) {
            0 => Err(self.refuse(0)),
            bytes => Ok(bytes),
        }
    }

    /// Refuses `bytes` more than are allowed, naming the setting that is in the way.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), UserError> {
        let fits = bytes <= self.most && bytes <= self.free.saturating_sub(self.reserve);
        if fits { Ok(()) } else { Err(self.refuse(bytes)) }
    }

    fn refuse(&self, bytes: u64) -> UserError {
        if bytes > self.most || self.most == 0 {
            let what = format!("{} are to come in, {} are allowed", size(bytes), size(self.most));
            return UserError::new(what).hint(format!("{MAX_PUSH} says how much"));
        }
        let what = format!(
            "not enough room on the disk of '{}': {} are to come in, {} are free, and {} stay free",
            self.dir.display(),
            size(bytes),
            size(self.free),
            size(self.reserve)
        );
        UserError::new(what)
            .hint(format!("'piku gc' removes what nothing needs; {RESERVE} says how much stays free"))
    }

    /// Returns a line that says what the limit is.
    pub(crate) fn describe(&self) -> String {
        format!(
            "a push may bring {} ({MAX_PUSH}) and has to leave {} of the disk free ({RESERVE}); {} are free",
            size(self.most),
            size(self.reserve),
            size(self.free)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: u64, reserve: u64, free: u64) -> IntakeLimit {
        IntakeLimit { most, reserve, free, dir: "/d".into() }
    }

    #[test]
    fn the_setting_that_is_in_the_way_is_named() {
        assert_eq!(limit(100, 10, 50).bytes().unwrap(), 40);
        assert_eq!(limit(30, 10, 50).bytes().unwrap(), 30);
        limit(100, 10, 50).check(40).unwrap();
        let full = limit(100 << 20, 64 << 20, 70 << 20);
        let said = full.check(9 << 20).unwrap_err().to_string();
        assert!(said.contains("9.0 MiB are to come in, 70.0 MiB are free, and 64.0 MiB stay free"), "{said}");
        let said = full.check(101 << 20).unwrap_err().to_string();
        assert_eq!(said, "101.0 MiB are to come in, 100.0 MiB are allowed");
        assert!(limit(100, 60, 50).bytes().is_err() && limit(0, 0, 50).bytes().is_err());
        assert!(full.describe().contains("max_push_size") && full.describe().contains("disk_reserve"));
    }

    #[test]
    fn a_bounded_program_gets_no_more_memory_than_there_is_to_spare() {
        let before = getrlimit(Resource::Data);
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -S -d"]).stdout(std::process::Stdio::piped());
        let out = spawn_bounded(&mut shell, Some(1 << 20)).unwrap().wait_with_output().unwrap();
        let kib: u64 = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
        assert!(kib * 1024 >= LEAST_MEMORY);
        assert_eq!(getrlimit(Resource::Data), before);
    }
}
