//! `rollback APP [N]`: makes a new release with the tree and config of an old one; it passes the same
//! health checks as a deploy.

use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_release::manifest::{BuiltRelease, ReleaseOrigin};
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::commands::lifecycle::successor::ReleaseSuccessor;
use crate::config::{ConfigChange, store};
use crate::known_apps;
use crate::releases::current;

pub(in crate::commands) fn run(root: &PikuRoot, app: &AppName, number: Option<u64>) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    while !roll_back(root, app, number)? {
        // Which one is the previous release has changed with it.
        if number.is_none() {
            let what = format!("another release of {app} has gone live meanwhile");
            let hint = format!("name the release to go back to; piku releases {app} lists them");
            return Err(UserError::new(what).hint(hint).code(BUSY).into());
        }
        if let Some(number) = number.filter(|number| is_back(&root.app(app), *number).unwrap_or(false)) {
            progress::detail(&format!("release {number} is back meanwhile: another rollback was faster"));
            return Ok(());
        }
        progress::detail("another release has gone live meanwhile: once more");
    }
    Ok(())
}

/// Returns true if the live release is a rollback to this one.
fn is_back(dir: &AppDir, number: u64) -> anyhow::Result<bool> {
    let Some(live) = current::live_release(dir)? else { return Ok(false) };
    let (live, old) = (BuiltRelease::read(&dir.release(live))?, BuiltRelease::read(&dir.release(number))?);
    Ok(live.origin == ReleaseOrigin::Rollback
        && live.tree_of == Some(old.tree_of.unwrap_or(number))
        && store::of_release(dir, live.number)? == store::of_release(dir, number)?)
}

/// Makes the release live again. Returns false if another one has become live meanwhile.
fn roll_back(root: &PikuRoot, app: &AppName, number: Option<u64>) -> anyhow::Result<bool> {
    let dir = root.app(app);
    let (number, live) = choose_release(app, &dir, number)?;
    let old = BuiltRelease::read(&dir.release(number))?;
    progress::step(&format!("Rolling {app} back to release {number}"));
    let stored = store::read(&dir)?;
    let config = store::of_release(&dir, number)?.unwrap_or_else(|| {
        progress::detail(
            "that release is an older piku's and has no configuration of its own: today's holds",
        );
        stored.clone()
    });
    let change = ConfigChange::between(&stored, &config);
    if !change.is_empty() {
        progress::detail(&format!("with its configuration: {change}"));
    }
    let says = !change.is_empty();
    let subject = match without_rollback(&old.subject) {
        "" => format!("rollback to {number}"),
        old => format!("rollback to {number}: {old}"),
    };
    let successor = ReleaseSuccessor {
        tree_of: number,
        after: live,
        origin: ReleaseOrigin::Rollback,
        subject,
        config,
        change,
    };
    let is_live = successor.deploy(root, app)?;
    if is_live && says {
        progress::detail("'config' shows the configuration of that release now");
    }
    Ok(is_live)
}

/// Returns the original subject of a release that was a rollback itself.
fn without_rollback(subject: &str) -> &str {
    let Some(rest) = subject.strip_prefix("rollback to ") else { return subject };
    let (number, old) = rest.split_once(": ").unwrap_or((rest, ""));
    if number.parse::<u64>().is_ok() { old } else { subject }
}

/// Returns the release to go back to, and the live one.
fn choose_release(app: &AppName, dir: &AppDir, number: Option<u64>) -> anyhow::Result<(u64, u64)> {
    let all = crate::commands::release_numbers(dir)?;
    let live = current::live_release(dir)?;
    let live =
        live.ok_or_else(|| UserError::new(format!("{app} has no release yet")).hint("push it first"))?;
    let number = match number {
        Some(number) if all.contains(&number) => number,
        Some(number) => {
            let kept: Vec<String> = all.iter().map(u64::to_string).collect();
            let what = format!("{app} has no release {number}");
            return Err(UserError::new(what).hint(format!("it has: {}", kept.join(", "))).into());
        }
        None => {
            let before = all.into_iter().rfind(|number| *number < live);
            before.ok_or_else(|| UserError::new(format!("{app} has no release before {live}")))?
        }
    };
    Ok((number, live))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_of_a_rollback_is_told_once() {
        assert_eq!(without_rollback("rollback to 12: rollback to 3: One"), "rollback to 3: One");
        assert_eq!(without_rollback("rollback to 12"), "");
        for plain in ["One", "rollback to the old: way", "rollback to"] {
            assert_eq!(without_rollback(plain), plain);
        }
    }
}
