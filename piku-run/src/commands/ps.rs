//! `ps [APP]`: what runs, as the supervisors know it.

use anyhow::Context;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::output::Format;
use crate::protocol::Request;
use crate::sample::{self, Instance};
use crate::{client, place, ps, supervisor};

pub(super) fn run(root: &Root, app: Option<&AppName>, format: Format) -> anyhow::Result<()> {
    let apps = match app {
        Some(app) => {
            super::must_be_there(root, app)?;
            vec![app.clone()]
        }
        None => root.apps().context("cannot list the apps")?,
    };
    let mut rows = Vec::new();
    for app in apps {
        rows.extend(of(root, &app)?);
    }
    sample::fill(&mut rows);
    ps::print(&rows, format)
}

fn of(root: &Root, app: &AppName) -> anyhow::Result<Vec<Instance>> {
    let dir = root.app(app);
    let is_silent = place::is_stopped(&dir) || dir.current_number().is_none();
    if is_silent && !client::is_supervised(root, app) {
        // No need to start a supervisor that says that there is nothing.
        return supervisor::stopped(root, app);
    }
    let value = client::ask(root, app, &Request::Ps)?.context("the supervisor has no answer")?;
    serde_json::from_value(value).context("cannot understand the supervisor")
}
