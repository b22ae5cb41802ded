//! A build is a guest beside the apps that run.

use std::str::FromStr;

use anyhow::Context;
use piku_chroot::limits::JailLimits;
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// Looks at what the operator has said of builds, and stands back: what this process starts inherits it.
pub(crate) fn observe(settings: &HostSettings) -> anyhow::Result<()> {
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
