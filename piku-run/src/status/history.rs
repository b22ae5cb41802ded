//! The memory and processor usage of an app for a day: a ring of five-minute slots in one small file. Reads no
//! clock: the time is passed in.

#![expect(clippy::disallowed_methods, reason = "the history of an app, which only piku writes")]

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::clock;
use serde::{Deserialize, Serialize};

use crate::samples::InstanceSample;

/// Seconds of a slot.
pub(super) const SLOT_SECONDS: i64 = 300;
/// Number of slots: a day.
pub(super) const SLOTS: usize = 288;
/// The same, for numbers of slots.
const DAY: i64 = 24 * 60 * 60 / SLOT_SECONDS;
/// Largest number of processes whose usage is remembered for the next slot.
const MAX_PROCESSES: usize = 1000;

/// Slots from the oldest to the newest. `None` is a slot without a record, or in which nothing ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UsageHistory {
    /// Number of the newest slot since 1970.
    newest: i64,
    memory_bytes: VecDeque<Option<u64>>,
    /// Thousandths of one processor, on average.
    cpu_millis: VecDeque<Option<u32>>,
    /// Processor time in milliseconds of each process at `counted_at`, by its pid.
    counted: BTreeMap<u32, u64>,
    /// Seconds since 1970.
    counted_at: i64,
}

/// Usage of the day before a time, one value for every five minutes, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct DayOfUsage {
    pub(super) every_seconds: i64,
    pub(super) memory_bytes: Vec<Option<u64>>,
    /// Thousandths of one processor, on average.
    pub(super) cpu_millis: Vec<Option<u32>>,
}

impl UsageHistory {
    /// Reads the file. A missing or damaged one is an empty history.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        let read: Option<Self> = serde_json::from_slice(&text).ok();
        read.filter(Self::is_sound).unwrap_or_default()
    }

    fn is_sound(&self) -> bool {
        self.memory_bytes.len() == self.cpu_millis.len() && self.memory_bytes.len() <= SLOTS
    }

    /// Writes the file, without a sync: a power cut costs the history, not an SD card its life.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
        atomic_file::write_passing(path, &text, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Records the usage of these instances. Returns false if the slot has a value already, or the clock is not
    /// set.
    pub(super) fn record(&mut self, instances: &[InstanceSample], now: Timestamp) -> bool {
        let now = now.as_second();
        let slot = now.div_euclid(SLOT_SECONDS);
        if !clock::is_set(now) {
            return false;
        }
        let ahead = self.newest - slot;
        // By a clock that was set back a little; what one that was years ahead has recorded is worthless.
        if ahead > DAY {
            *self = Self::default();
        } else if !self.memory_bytes.is_empty() && ahead >= 0 {
            return false;
        }
        let skipped = if self.memory_bytes.is_empty() { 0 } else { slot - self.newest - 1 };
        for _ in 0..skipped.min(DAY) {
            self.push(None, None);
        }
        let mut memory = instances.iter().filter_map(|one| one.memory_bytes).peekable();
        let memory = memory.peek().is_some().then(|| memory.sum());
        let cpu = self.average_since(instances, now);
        self.push(memory, cpu);
        self.newest = slot;
        self.counted = counts(instances);
        self.counted_at = now;
        true
    }

    /// Returns the average usage since the last record. What a process used that has ended since is not known.
    fn average_since(&self, instances: &[InstanceSample], now: i64) -> Option<u32> {
        let since = u64::try_from(now - self.counted_at).ok().filter(|since| *since > 0)?;
        let is_first = self.counted_at == 0;
        let mut used: Option<u64> = None;
        for (pid, count) in counts(instances) {
            let before = self.counted.get(&pid).copied().filter(|before| *before <= count);
            let is_new = before.is_none()
                && instances
                    .iter()
                    .any(|one| one.pid == Some(pid) && one.uptime_s.is_none_or(|up| up > since));
            // One that ran before it was counted is counted from the next time on.
            if !is_first && !is_new {
                used = Some(used.unwrap_or(0) + (count - before.unwrap_or(0)));
            }
        }
        // Milliseconds a second are thousandths of a processor.
        used.map(|used| u32::try_from(used / since).unwrap_or(u32::MAX))
    }

    fn push(&mut self, memory: Option<u64>, cpu: Option<u32>) {
        self.memory_bytes.push_back(memory);
        self.cpu_millis.push_back(cpu);
        while self.memory_bytes.len() > SLOTS {
            self.memory_bytes.pop_front();
            self.cpu_millis.pop_front();
        }
    }

    /// Returns the values of the day before `now`, the present slot included; empty without any.
    pub(super) fn day_until(&self, now: Timestamp) -> DayOfUsage {
        let slot = now.as_second().div_euclid(SLOT_SECONDS);
        let mut day = DayOfUsage { every_seconds: SLOT_SECONDS, ..DayOfUsage::default() };
        if self.memory_bytes.is_empty() || (slot - self.newest).abs() >= DAY {
            return day;
        }
        for at in 0..DAY {
            // Slot `newest` is the last of the ring.
            let from_end = self.newest - (slot - (DAY - 1) + at);
            let index = usize::try_from(from_end)
                .ok()
                .and_then(|back| (self.memory_bytes.len() - 1).checked_sub(back));
            day.memory_bytes.push(index.and_then(|index| self.memory_bytes[index]));
            day.cpu_millis.push(index.and_then(|index| self.cpu_millis[index]));
        }
        day
    }
}

