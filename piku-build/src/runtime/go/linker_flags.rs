//! The linker flags by which a Go program learns which commit it was built from.

use super::go_flags;
use super::packages::GoPackage;
use crate::app::app_source::AppSource;
use crate::plan::build_target::BuildTarget;

/// Returns the linker flags that set `main.version` and `main.commit`, if the programs have these
/// variables, and Heroku's `GO_LINKER_SYMBOL`. Returns none if the app sets its own.
pub(super) fn find(source: &AppSource, build_target: &BuildTarget, packages: &[GoPackage]) -> Option<String> {
    if go_flags(source, build_target).contains("-ldflags") {
        return None;
    }
    let mut words = Vec::new();
    // The flags are those of all programs.
    let has = |stamp: &str| {
        packages.iter().any(|package| package.stamps.contains(&stamp))
            && !packages.iter().any(|package| package.other_variables.contains(&stamp))
    };
    if !build_target.commit.is_empty() {
        let short = build_target.commit.get(..12).unwrap_or(build_target.commit);
        for (stamp, value) in [("version", short), ("commit", build_target.commit)] {
            if has(stamp) {
                words.push(format!("-X main.{stamp}={value}"));
            }
        }
    }
    if let (Some((symbol, _)), Some((value, _))) =
        (source.variable("GO_LINKER_SYMBOL"), source.variable("GO_LINKER_VALUE"))
    {
        words.push(format!("-X '{symbol}={value}'"));
    }
    (!words.is_empty()).then(|| words.join(" "))
}
