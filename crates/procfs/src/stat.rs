use std::sync::OnceLock;
use std::time::Duration;

use crate::ProcFields;

/// Clock ticks in a second as /proc counts them on every architecture of today (`USER_HZ`).
pub(crate) const TICKS_PER_SECOND: u64 = 100;

/// The kernel's summary of a process, /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R` for running, `S` for sleeping, `Z` for a zombie; see proc(5).
    pub state: char,
    /// Pid of the parent.
    pub parent: i32,
    /// Process group, which has the pid of its first process.
    pub group: i32,
    /// Session, which has the pid of its first process.
    pub session: i32,
    /// Flags of the kernel (`PF_EXITING` and others of linux/sched.h).
    flags: u64,
    /// Processor time in clock ticks: its own, and that of its ended children.
    cpu: u64,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

impl ProcessStat {
    /// Reads the summary of a process; `None` if no such process exists.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        // A process chooses its name, which need not be UTF-8.
        Self::parse(&String::from_utf8_lossy(&crate::read_file(&format!("/proc/{pid}/stat")).ok()?))
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold blanks and parentheses.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let flags = fields.nth(2)?.parse().ok()?;
        // utime and stime, cutime and cstime.
        fields.by_ref().nth(3)?;
        let times = fields.by_ref().take(4).map(str::parse::<u64>).collect::<Result<Vec<u64>, _>>().ok()?;
        let cpu = times.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks));
        let start = fields.nth(4)?.parse().ok()?;
        Some(Self { state, parent, group, session, flags, cpu, start })
    }

    /// Returns the processor time that it and its ended children have used.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        ticks(self.cpu)
    }

    /// Returns whether the process has ended and its parent has not yet waited for it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Returns whether a process exists and is not a zombie.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    ProcessStat::read(pid).is_some_and(|stat| !stat.is_zombie())
}

/// Returns whether a process has ended, is exiting or has a pending SIGKILL.
#[must_use]
pub fn is_dying(pid: i32) -> bool {
    const EXITING: u64 = 0x4;
    const SIGKILL: u64 = 1 << 8;
    let Some(stat) = ProcessStat::read(pid) else { return true };
    let status = ProcFields::read(pid, "status");
    let is_pending = |set: &str| {
        let set = status.as_ref().and_then(|status| u64::from_str_radix(status.value(set)?, 16).ok());
        set.is_some_and(|set| set & SIGKILL != 0)
    };
    stat.flags & EXITING != 0 || stat.is_zombie() || is_pending("SigPnd") || is_pending("ShdPnd")
}

/// Returns the age of a process from its start time ([`ProcessStat::start`]). Changes of the wall clock do
/// not affect it.
#[must_use]
pub fn uptime(start: u64) -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot =
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    since_boot.saturating_sub(ticks(start))
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// Returns the identifier of this boot. Pids and start times of another boot mean nothing in this one.
#[must_use]
pub fn boot_id() -> String {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || crate::read_file("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BOOT_ID.get_or_init(|| String::from_utf8_lossy(&read()).trim().to_owned()).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_uptime_of_a_process_is_counted_from_its_start() {
        let began = std::time::Instant::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = ProcessStat::read(i32::try_from(child.id()).unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let uptime = uptime(stat.start);
        child.kill().unwrap();
        child.wait().unwrap();
        // A tick is a hundredth of a second, and one begins in the middle of another.
        assert!(
            uptime >= Duration::from_millis(250) && uptime <= began.elapsed() + Duration::from_millis(20),
            "{uptime:?}"
        );
        assert_eq!(super::uptime(u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_name_with_parentheses_is_skipped() {
        let text = "42 (a) b (c)) S 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        let stat = ProcessStat::parse(text).unwrap();
        assert_eq!(
            stat,
            ProcessStat {
                state: 'S',
                parent: 7,
                group: 42,
                session: 41,
                flags: 4_194_304,
                cpu: 26,
                start: 98765
            }
        );
    }

    #[test]
    fn a_process_that_was_killed_is_dying() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(is_running(pid) && !is_dying(pid));
        child.kill().unwrap();
        assert!(is_dying(pid));
        child.wait().unwrap();
        assert!(is_dying(pid) && !is_running(pid));
    }

    #[test]
    fn a_process_whose_name_is_not_utf_8_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(OsStr::from_bytes(b"a\xff) Z"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (stat, name) = (ProcessStat::read(pid), ProcFields::read(pid, "status"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!stat.unwrap().is_zombie());
        assert!(name.unwrap().value("Name").is_some());
    }

    #[test]
    fn this_process_is_there_and_has_not_changed() {
        let own = i32::try_from(std::process::id()).unwrap();
        let stat = ProcessStat::read(own).unwrap();
        assert_eq!(stat.start, ProcessStat::read(own).unwrap().start);
        assert_eq!(stat.parent.unsigned_abs(), std::os::unix::process::parent_id());
        assert!(!boot_id().is_empty());
    }
}
