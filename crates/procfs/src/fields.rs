/// A file of /proc with one `Name: value` in each line, such as `status`, `meminfo` and `smaps_rollup`.
#[derive(Debug, Clone)]
pub struct ProcFields(String);

impl ProcFields {
    /// Reads such a file of a process; `None` if the process has ended or the file is hidden from this user.
    #[must_use]
    pub fn read(pid: i32, file: &str) -> Option<Self> {
        Self::read_path(&format!("/proc/{pid}/{file}"))
    }

    fn read_path(path: &str) -> Option<Self> {
        // A process chooses its name, which need not be UTF-8.
        Some(Self(String::from_utf8_lossy(&crate::read_file(path).ok()?).into_owned()))
    }

    /// Returns the value of a field, without the blanks around it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    /// Returns the value of a field in bytes; the kernel prints it as `12 kB`.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<u64> {
        self.value(name)?.strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
    }
}

impl From<&str> for ProcFields {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Reads the memory of the machine.
#[must_use]
pub fn meminfo() -> Option<ProcFields> {
    ProcFields::read_path("/proc/meminfo")
}

/// Returns how many processes the kernel has killed since boot because the machine or a cgroup ran out of
/// memory; 0 if the kernel does not count them.
#[must_use]
pub fn oom_kills() -> u64 {
    oom_kills_in(&crate::read_file("/proc/vmstat").unwrap_or_default())
}

fn oom_kills_in(vmstat: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(vmstat);
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let fields = ProcFields::from("Name:\tsh\nVmRSSx: 1 kB\nVmRSS:\t  512 kB\nThreads:\t1\n");
        assert_eq!(fields.value("Name"), Some("sh"));
        assert_eq!(fields.bytes("VmRSS"), Some(512 << 10));
        assert_eq!((fields.bytes("Threads"), fields.value("Na")), (None, None));
        assert!(meminfo().unwrap().bytes("MemTotal").is_some());
        assert_eq!(oom_kills_in(b"nr_free_pages 1\noom_kill 12\noom_kill_x 3\n"), 12);
        assert_eq!(oom_kills_in(b""), 0);
    }
}
