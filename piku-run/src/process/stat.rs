//! What /proc tells about processes: whose child, which session, when started. A pid alone names nobody: it is used again.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::fs;
use std::time::Duration;

/// Clock ticks in a second as /proc counts them, on every architecture but two that are gone (`USER_HZ`).
const TICKS: u64 = 100;

/// A line of /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// R, S, D, Z and so on.
    pub state: char,
    /// The parent.
    pub parent: i32,
    /// The process group, named after its first process.
    pub group: i32,
    /// The session, named after the process that began it.
    pub session: i32,
    /// When it was started, in clock ticks after boot. With the pid and the boot it names a process for good.
    pub start: u64,
}

impl ProcessStat {
    /// Of one process; nothing when there is none.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold blanks and parentheses itself.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let start = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, group, session, start })
    }

    /// Whether it has ended and only waits for its parent to notice.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Returns whether a process has been killed and is not gone yet, or is being taken down by the kernel.
#[must_use]
pub fn is_dying(pid: u32) -> bool {
    const EXITING: u64 = 0x4;
    const SIGKILL: u64 = 1 << 8;
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let Some((_, fields)) = stat.rsplit_once(") ") else { return true };
    // `PF_EXITING` of linux/sched.h among the flags.
    let flags = fields.split(' ').nth(6).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or(0);
    let status = read("status");
    let mut pending = status.lines().filter_map(|line| {
        let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(set.trim(), 16).ok()
    });
    flags & EXITING != 0 || fields.starts_with(['Z', 'X']) || pending.any(|set| set & SIGKILL != 0)
}

/// All processes, the newest first, each looked at when it is asked for: what is not there for long is looked at before it is gone.
pub fn all() -> impl Iterator<Item = (i32, ProcessStat)> {
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    pids.into_iter().filter_map(|pid| Some((pid, ProcessStat::of(pid)?)))
}

/// Returns how long ago a process was started that the kernel says was started at `start`, see [`ProcessStat::start`]. The wall clock has no
/// part in it.
#[must_use]
pub fn uptime(start: u64) -> Duration {
    since_boot().saturating_sub(Duration::from_millis(start.saturating_mul(1000 / TICKS)))
}

fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}

/// Names this run of the machine: records of another one are about processes that are gone.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_of_a_process_is_counted_from_its_start() {
        let began = std::time::Instant::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = ProcessStat::of(i32::try_from(child.id()).unwrap()).unwrap();
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
    fn a_name_with_parentheses_fools_nobody() {
        let text = "42 (a) b (c)) S 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        let stat = ProcessStat::parse(text).unwrap();
        assert_eq!(stat, ProcessStat { state: 'S', parent: 7, group: 42, session: 41, start: 98765 });
    }

    #[test]
    fn a_process_that_was_killed_is_dying() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_dying(child.id()));
        child.kill().unwrap();
        assert!(is_dying(child.id()), "killed, or gone by now and not waited for");
        child.wait().unwrap();
        assert!(is_dying(child.id()), "there is none");
    }

    #[test]
    fn this_process_is_there_and_has_not_changed() {
        let own = i32::try_from(std::process::id()).unwrap();
        let stat = ProcessStat::of(own).unwrap();
        assert_eq!(stat.start, ProcessStat::of(own).unwrap().start);
        assert_eq!(stat.parent, nix::unistd::getppid().as_raw());
        assert!(!boot_id().is_empty());
    }
}
