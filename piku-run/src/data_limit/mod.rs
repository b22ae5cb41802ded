//! `DATA_LIMIT`: how much disk the data of an app or a service may use. The kernel enforces nothing, since quotas of a
//! file system need root: the daemon has the data measured, the operator is told, and pushes are refused above the
//! limit. Data is never removed, and nothing is stopped.

mod data_size;
mod timer;
mod usage_record;
mod watch;

use anyhow::Context;
use piku_files::free_space::size;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

pub(crate) use timer::DataUsageTimer;
pub(crate) use usage_record::{DataUsage, DataUsageRecord};
pub(crate) use watch::{count_data, measure_due, print_problems};

use crate::instance::environment::ReleaseContext;
use crate::releases::current;

/// Name of the setting.
const VARIABLE: &str = "DATA_LIMIT";

/// Parses an amount such as `512m`, `20g` or `1t`; `None` for an empty one.
fn parse_limit(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let bad =
        || format!("'{}' is not a size: expected bytes, with k, m, g or t after them", text.escape_debug());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes > 0 => Ok(Some(bytes)),
        _ => Err(bad()),
    }
}

/// Returns the limit of a release in bytes: that of its config or its `ENV`, or for a service of its `service.yaml`.
///
/// # Errors
/// Fails if the settings cannot be read, or if the value is not a size.
fn limit_of(world: &ReleaseContext) -> anyhow::Result<Option<u64>> {
    let values = world.values()?;
    let of_service = world.service.as_ref().and_then(|service| service.data_limit.as_deref());
    let (name, text) = match (values.value(VARIABLE), of_service) {
        (Some(text), _) => (VARIABLE, text),
        (None, Some(text)) => ("service.yaml: data_limit", text),
        (None, None) => return Ok(None),
    };
    parse_limit(text).map_err(|why| UserError::new(format!("{name}: {why}")).into())
}

/// Checks that the limit of a release is a size.
pub(crate) fn check_value(world: &ReleaseContext) -> anyhow::Result<()> {
    // Settings that cannot be read are reported elsewhere.
    if world.values().is_ok() { limit_of(world).map(drop) } else { Ok(()) }
}

/// Has the daemon measure from now on, if a release that is about to run has a limit.
pub(crate) fn announce(root: &PikuRoot, world: &ReleaseContext) {
    if matches!(limit_of(world), Ok(Some(_))) {
        // Measured within a day if this fails.
        let _ = DataUsageRecord::create(root);
    }
}

/// Measures the data of an app that is pushed to, if the settings that it will have limit it.
///
/// # Errors
/// Fails if the data is above the limit.
pub(crate) fn check_push(root: &PikuRoot, app: &AppName, world: &ReleaseContext) -> anyhow::Result<()> {
    let has_data = current::has_dir(root.app(app).path(), "data");
    let Some(limit) = limit_of(world)?.filter(|_| has_data) else { return Ok(()) };
    let usage = match watch::measure_now(root, app, limit) {
        Ok(usage) => usage,
        Err(err) => {
            progress::warning(&format!("its data cannot be measured: {err:#}"));
            return Ok(());
        }
    };
    if usage.bytes >= limit {
        let what = format!("the data of {app} takes {}; its {VARIABLE} is {}", usage.shown(), size(limit));
        return Err(UserError::new(what)
            .hint(format!("remove some of it: piku run {app} du -h /data shows which"))
            .hint(format!(
                "or raise the limit: piku config:set {app} {VARIABLE}=… --no-restart, then push again"
            ))
            .into());
    }
    if usage.percent() >= usage_record::NEAR {
        progress::warning(&format!("its data takes {} ({VARIABLE})", usage.describe()));
    }
    Ok(())
}

/// Returns the limit of the live release.
fn limit_of_live(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<u64>> {
    let Some(number) = root.app(app).current_number() else { return Ok(None) };
    let world = ReleaseContext::read(root, app, number)
        .with_context(|| format!("cannot read the settings of {app}"))?;
    limit_of(&world)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes() {
        for (text, bytes) in [
            ("4096", Some(4096)),
            (" 5k", Some(5 << 10)),
            ("512M", Some(512 << 20)),
            ("20g", Some(20 << 30)),
            ("1t", Some(1 << 40)),
            ("", None),
        ] {
            assert_eq!(parse_limit(text), Ok(bytes), "{text}");
        }
        for bad in ["0", "-1", "1.5g", "10%", "5x", "g", "99999999999999999999", "99999999999t", "1 g", "+1g"]
        {
            assert!(parse_limit(bad).unwrap_err().contains("is not a size"), "{bad}");
        }
    }
}
