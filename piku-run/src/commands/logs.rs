//! `logs APP`: what its instances, or a deploy, said.

use std::io;
use std::os::fd::AsFd;

use piku_procfile::layout::Root;

use crate::cli;
use crate::client;
use crate::log::{Deploy, Query, show};

pub(super) fn run(root: &Root, typed: cli::Logs) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let query = Query {
        follow: typed.follow,
        lines: typed.lines,
        deploy: typed.deploy.map(|number| number.map_or(Deploy::Last, Deploy::Number)),
        only: typed.ps,
        since: typed.since,
        raw: typed.raw,
    };
    // One that has just left, or does not answer, has none to wait for.
    let _following = client::have_logs_written(root, &typed.app, query.follow);
    let dir = root.app(&typed.app);
    show(&typed.app, &dir, &query, &mut stdout.lock(), Some(stdout.as_fd()))
}
