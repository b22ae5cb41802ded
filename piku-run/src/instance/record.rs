//! What a supervisor writes down about each worker before it may start, so that the next supervisor takes it up instead of
//! starting a second one.
//!
//! Records are not synced: they are about processes, and after a power cut there are none.

#![expect(clippy::disallowed_methods, reason = "records of running instances, which only piku writes")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use piku_files::remove_all;
use piku_layout::paths::AppDir;
use piku_layout::settings::AppUsers;
use piku_procfs::ProcessStat;
use serde::{Deserialize, Serialize};

use crate::core::{InstanceId, InstanceName};
use crate::lock::FileLock;

/// One worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    pub(crate) id: InstanceId,
    pub(crate) ps: InstanceName,
    pub(crate) release: u64,
    pub(crate) port: Option<u16>,
    pub(crate) pid: i32,
    /// With `boot` and `pid` this names the process for good.
    pub(crate) start: u64,
    pub(crate) boot: String,
    /// What its processes are marked with where there is no jail.
    pub(crate) mark: Option<String>,
    /// Who it is in its jail. One that an older piku has started says nothing of it.
    #[serde(default)]
    pub(crate) users: AppUsers,
    /// When it was started, for its uptime.
    pub(crate) since: jiff::Timestamp,
    /// Whether it is part of what the app is, or on trial.
    pub(crate) live: bool,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    /// What it is limited to, as `piku-chroot --limit` takes it.
    #[serde(default)]
    pub(crate) limits: String,
    /// Whether it is kept running.
    #[serde(default)]
    pub(crate) runs: StartCount,
    /// A release task: never taken up.
    pub(crate) task: bool,
}

/// How often a process of this instance is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StartCount {
    /// Each time that the one before has ended.
    #[default]
    Always,
    /// Once: a cron.
    Once,
}

impl WorkerRecord {
    /// Whether the very process lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == piku_procfs::boot_id()
            && ProcessStat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_zombie())
    }
}

/// The folder of an app's records.
#[derive(Debug)]
pub(crate) struct RecordFolder(PathBuf);

impl RecordFolder {
    pub(crate) fn open(app: &AppDir) -> io::Result<Self> {
        let records = Self::of(app);
        fs::create_dir_all(&records.0)?;
        Ok(records)
    }

    /// Those of an app, which may have none.
    pub(crate) fn of(app: &AppDir) -> Self {
        Self(app.run().join("workers"))
    }

    pub(crate) fn fifo(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.fifo", id.0))
    }

    /// What of its output is between the fifo and the log.
    pub(crate) fn spool(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.spool", id.0))
    }

    /// Inherited by the worker, locked: held for as long as it lives.
    pub(crate) fn lock(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.lock", id.0))
    }

    /// Where the jail says what holds and how it ended.
    pub(crate) fn report(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.report", id.0))
    }

    /// Waits until no process of the instance holds its lock any more, but not for one that the kernel holds.
    pub(crate) fn wait_until_free(&self, id: InstanceId) {
        for _ in 0..500 {
            if FileLock::take(&self.lock(id)).is_ok_and(|lock| lock.is_some()) {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// The folder of its `NOTIFY_SOCKET`.
    pub(crate) fn notify(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.notify", id.0))
    }

    fn path(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.json", id.0))
    }

    pub(crate) fn write(&self, record: &WorkerRecord) -> io::Result<()> {
        let path = self.path(record.id);
        let aside = path.with_extension("part");
        fs::write(&aside, serde_json::to_vec(record)?)?;
        fs::rename(aside, path)
    }

    pub(crate) fn remove(&self, id: InstanceId) {
        // What stays behind of a dead worker is passed over at the next look.
        for path in [self.path(id), self.fifo(id), self.spool(id), self.lock(id), self.report(id)] {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir_all(self.notify(id));
    }

    /// All records that can be read, oldest first.
    pub(crate) fn all(&self) -> io::Result<Vec<WorkerRecord>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(read(&path));
            }
        }
        records.sort_by_key(|record| record.id);
        Ok(records)
    }

    /// Removes every file that belongs to none of these.
    pub(crate) fn tidy(&self, known: &[InstanceId]) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).map(InstanceId);
            if !id.is_some_and(|id| known.contains(&id)) {
                remove_all(&path)?;
            }
        }
        Ok(())
    }
}

/// The releases of an app of which a process lives; with or without a supervisor.
pub(crate) fn running_releases(app: &AppDir) -> io::Result<Vec<u64>> {
    let records = match RecordFolder::of(app).all() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    Ok(records.iter().filter(|record| record.is_alive()).map(|record| record.release).collect())
}

fn read(path: &Path) -> Option<WorkerRecord> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of this very process.
    pub(crate) fn own() -> WorkerRecord {
        let pid = i32::try_from(std::process::id()).unwrap();
        WorkerRecord {
            id: InstanceId(3),
            ps: InstanceName { kind: "web".parse().unwrap(), index: 1 },
            release: 1,
            port: None,
            pid,
            start: ProcessStat::read(pid).unwrap().start,
            boot: piku_procfs::boot_id(),
            mark: None,
            users: AppUsers::Shared,
            since: jiff::Timestamp::UNIX_EPOCH,
            live: true,
            ready: true,
            restarts: 0,
            limits: String::new(),
            runs: StartCount::default(),
            task: false,
        }
    }

    #[test]
    fn a_record_knows_its_process_and_no_other_with_the_same_pid() {
        let mut record = own();
        assert!(record.is_alive());
        record.start += 1;
        assert!(!record.is_alive());
        record.start -= 1;
        record.boot = "another".to_owned();
        assert!(!record.is_alive());
    }
}
