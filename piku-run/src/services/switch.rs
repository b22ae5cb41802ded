//! The exchange of a service's data. Its state says first which data is to be there; any process that starts the server
//! then finishes the exchange, also after a power cut.

#![expect(clippy::disallowed_methods, reason = "directories of a service, which only piku writes")]

use std::path::Path;

use anyhow::Context;
use piku_layout::paths::AppDir;

use crate::folder_moves::move_app_dir;
use crate::services::state::{ServiceState, UpgradeStep};

impl ServiceState {
    /// Has the data in its place that belongs to the version of the service.
    pub(crate) fn finish_switch(&self, dir: &AppDir) -> anyhow::Result<()> {
        let (new, old) = (dir.new_service_data(), dir.old_service_data());
        match self.upgrade.as_ref().map(|upgrade| upgrade.step) {
            Some(UpgradeStep::Switching) => exchange(&dir.data(), &new, &old),
            Some(UpgradeStep::Returning) => exchange(&dir.data(), &old, &new),
            _ => Ok(()),
        }
    }
}

/// Moves `data` to `outgoing`, and `incoming` to `data`. Another process may be doing the same.
fn exchange(data: &Path, incoming: &Path, outgoing: &Path) -> anyhow::Result<()> {
    if !incoming.is_dir() {
        return Ok(());
    }
    let moved = if outgoing.exists() { Ok(()) } else { move_app_dir(data, outgoing) };
    let moved = moved.and_then(|()| move_app_dir(incoming, data));
    match moved {
        // The other process was faster.
        Err(_) if !incoming.is_dir() && data.is_dir() => Ok(()),
        moved => moved.with_context(|| format!("cannot exchange '{}'", data.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn exchange_is_finished_from_each_step() {
        for done in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let [data, new, old] = ["data", "data.new", "data.old"].map(|name| dir.path().join(name));
            for (path, text) in [(&data, "1"), (&new, "2")] {
                fs::create_dir(path).unwrap();
                fs::write(path.join("version"), text).unwrap();
            }
            if done > 0 {
                fs::rename(&data, &old).unwrap();
            }
            if done > 1 {
                fs::rename(&new, &data).unwrap();
            }
            for _ in 0..2 {
                exchange(&data, &new, &old).unwrap();
                assert_eq!(fs::read_to_string(data.join("version")).unwrap(), "2", "{done}");
                assert_eq!(fs::read_to_string(old.join("version")).unwrap(), "1", "{done}");
                assert!(!new.exists());
            }
            exchange(&data, &old, &new).unwrap();
            assert_eq!(fs::read_to_string(data.join("version")).unwrap(), "1", "{done}");
        }
    }
}
