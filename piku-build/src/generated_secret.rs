//! Secrets that a framework wants and nobody has set: made once for an app, and handed on from release to release in their
//! environments. No step of a build sees them.

#![expect(clippy::disallowed_methods, reason = "reads the kernel's random numbers")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::combined_plan::CombinedPlan;
use crate::hash::hex;
use crate::release::BuiltRelease;

/// As many as Rails' own `bin/rails secret`.
const BYTES: usize = 64;

/// Gives each secret that the plans want its value: the one of the release in the folder `before`, else a new one.
pub(crate) fn supply(whole: &mut CombinedPlan, before: Option<&Path>) -> anyhow::Result<()> {
    let names: Vec<&'static str> = whole.plans().flat_map(|plan| plan.secrets.iter().copied()).collect();
    if names.is_empty() {
        return Ok(());
    }
    // A release before that cannot be read is no reason to have none now.
    let old = before
        .and_then(|before| BuiltRelease::read(before).ok())
        .map(|release| release.env)
        .unwrap_or_default();
    for name in names {
        let value = old.get(name).filter(|value| !value.is_empty()).cloned().map_or_else(make, Ok)?;
        whole.env.insert(name.to_owned(), value);
    }
    Ok(())
}

fn make() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read '/dev/urandom'")?;
    Ok(hex(&bytes))
}
