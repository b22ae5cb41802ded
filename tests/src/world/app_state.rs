//! The state of an app on the server: its instances, its page and its releases.

use std::fs;

use super::World;
use crate::http;

impl World {
    /// Returns the rows of `piku-run ps APP`.
    #[must_use]
    pub fn ps(&self, app: &str) -> Vec<serde_json::Value> {
        let out =
            self.tool("piku-run").args(["ps", app, "--format", "json"]).output().expect("piku-run runs");
        assert!(out.status.success(), "piku-run ps: {out:?}");
        serde_json::from_slice(&out.stdout).expect("an array")
    }

    /// Lets release tasks end that wait for the file `/data/gate`.
    pub fn open_gate(&self, app: &str) {
        fs::write(self.app(app).join("data/gate"), "").expect("the gate");
    }

    /// Returns the port of the app's first listening instance.
    #[must_use]
    pub fn port(&self, app: &str) -> u16 {
        let ps = self.ps(app);
        let port = ps.iter().find_map(|row| row["port"].as_u64());
        u16::try_from(port.unwrap_or_else(|| panic!("no port in {ps:#?}"))).expect("a port")
    }

    /// Fetches the app's page at `/`.
    #[must_use]
    pub fn page(&self, app: &str) -> String {
        http::get(self.port(app), "/")
            .unwrap_or_else(|err| panic!("{app} does not answer: {err}\n{}", self.logs()))
            .1
    }

    /// Fetches the app's page at `/`, if an instance has a port and answers.
    #[must_use]
    pub fn try_page(&self, app: &str) -> Option<String> {
        let port = self.ps(app).iter().find_map(|row| row["port"].as_u64())?;
        Some(http::get(u16::try_from(port).ok()?, "/").ok()?.1)
    }

    /// Returns the numbers of the releases on disk.
    #[must_use]
    pub fn releases(&self, app: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.app(app).join("releases"))
            .map(|entries| {
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        // The daemon removes old ones in the background.
        names.retain(|name| !name.as_bytes().ends_with(b".gone"));
        names.sort();
        names
    }

    /// Waits until the daemon has removed what the last changes of the app have left to it.
    ///
    /// # Panics
    /// If that takes longer than a minute.
    pub fn await_removals(&self, app: &str) {
        let is_removed = || {
            ["releases", "layers", "cache"].iter().all(|folder| {
                let entries = fs::read_dir(self.app(app).join(folder)).into_iter().flatten().flatten();
                entries.into_iter().all(|entry| !entry.file_name().as_encoded_bytes().ends_with(b".gone"))
            })
        };
        for _ in 0..3000 {
            if is_removed() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("old releases of {app} are still there");
    }
}
