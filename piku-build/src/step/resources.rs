//! Priority, memory limit and out-of-memory score of a build, so that the running apps keep what they need.

#![expect(
    clippy::disallowed_methods,
    reason = "asks the kernel about memory, and tells it about this process"
)]

use anyhow::Context;
use piku_chroot::limits::JailLimits;
use piku_layout::settings::HostSettings;
use piku_procfs::ProcFields;
use piku_report::user_error::UserError;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use std::fs;
use std::str::FromStr;

/// Lowers the priority of this process and of its children, according to the host settings.
pub(crate) fn lower_priority(settings: &HostSettings) -> anyhow::Result<()> {
    if let Some(memory) = &settings.build_memory {
        JailLimits::from_str(&format!("memory={memory}")).map_err(|err| {
            let why = err.split_once(": ").map_or(err.as_str(), |(_, why)| why);
            UserError::new(format!("build_memory in host.yaml: {why}"))
                .hint("examples for build_memory in host.yaml: 512m, 50%")
        })?;
    }
    if settings.build_nice > 19 {
        return Err(
            UserError::new(format!("bad build_nice {} in host.yaml: 0 to 19", settings.build_nice)).into()
        );
    }
    nice(i32::from(settings.build_nice)).context("cannot step back (nice)")?;
    // piku-receive sets soft limits for git, which its hooks inherit; a build has its own limits.
    for resource in [Resource::Data, Resource::Fsize] {
        let limit = getrlimit(resource);
        setrlimit(resource, Rlimit { current: limit.maximum, ..limit })
            .context("cannot lift the limits of git")?;
    }
    Ok(())
}

/// Score of this process and its children; the jail's build profile sets the same.
const BUILD: i32 = 500;
const FILE: &str = "/proc/self/oom_score_adj";

/// Raises the score of this process, which its children inherit. A higher score stays; an error is ignored.
pub(crate) fn raise_oom_score() {
    let own = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if own.is_some_and(|own| own < BUILD) {
        let _ = fs::write(FILE, BUILD.to_string());
    }
}

/// Minimum in MiB; if even that is not available, the kernel decides which process to kill.
const LEAST: u64 = 128;
/// Maximum, in percent of the machine's memory.
const MOST: u64 = 90;

/// Returns the limit for `piku-chroot --limit memory=`; `None` if `/proc/meminfo` cannot be read.
pub(crate) fn available_memory() -> Option<String> {
    available_in(&piku_procfs::meminfo()?)
}

/// Returns the memory that is available, with free swap.
fn available_in(meminfo: &ProcFields) -> Option<String> {
    let mebibytes = |name: &str| Some(meminfo.bytes(name)? >> 20);
    let free = mebibytes("MemAvailable")? + mebibytes("SwapFree").unwrap_or(0);
    let most = mebibytes("MemTotal")? * MOST / 100;
    Some(format!("{}m", free.min(most).max(LEAST)))
}

/// Returns whether a step that was killed for memory was well below its limit: then the machine had no more.
pub(crate) fn is_machine_short(peak: u64, limit: &str) -> bool {
    let limits = JailLimits::from_str(&format!("memory={limit}")).unwrap_or_default();
    limits.memory.is_some_and(|limit| peak < limit.bytes() / 10 * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_below_its_limit_was_killed_because_the_machine_is_short() {
        assert!(is_machine_short(55 << 20, "128m"));
        assert!(!is_machine_short(128 << 20, "128m") && !is_machine_short(127 << 20, "128m"));
        assert!(is_machine_short(1, "50%") && !is_machine_short(1, "much"));
    }

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
        let may =
            |total, available, swap| available_in(&meminfo(total, available, swap).as_str().into()).unwrap();
        assert_eq!(may(1000, 400, 0), "400m");
        assert_eq!(may(1000, 400, 300), "700m");
        assert_eq!(may(1000, 990, 2000), "900m");
        assert_eq!(may(500, 3, 0), "128m");
        assert_eq!(available_in(&"MemTotal: 5 kB\n".into()), None);
        assert!(available_memory().is_some_and(|said| said.ends_with('m')));
    }
}
