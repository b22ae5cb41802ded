//! The machines in `deploy_to` of an app that lack the release of its last deploy.

#![expect(clippy::disallowed_methods, reason = "a folder that only piku writes")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use piku_files::atomic_file;

use crate::paths::AppDir;

const MACHINES: &str = "machines";
/// File whose presence keeps the releases back: the app was stopped.
const HELD: &str = "held";

/// The folder `missed` of an app: the releases of the last deploy, and the list of the machines that lack
/// theirs.
#[derive(Debug, Clone)]
pub struct MissedRelease(PathBuf);

/// A machine that lacks the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedMachine {
    /// Address, as `deploy_to` names it.
    pub address: String,
    /// Reason for which it lacks the release.
    pub reason: MissedReason,
}

/// Reason for which a machine lacks a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedReason {
    /// It was down, and gets the release when it is back.
    Down,
    /// It has refused the release, or did not start it, and waits for the next one.
    Failed,
    /// The deploy has not come to it yet. If the deploy was killed, it gets the release as if it had been down.
    Pending,
}

impl MissedRelease {
    /// Returns the folder of an app, which need not exist.
    #[must_use]
    pub fn of(app: &AppDir) -> Self {
        Self(app.path().join("missed"))
    }

    /// Returns the folder in which a new one is made, to be renamed to this one.
    #[must_use]
    pub fn unfinished(app: &AppDir) -> Self {
        Self(app.path().join("missed.new"))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the folder with a release for each kind of machine.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// Returns the machines; none if the folder is missing.
    #[must_use]
    pub fn machines(&self) -> Vec<MissedMachine> {
        let text = fs::read_to_string(self.0.join(MACHINES)).unwrap_or_default();
        text.lines().map(MissedMachine::parse).collect()
    }

    /// Returns the addresses of the machines that get no requests, because they have an older release.
    #[must_use]
    pub fn outdated(&self) -> Vec<String> {
        self.addresses(|reason| reason != MissedReason::Pending)
    }

    /// Returns the addresses of the machines that get the release as soon as they can be reached; none while it is
    /// held back.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        if self.0.join(HELD).exists() {
            return Vec::new();
        }
        self.addresses(|reason| reason != MissedReason::Failed)
    }

    fn addresses(&self, has: impl Fn(MissedReason) -> bool) -> Vec<String> {
        let machines = self.machines().into_iter();
        machines.filter(|machine| has(machine.reason)).map(|machine| machine.address).collect()
    }

    /// Holds the release back, if there is one, or no more.
    ///
    /// # Errors
    /// Fails if the mark cannot be written or removed.
    pub fn hold(&self, is_held: bool) -> io::Result<()> {
        let mark = self.0.join(HELD);
        if is_held {
            return if self.0.exists() { atomic_file::write(&mark, b"", 0o600) } else { Ok(()) };
        }
        match fs::remove_file(mark) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Replaces the list of machines.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_machines(&self, machines: &[MissedMachine]) -> io::Result<()> {
        let text = machines.iter().map(MissedMachine::render).collect::<Vec<_>>().join("\n");
        atomic_file::write(&self.0.join(MACHINES), text.as_bytes(), 0o600)
    }
}

impl MissedMachine {
    fn parse(line: &str) -> Self {
        let (address, word) = line.split_once(' ').unwrap_or((line, ""));
        let reason = match word {
            "failed" => MissedReason::Failed,
            "pending" => MissedReason::Pending,
            _ => MissedReason::Down,
        };
        Self { address: address.to_owned(), reason }
    }

    fn render(&self) -> String {
        match self.reason {
            MissedReason::Down => self.address.clone(),
            MissedReason::Failed => format!("{} failed", self.address),
            MissedReason::Pending => format!("{} pending", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PikuRoot;

    #[test]
    fn machines_are_read_back_with_their_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let missed = MissedRelease::of(&app);
        assert!(missed.machines().is_empty());
        missed.hold(true).unwrap();
        assert!(!missed.path().exists());
        fs::create_dir_all(missed.path()).unwrap();
        let of = |address: &str, reason| MissedMachine { address: address.to_owned(), reason };
        let all = [
            of("piku@pi-1", MissedReason::Down),
            of("pi-2:22", MissedReason::Failed),
            of("pi-3", MissedReason::Pending),
        ];
        missed.write_machines(&all).unwrap();
        assert_eq!(missed.machines(), all);
        assert_eq!(missed.outdated(), ["piku@pi-1", "pi-2:22"]);
        assert_eq!(missed.waiting(), ["piku@pi-1", "pi-3"]);
        missed.hold(true).unwrap();
        assert!(missed.waiting().is_empty() && missed.outdated().len() == 2);
        missed.hold(false).unwrap();
        missed.hold(false).unwrap();
        assert_eq!(missed.waiting().len(), 2);
    }
}
