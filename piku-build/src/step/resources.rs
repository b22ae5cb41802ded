//! What a build takes from the machine: its priority, its bounds of memory, and its place in the kernel's list of processes to
//! kill, so that the apps that run keep what they need.

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

/// Looks at what the operator has said of builds, and stands back: what this process starts inherits it.
pub(crate) fn lower_priority(settings: &HostSettings) -> anyhow::Result<()> {
    if let Some(memory) = &settings.build_memory {
        JailLimits::from_str(&format!("memory={memory}"))
            .map_err(|err| UserError::new(err).hint("build_memory in host.yaml is such as 512m or 50%"))?;
    }
    if settings.build_nice > 19 {
        return Err(
            UserError::new(format!("bad build_nice {} in host.yaml: 0 to 19", settings.build_nice)).into()
        );
    }
    nice(i32::from(settings.build_nice)).context("cannot step back (nice)")?;
    // In a push git's memory is bounded, softly, and the hook inherits that; a build has bounds of its own.
    let data = getrlimit(Resource::Data);
    setrlimit(Resource::Data, Rlimit { current: data.maximum, ..data })
        .context("cannot lift the bound of memory")?;
    Ok(())
}

/// This process and what it starts from now on; a jail's profile has the same number for the steps inside of it.
const BUILD: i32 = 500;
const FILE: &str = "/proc/self/oom_score_adj";

/// Raises the score of this process, which the commands that it starts inherit. A caller's higher one stays, and where the
/// kernel refuses, the build goes on.
pub(crate) fn raise_oom_score() {
    let own = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if own.is_some_and(|own| own < BUILD) {
        let _ = fs::write(FILE, BUILD.to_string());
    }
}

/// Less is no build's; where not even that is available, the kernel decides who goes.
const LEAST: u64 = 128;
/// Of the machine's memory, in percent: what nobody may have more of.
const MOST: u64 = 90;

/// Returns it as `piku-chroot --limit memory=` takes it; nothing where the kernel does not tell.
pub(crate) fn available_memory() -> Option<String> {
    available_in(&piku_procfs::meminfo()?)
}

/// Swap counts: what is pushed out there is in nobody's way.
fn available_in(meminfo: &ProcFields) -> Option<String> {
    let mebibytes = |name: &str| Some(meminfo.bytes(name)? >> 20);
    let free = mebibytes("MemAvailable")? + mebibytes("SwapFree").unwrap_or(0);
    let most = mebibytes("MemTotal")? * MOST / 100;
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
