//! The memory that a build may take where the operator has not set it: what is available when the build begins, so that it
//! takes nothing from the apps that run.

#![expect(clippy::disallowed_methods, reason = "reads what the kernel says of memory")]

use std::fs;

/// Less is no build's; where not even that is available, the kernel decides who goes.
const LEAST: u64 = 128;
/// Of the machine's memory, in percent: what nobody may have more of.
const MOST: u64 = 90;

/// Returns it as `piku-chroot --limit memory=` takes it; nothing where the kernel does not tell.
pub(crate) fn available() -> Option<String> {
    available_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Swap counts: what is pushed out there is in nobody's way.
fn available_in(meminfo: &str) -> Option<String> {
    let mebibytes = |name: &str| -> Option<u64> {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name))?.trim();
        Some(value.strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    };
    let free = mebibytes("MemAvailable:")? + mebibytes("SwapFree:").unwrap_or(0);
    let most = mebibytes("MemTotal:")? * MOST / 100;
    Some(format!("{}m", free.min(most).max(LEAST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_within_what_anybody_may_have() {
        let meminfo = |total: u64, available: u64, swap: u64| {
            format!(
                "MemTotal: {} kB\nMemFree: 1 kB\nMemAvailable: {} kB\nSwapFree:  {} kB\n",
                total * 1024,
                available * 1024,
                swap * 1024
            )
        };
        let may = |total, available, swap| available_in(&meminfo(total, available, swap)).unwrap();
        assert_eq!(may(1000, 400, 0), "400m");
        assert_eq!(may(1000, 400, 300), "700m");
        assert_eq!(may(1000, 990, 2000), "900m");
        assert_eq!(may(500, 3, 0), "128m");
        assert_eq!(available_in("MemTotal: 5 kB\n"), None);
        assert!(available().is_some_and(|said| said.ends_with('m')));
    }
}
