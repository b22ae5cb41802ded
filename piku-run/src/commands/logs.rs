//! `logs APP`: prints the logs of its instances, of a deploy or of nginx.

use std::io;
use std::os::fd::AsFd;

use piku_layout::paths::PikuRoot;

use crate::cli;
use crate::ipc::client;
use crate::log::{DeployLogChoice, LogQuery, show_logs};

pub(super) fn run(root: &PikuRoot, typed: cli::LogsArgs) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let query = LogQuery {
        follow: typed.follow,
        lines: typed.lines,
        deploy: typed.deploy.map(|number| number.map_or(DeployLogChoice::Last, DeployLogChoice::Number)),
        nginx: (typed.nginx || typed.access).then(|| root.nginx_logs()),
        access_only: typed.access,
        only: typed.ps.or(typed.only),
        since: typed.since,
        raw: typed.raw,
    };
    super::must_be_there(root, &typed.app)?;
    // A supervisor that has ended or does not respond has no lines to wait for.
    let _following = client::have_logs_written(root, &typed.app, query.follow);
    let dir = root.app(&typed.app);
    show_logs(&typed.app, &dir, &query, &mut stdout.lock(), Some(stdout.as_fd()))
}
