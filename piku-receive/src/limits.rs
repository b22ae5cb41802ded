//! Limits on what a client can make this host spend: memory and file sizes of the programs that read its
//! data, and the amount of data.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use piku_files::free_space::{FreeSpace, size};
use piku_layout::settings::HostSettings;
use piku_release::removals;
use piku_report::user_error::UserError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that git may always use, in bytes: enough for an ordinary push.
const LEAST_MEMORY: u64 = 256 << 20;

/// Space in bytes for data of unknown size, such as a push. Only with less does it wait for removals.
pub(crate) const AMPLE_SPACE: u64 = 256 << 20;

/// Names of the settings in messages.
const MAX_PUSH: &str = "max_push_size in host.yaml";
const RESERVE: &str = "disk_reserve in host.yaml";

/// Returns the memory in bytes that a program may use to read received data: half of the available memory.
///
/// A small file that expands to gigabytes then fails its own push and no app.
fn spare_memory() -> u64 {
    let available = piku_procfs::meminfo().and_then(|meminfo| meminfo.bytes("MemAvailable"));
    LEAST_MEMORY.max(available.unwrap_or(0) / 2)
}

/// Lowers a soft limit of this process and its children. Returns the old limit.
fn lower_limit(resource: Resource, most: u64) -> io::Result<Rlimit> {
    let before = getrlimit(resource);
    let current = Some(before.current.map_or(most, |current| current.min(most)));
    setrlimit(resource, Rlimit { current, ..before })?;
    Ok(before)
}

/// Limits the memory of this process and its children.
pub(crate) fn bound_memory() -> io::Result<()> {
    lower_limit(Resource::Data, spare_memory()).map(drop)
}

/// Starts a program that reads received data, with limited memory and, with `file_size`, limited size of
/// each file that it writes.
///
/// The limits are soft: the program may raise them for its own children.
pub(crate) fn spawn_bounded(command: &mut Command, file_size: Option<u64>) -> io::Result<Child> {
    // The child inherits the limits of this process, which starts nothing else in between.
    let data = lower_limit(Resource::Data, spare_memory())?;
    let size = file_size.map(|most| lower_limit(Resource::Fsize, most)).transpose()?;
    let child = command.spawn();
    setrlimit(Resource::Data, data)?;
    if let Some(size) = size {
        setrlimit(Resource::Fsize, size)?;
    }
    child
}

/// Limit on the data that one push or one part of a release may bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IntakeLimit {
    /// `max_push_size` in bytes.
    most: u64,
    /// `disk_reserve` in bytes.
    reserve: u64,
    /// Free disk space in bytes.
    free: u64,
    /// Directory whose file system was measured.
    dir: PathBuf,
}

impl IntakeLimit {
    /// Returns the limit for data below `dir`, an existing directory of an app. If the disk has no space for `wanted`
    /// bytes, first finishes the removals of all apps.
    pub(crate) fn read_limit(settings: &HostSettings, dir: &Path, wanted: u64) -> anyhow::Result<Self> {
        let (most, reserve) = (settings.max_push_bytes(), settings.reserve_bytes());
        let mut limit = Self { most, reserve, free: FreeSpace::of(dir)?.bytes, dir: dir.to_owned() };
        if limit.lacks_space(wanted) && removals::finish_beside(dir) {
            limit.free = FreeSpace::of(dir)?.bytes;
        }
        Ok(limit)
    }

    /// Returns the free disk space without `disk_reserve`, in bytes.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.free.saturating_sub(self.reserve)
    }

    /// Returns true if the disk, and not `max_push_size`, keeps out this many bytes.
    fn lacks_space(&self, bytes: u64) -> bool {
        bytes.min(self.most) > self.spare_bytes()
    }

    /// Returns the limit in bytes.
    ///
    /// # Errors
    /// Fails if no data is allowed at all.
    pub(crate) fn allowed_bytes(&self) -> Result<u64, UserError> {
        match self.most.min(self.spare_bytes()) {
            0 => Err(self.refusal(0)),
            bytes => Ok(bytes),
        }
    }

    /// Fails if `bytes` exceed the limit; the error names the setting that sets it.
    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), UserError> {
        let fits = bytes <= self.most && bytes <= self.spare_bytes();
        if fits { Ok(()) } else { Err(self.refusal(bytes)) }
    }

    fn refusal(&self, bytes: u64) -> UserError {
        if bytes > self.most || self.most == 0 {
            let what = format!("the data has {}, and {} are allowed", size(bytes), size(self.most));
            return UserError::new(what).hint(format!("{MAX_PUSH} sets the limit"));
        }
        let what = format!(
            "not enough space on the disk of '{}': the data has {}, {} are free, and {} must stay free",
            self.dir.display(),
            size(bytes),
            size(self.free),
            size(self.reserve)
        );
        UserError::new(what)
            .hint(format!("'piku gc' removes what nothing needs; {RESERVE} sets how much stays free"))
    }

    /// Returns a line that explains the limit.
    pub(crate) fn describe(&self) -> String {
        format!(
            "a push may contain {} ({MAX_PUSH}) and must leave {} of disk space free ({RESERVE}); {} are free",
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
    fn an_error_names_the_setting_that_sets_the_limit() {
        assert_eq!(limit(100, 10, 50).allowed_bytes().unwrap(), 40);
        assert_eq!(limit(30, 10, 50).allowed_bytes().unwrap(), 30);
        limit(100, 10, 50).check_bytes(40).unwrap();
        let full = limit(100 << 20, 64 << 20, 70 << 20);
        let said = full.check_bytes(9 << 20).unwrap_err().to_string();
        assert!(
            said.contains("the data has 9.0 MiB, 70.0 MiB are free, and 64.0 MiB must stay free"),
            "{said}"
        );
        let said = full.check_bytes(101 << 20).unwrap_err().to_string();
        assert_eq!(said, "the data has 101.0 MiB, and 100.0 MiB are allowed");
        let lacks_space = |free| limit(100, 10, free).lacks_space(90);
        assert!(lacks_space(99) && !lacks_space(100) && !limit(100, 10, 110).lacks_space(1000));
        assert!(limit(100, 60, 50).allowed_bytes().is_err() && limit(0, 0, 50).allowed_bytes().is_err());
        assert!(full.describe().contains("max_push_size") && full.describe().contains("disk_reserve"));
    }

    #[test]
    fn a_bounded_program_inherits_the_limit_and_this_process_keeps_its_own() {
        let own = || [Resource::Data, Resource::Fsize].map(getrlimit);
        let before = own();
        let limits_of = |file_size: Option<u64>| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -S -d; ulimit -S -f"]).stdout(std::process::Stdio::piped());
            let out = spawn_bounded(&mut shell, file_size).unwrap().wait_with_output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            let [data, size] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
            assert!(data.parse::<u64>().unwrap() * 1024 >= LEAST_MEMORY);
            size.to_owned()
        };
        assert_eq!(limits_of(Some(1 << 20)), "2048", "in half kibibytes");
        assert_eq!(own(), before);
        assert_eq!(limits_of(None) == "unlimited", before[1].current.is_none());
    }
}
