//! `stop APP`, `stop --all`.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::app_request;
use crate::ipc::fan_out::ask_all;
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;

pub(in crate::commands) fn run(root: &PikuRoot, app: Option<&AppName>) -> anyhow::Result<()> {
    if let Some(app) = app {
        known_apps::must_be_there(root, app)?;
        let was_stopped = root.app(app).is_stopped();
        let running = running_instances(root, app);
        app_request::ask(root, app, &SupervisorRequest::Stop { stay: true })?;
        progress::step(&summary(app, &running, was_stopped));
        return Ok(());
    }
    // An app that is slow to stop, or fails to, does not delay the others.
    let apps = root.supervised().context("cannot list the apps")?;
    let stop = |app: &AppName| {
        let err = app_request::ask(root, app, &SupervisorRequest::Stop { stay: false }).err()?;
        Some(format!("{app}: {err:#}"))
    };
    let failed: Vec<String> = ask_all(&apps, stop).into_iter().flatten().collect();
    if failed.is_empty() { Ok(()) } else { Err(UserError::new(failed.join("\n")).into()) }
}

/// Returns the names of the instances that run, here or as pods; none if the supervisor cannot be asked.
fn running_instances(root: &PikuRoot, app: &AppName) -> Vec<String> {
    let samples = crate::live_samples::samples_of(root, app).unwrap_or_default();
    samples.into_iter().filter(|one| one.state.is_active()).map(|one| one.instance).collect()
}

fn summary(app: &AppName, stopped: &[String], was_stopped: bool) -> String {
    /// Number of instances that are named.
    const NAMED: usize = 10;
    let named = &stopped[..stopped.len().min(NAMED)];
    match stopped.len() {
        0 if was_stopped => format!("{app} is stopped already"),
        0 => format!("{app} is stopped"),
        count if count > NAMED => {
            format!("{app} is stopped: {} and {} more", named.join(", "), count - NAMED)
        }
        _ => format!("{app} is stopped: {}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stopped_is_told() {
        let app: AppName = "blog".parse().unwrap();
        let names = |count: usize| (1..=count).map(|index| format!("web.{index}")).collect::<Vec<_>>();
        assert_eq!(summary(&app, &names(2), false), "blog is stopped: web.1, web.2");
        assert!(summary(&app, &names(12), false).ends_with("web.9, web.10 and 2 more"));
        assert_eq!(summary(&app, &[], true), "blog is stopped already");
        assert_eq!(summary(&app, &[], false), "blog is stopped");
    }
}
