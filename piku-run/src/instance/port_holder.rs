//! Ports that apps pin with `PORT`, and descriptions of who has a port.

#![expect(clippy::disallowed_methods, reason = "/proc")]

use std::fs;

use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use crate::instance::record::RecordFolder;
use crate::ports::listening::{OwnedSockets, PortHolder, StrangeListener, holder_of};
use crate::ports::{PortClaim, is_free, reclaim_port};

/// Claims the port that an app pins.
///
/// # Errors
/// Names the app or the process that has it.
pub(crate) fn claim_pinned(root: &PikuRoot, port: u16) -> anyhow::Result<PortClaim> {
    if let Some(claim) = reclaim_port(root, port)? {
        if is_free(port, true)? {
            return Ok(claim);
        }
    }
    let by = find_holder(root, port).unwrap_or_else(|| "another program".to_owned());
    Err(port_taken(port, &by).into())
}

/// Returns the error about a pinned port that `by` has.
pub(crate) fn port_taken(port: u16, by: &str) -> UserError {
    UserError::new(format!("PORT={port} is taken by {by}"))
        .hint("leave PORT out, and piku chooses a free port; or write another one")
}

/// Describes the process that listens on a port, or the instance that has claimed it. `None` if the port is free, or
/// a supervisor reserves it.
pub(crate) fn find_holder(root: &PikuRoot, port: u16) -> Option<String> {
    match OwnedSockets::default().holder(port) {
        PortHolder::Stranger(stranger) => Some(describe_listener(root, stranger)),
        PortHolder::Own | PortHolder::Nobody => describe_claimer(root, port),
    }
}

/// Describes the holder of a socket: an instance of an app, or a process.
pub(crate) fn describe_listener(root: &PikuRoot, stranger: StrangeListener) -> String {
    let Some(pid) = holder_of(stranger.inode) else {
        return format!("a process of the user {}", stranger.uid);
    };
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm: String = comm.trim_end().chars().filter(|c| !c.is_control()).collect();
    let process = format!("pid {pid}, {comm}");
    for app in root.supervised().unwrap_or_default() {
        let records = RecordFolder::for_app(&root.app(&app)).read_all().unwrap_or_default();
        let its = |pid_of: i32| piku_procfs::process_tree(pid_of).contains(&pid);
        if let Some(record) = records.iter().find(|record| record.is_alive() && its(record.pid)) {
            return format!("{} of {app} ({process})", record.ps);
        }
    }
    process
}

/// Returns the instance, of any app, that has claimed a port on which it does not listen.
fn describe_claimer(root: &PikuRoot, port: u16) -> Option<String> {
    root.supervised().ok()?.into_iter().find_map(|app| {
        let records = RecordFolder::for_app(&root.app(&app)).read_all().ok()?;
        let record = records.into_iter().find(|record| record.port == Some(port) && record.is_alive())?;
        Some(format!("{} of {app}", record.ps))
    })
}
