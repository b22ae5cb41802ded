//! Processor usage of a process tree, as an average between two looks at it; nothing waits for a second look.

use std::time::{Duration, Instant};

use piku_procfs::{ProcessStat, process_tree};

/// Shortest time over which usage is averaged: the kernel counts in hundredths of a second.
const SHORTEST: Duration = Duration::from_secs(1);

/// Measures the processor usage of one process tree since the previous measurement.
#[derive(Debug)]
pub(crate) struct ProcessorMeter {
    root: i32,
    /// Processor time of the tree at the last measurement, and at the one before.
    last: (Instant, Duration),
    before: (Instant, Duration),
    percent: Option<f64>,
    /// Largest processor time that was measured.
    total: Duration,
}

impl ProcessorMeter {
    /// For the tree below a process, which had used nothing at its start ([`ProcessStat::start`]).
    pub(crate) fn new(root: i32, start: u64) -> Self {
        let now = Instant::now();
        let began = (now.checked_sub(piku_procfs::uptime(start)).unwrap_or(now), Duration::ZERO);
        Self { root, last: began, before: began, percent: None, total: Duration::ZERO }
    }

    /// Measures the usage since the previous measurement, if that is a second ago, or else since the one
    /// before it.
    pub(crate) fn measure(&mut self) {
        let tree = process_tree(self.root);
        let used = tree.into_iter().filter_map(ProcessStat::read).map(|stat| stat.cpu_time()).sum();
        self.note(Instant::now(), used);
    }

    fn note(&mut self, now: Instant, used: Duration) {
        self.total = self.total.max(used);
        let is_old = now.saturating_duration_since(self.last.0) >= SHORTEST;
        let (since, used_then) = if is_old { self.last } else { self.before };
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        // A descendant that nobody waited for takes its time with it.
        let percent = used.saturating_sub(used_then).as_secs_f64() / elapsed * 100.0;
        self.percent = percent.is_finite().then(|| (percent * 10.0).round() / 10.0);
        if is_old {
            self.before = self.last;
            self.last = (now, used);
        }
    }

    /// Returns the usage at the last measurement in percent of one processor; more than 100 on several.
    pub(crate) fn percent(&self) -> Option<f64> {
        self.percent
    }

    /// Returns the processor time that the tree has used in seconds. It does not decrease when a descendant that
    /// nobody waited for takes its time with it.
    pub(crate) fn total_seconds(&self) -> f64 {
        self.total.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// Killed with its children when dropped.
    struct ProcessTree(Child);

    impl ProcessTree {
        fn meter(&self) -> ProcessorMeter {
            let pid = i32::try_from(self.0.id()).unwrap();
            ProcessorMeter::new(pid, ProcessStat::read(pid).unwrap().start)
        }
    }

    impl Drop for ProcessTree {
        fn drop(&mut self) {
            for pid in process_tree(i32::try_from(self.0.id()).unwrap()).into_iter().rev() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = self.0.wait();
        }
    }

    #[test]
    fn usage_is_the_average_since_the_previous_measurement() {
        let began = Instant::now();
        let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
        let mut meter = ProcessorMeter {
            root: 1,
            last: (began, Duration::ZERO),
            before: (began, Duration::ZERO),
            percent: None,
            total: Duration::ZERO,
        };
        for (time, used, expected) in [
            // Since the start.
            (0.5, 250, 50.0),
            (10.0, 1000, 10.0),
            (12.0, 4000, 150.0),
            // The previous measurement is too young: since the one at 10 s.
            (12.1, 4000, 142.9),
            (12.9, 4000, 103.4),
            // Since the one at 12 s.
            (13.0, 4500, 50.0),
            // A descendant has gone.
            (15.0, 10, 0.0),
        ] {
            meter.note(at(time), Duration::from_millis(used));
            assert_eq!(meter.percent(), Some(expected), "at {time} s");
        }
        assert_eq!(meter.total, Duration::from_millis(4500), "the largest");
        // Measured at its very start.
        meter.last.0 = at(20.0);
        meter.before = meter.last;
        meter.note(at(20.0), meter.last.1);
        assert_eq!(meter.percent(), None);
    }

    #[test]
    fn a_whole_tree_is_measured() {
        // The shell sleeps, its child does not.
        let busy = "sh -c 'while :; do :; done' & wait";
        let busy = ProcessTree(Command::new("sh").args(["-c", busy]).spawn().unwrap());
        let idle = ProcessTree(Command::new("sleep").arg("60").spawn().unwrap());
        let mut meters = [busy.meter(), idle.meter()];
        // On a busy machine it may not run at first.
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(50));
            meters.iter_mut().for_each(ProcessorMeter::measure);
            if meters[0].percent() > Some(5.0) {
                break;
            }
        }
        assert!(meters[0].percent() > Some(5.0), "{meters:?}");
        assert!(meters[1].percent() < meters[0].percent(), "{meters:?}");
    }
}