/// Returns the processor time of each process in milliseconds.
fn counts(instances: &[InstanceSample]) -> BTreeMap<u32, u64> {
    let count = |one: &InstanceSample| {
        let seconds = one.cpu_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
        Some((one.pid?, std::time::Duration::try_from_secs_f64(seconds).ok()?.as_millis().try_into().ok()?))
    };
    instances.iter().filter_map(count).take(MAX_PROCESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::InstanceName;

    fn sample(pid: u32, memory: u64, cpu: f64, uptime: u64) -> InstanceSample {
        let ps = InstanceName { kind: "web".parse().unwrap(), index: 1 };
        InstanceSample {
            pid: Some(pid),
            memory_bytes: Some(memory),
            cpu_seconds: Some(cpu),
            uptime_s: Some(uptime),
            ..InstanceSample::empty_slot(&"blog".parse().unwrap(), &ps)
        }
    }

    fn at(slot: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + slot * SLOT_SECONDS).unwrap()
    }

    #[test]
    fn a_slot_has_the_memory_and_the_average_usage_since_the_last_one() {
        let mut history = UsageHistory::default();
        assert!(history.record(&[sample(1, 100, 50.0, 9000)], at(0)));
        assert!(!history.record(&[sample(1, 900, 90.0, 9000)], at(0)), "once a slot");
        // 30 s in 300 s, and 3 s of a process that began meanwhile.
        history.record(&[sample(1, 100, 80.0, 9300), sample(2, 50, 3.0, 20)], at(1));
        // The pid was used again; another process was not counted before although it ran.
        history.record(&[sample(1, 70, 1.5, 10), sample(3, 7, 500.0, 9000)], at(2));
        history.record(&[], at(4));
        let day = history.day_until(at(5));
        let memory: Vec<_> = day.memory_bytes.iter().rev().take(7).rev().copied().collect();
        assert_eq!(memory, [None, Some(100), Some(150), Some(77), None, None, None]);
        let cpu: Vec<_> = day.cpu_millis.iter().rev().take(7).rev().copied().collect();
        assert_eq!(cpu, [None, None, Some(110), Some(5), None, None, None]);
        assert_eq!((day.memory_bytes.len(), day.cpu_millis.len()), (SLOTS, SLOTS));
    }

    #[test]
    fn it_has_a_fixed_size_and_forgets_after_a_day() {
        let mut history = UsageHistory::default();
        for slot in 0..1000 {
            history.record(&[sample(1, u64::MAX, 1.0, 1)], at(slot));
        }
        assert_eq!(history.memory_bytes.len(), SLOTS);
        assert!(serde_json::to_vec(&history).unwrap().len() < 16 * 1024);
        assert_eq!(history.day_until(at(999 + 288)).memory_bytes, []);
        history.record(&[], at(5000));
        assert_eq!(history.day_until(at(5000)).memory_bytes, [None; SLOTS]);
    }

    #[test]
    fn a_wrong_clock_and_a_damaged_file_are_survived() {
        let mut history = UsageHistory::default();
        assert!(!history.record(&[sample(1, 1, 1.0, 1)], Timestamp::UNIX_EPOCH));
        history.record(&[sample(1, 1, 1.0, 1)], at(400_000));
        assert!(history.record(&[sample(1, 2, 2.0, 2)], at(0)), "the clock was years ahead");
        assert!(!history.record(&[sample(1, 3, 2.0, 2)], at(-3)), "it was set back a little");
        assert!(history.record(&[sample(1, 4, 2.0, 2)], at(1)));
        assert_eq!(history.memory_bytes, [Some(2), Some(4)]);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        history.write(&path).unwrap();
        assert_eq!(UsageHistory::read(&path), history);
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], "", "{}", &whole.replace("[2,4]", "[2]"), "\0\0"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(UsageHistory::read(&path), UsageHistory::default(), "{damaged}");
        }
    }
}
