//! Records of instances, written before their processes start, so that the next supervisor adopts these
//! processes instead of starting others.
//!
//! Records are not synced: after a power failure no process is left.

#![expect(clippy::disallowed_methods, reason = "records of running instances, which only piku writes")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use piku_files::remove_all;
use piku_layout::paths::AppDir;
use piku_layout::settings::AppUsers;
use piku_procfs::ProcessStat;
use serde::{Deserialize, Serialize};

use crate::core::{InstanceId, InstanceName};
use crate::lock;

/// Record of an instance and its process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    pub(crate) id: InstanceId,
    pub(crate) ps: InstanceName,
    pub(crate) release: u64,
    pub(crate) port: Option<u16>,
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot; with `boot` and `pid` it identifies the process.
    pub(crate) start: u64,
    pub(crate) boot: String,
    /// Value that marks its processes, without a jail.
    pub(crate) mark: Option<String>,
    /// Users of its jail. Records of older versions lack it.
    #[serde(default)]
    pub(crate) users: AppUsers,
    /// Start time, for its uptime.
    pub(crate) since: jiff::Timestamp,
    /// Live, not on trial.
    pub(crate) live: bool,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    /// Argument of `piku-chroot --limit`.
    #[serde(default)]
    pub(crate) limits: String,
    /// Restart policy.
    #[serde(default)]
    pub(crate) runs: StartCount,
    /// Release task, which is never adopted.
    pub(crate) task: bool,
}

/// Restart policy of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StartCount {
    /// Restarted whenever it ends.
    #[default]
    Always,
    /// Run once, for a cron type.
    Once,
}

impl WorkerRecord {
    /// Returns whether this process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == piku_procfs::boot_id()
            && ProcessStat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_zombie())
    }
}

/// Directory of an app's records.
#[derive(Debug)]
pub(crate) struct RecordFolder(PathBuf);

impl RecordFolder {
    pub(crate) fn open(app: &AppDir) -> io::Result<Self> {
        let records = Self::for_app(app);
        fs::create_dir_all(&records.0)?;
        Ok(records)
    }

    /// Returns the directory of an app, which need not exist.
    pub(crate) fn for_app(app: &AppDir) -> Self {
        Self(app.run().join("workers"))
    }

    pub(crate) fn fifo(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.fifo", id.0))
    }

    /// Returns the spool, which holds output between the fifo and the log.
    pub(crate) fn spool(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.spool", id.0))
    }

    /// Returns the lock file, which the process inherits locked and holds while it lives.
    pub(crate) fn lock(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.lock", id.0))
    }

    /// Returns the file to which the jail writes its protections and its end.
    pub(crate) fn report(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.report", id.0))
    }

    /// Returns whether no process of the instance holds its lock.
    pub(crate) fn is_free(&self, id: InstanceId) -> bool {
        lock::try_lock(&self.lock(id)).is_ok_and(|lock| lock.is_some())
    }

    /// Returns the directory of its `NOTIFY_SOCKET`.
    pub(crate) fn notify(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.notify", id.0))
    }

    fn path(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{}.json", id.0))
    }

    pub(crate) fn write(&self, record: &WorkerRecord) -> io::Result<()> {
        let path = self.path(record.id);
        let aside = path.with_extension("part");
        let text = serde_json::to_vec(record)?;
        fs::write(&aside, text).and_then(|()| fs::rename(&aside, path)).inspect_err(|_| {
            // Such as on a full disk, on which each start would leave one.
            let _ = fs::remove_file(&aside);
        })
    }

    pub(crate) fn remove(&self, id: InstanceId) {
        // Files that remain are removed at the next start.
        for path in [self.path(id), self.fifo(id), self.spool(id), self.lock(id), self.report(id)] {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir_all(self.notify(id));
    }

    /// Reads all valid records, oldest first.
    pub(crate) fn read_all(&self) -> io::Result<Vec<WorkerRecord>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(read_record(&path));
            }
        }
        records.sort_by_key(|record| record.id);
        Ok(records)
    }

    /// Removes the files of all other instances.
    pub(crate) fn remove_unknown(&self, known: &[InstanceId]) -> io::Result<()> {
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

/// Returns the releases of which a process runs, with or without a supervisor.
pub(crate) fn running_releases(app: &AppDir) -> io::Result<Vec<u64>> {
    let records = match RecordFolder::for_app(app).read_all() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    Ok(records.iter().filter(|record| record.is_alive()).map(|record| record.release).collect())
}

fn read_record(path: &Path) -> Option<WorkerRecord> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a record of this process.
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

    #[test]
    fn a_record_that_cannot_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let records = RecordFolder(dir.path().join("workers"));
        // A directory with files does not give way to a file.
        fs::create_dir_all(records.path(own().id).join("below")).unwrap();
        assert!(records.write(&own()).is_err());
        assert_eq!(fs::read_dir(&records.0).unwrap().count(), 1);
    }
}
