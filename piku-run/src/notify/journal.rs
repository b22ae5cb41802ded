//! The problems that the operator knows of, and the notifications that wait for delivery. Reads no clock: the
//! time is passed in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use piku_layout::name::AppName;
use serde::{Deserialize, Serialize};

use crate::host_problem::{HostProblem, ProblemKind};

/// Notifications of one app, and of all together, within an hour.
const MOST_OF_APP: usize = 6;
const MOST: usize = 30;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// A crash loop has ended if it was not seen for this long: between two crashes the app looks well.
const CALM: SignedDuration = SignedDuration::from_mins(10);
/// Number of notifications that wait for delivery.
const MAX_QUEUE: usize = 100;
/// Time after which an undelivered notification is dropped.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_PAUSE: i64 = 60;

/// Problems that exist now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FoundProblems {
    pub(super) problems: Vec<HostProblem>,
    /// Apps that do not answer or are being changed: problems of them that are known have not ended.
    pub(super) unasked: BTreeSet<AppName>,
}

/// State that a notification reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProblemState {
    Begun,
    Ended,
}

/// A message to the operator. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProblemNotification {
    pub(super) event: ProblemKind,
    pub(super) state: ProblemState,
    pub(super) app: Option<AppName>,
    /// Name of the machine.
    pub(super) host: String,
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// A notification that has not reached all of its receivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueuedNotification {
    pub(super) notification: ProblemNotification,
    /// Names of the receivers that lack it.
    pub(super) receivers: Vec<String>,
    attempts: u32,
    next: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownProblem {
    /// As it was told.
    problem: HostProblem,
    /// The last time that a crash loop was seen; the first time of any other problem.
    seen: Timestamp,
}

impl KnownProblem {
    /// Records that the problem still exists. Only the end of a crash loop depends on the time: an SD card is not
    /// written every minute for the others.
    fn refresh(&mut self, now: Timestamp) {
        if self.problem.kind == ProblemKind::CrashLoop {
            self.seen = now;
        }
    }

    /// Returns true if a problem that was not found at `now` has ended.
    fn is_over(&self, now: Timestamp) -> bool {
        let since = now.duration_since(self.seen);
        self.problem.kind != ProblemKind::CrashLoop || since > CALM || since < SignedDuration::ZERO
    }
}

/// The record in `notify.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NotifyJournal {
    /// False before the first look: what failed long ago is no news.
    is_begun: bool,
    known: BTreeMap<String, KnownProblem>,
    /// Time of the last look at the certificates, which takes a process for each.
    certificates_at: Option<Timestamp>,
    pub(super) queue: VecDeque<QueuedNotification>,
    /// Times of the last hour, with the app.
    told: Vec<(Timestamp, Option<AppName>)>,
    /// Number of notifications beyond the limit, by app; empty for the machine.
    muted: BTreeMap<String, u32>,
}

impl HostProblem {
    fn key(&self) -> String {
        let app = self.app.as_ref().map_or("", AppName::as_str);
        format!("{}/{app}/{}", self.kind.as_str(), self.subject)
    }
}

impl NotifyJournal {
    /// Returns the known problems of certificates if the last look at them was within an hour; otherwise records
    /// one at `now`.
    pub(super) fn recent_certificates(&mut self, now: Timestamp) -> Option<Vec<HostProblem>> {
        let is_recent = |at: &Timestamp| *at <= now && now.duration_since(*at) < HOUR;
        if !self.certificates_at.as_ref().is_some_and(is_recent) {
            self.certificates_at = Some(now);
            return None;
        }
        let known = self.known.values().map(|known| &known.problem);
        Some(known.filter(|problem| problem.kind == ProblemKind::Certificate).cloned().collect())
    }

    /// Compares the problems at `now` with those known, and queues what is new for the `receivers`.
    pub(super) fn update(
        &mut self,
        FoundProblems { problems, unasked }: FoundProblems,
        receivers: &[&str],
        host: &str,
        now: Timestamp,
    ) {
        let mut news = Vec::new();
        let mut found = BTreeSet::new();
        for problem in problems {
            let key = problem.key();
            found.insert(key.clone());
            if let Some(known) = self.known.get_mut(&key) {
                known.refresh(now);
                continue;
            }
            let is_old = matches!(problem.kind, ProblemKind::DeployFailed | ProblemKind::CronFailed);
            if self.is_begun || !is_old {
                news.push((problem.clone(), ProblemState::Begun));
            }
            self.known.insert(key, KnownProblem { problem, seen: now });
        }
        self.is_begun = true;
        self.known.retain(|key, known| {
            if known.problem.app.as_ref().is_some_and(|app| unasked.contains(app)) {
                known.refresh(now);
            } else if !found.contains(key) && known.is_over(now) {
                if known.problem.kind != ProblemKind::DeployFailed {
                    let text = format!("ended: {}", known.problem.text);
                    news.push((HostProblem { text, ..known.problem.clone() }, ProblemState::Ended));
                }
                return false;
            }
            true
        });
        // Times ahead of the clock are of a clock that was wrong.
        self.told.retain(|(at, _)| *at <= now && now.duration_since(*at) < HOUR);
        self.tell_muted(receivers, host, now);
        for (problem, state) in news {
            if self.has_room(problem.app.as_ref()) {
                self.push(problem, state, receivers, host, now);
            } else {
                let app = problem.app.as_ref().map_or("", AppName::as_str);
                *self.muted.entry(app.to_owned()).or_default() += 1;
            }
        }
    }

    /// Returns the notifications that are due, with their places in the queue.
    pub(super) fn due(&self, now: Timestamp) -> Vec<usize> {
        let is_due = |queued: &QueuedNotification| queued.next <= now || now < queued.notification.at;
        (0..self.queue.len()).filter(|at| is_due(&self.queue[*at])).collect()
    }

    /// Records an attempt for one of the queue; `left` are the receivers that still lack it.
    pub(super) fn record_attempt(&mut self, at: usize, left: Vec<String>, now: Timestamp) {
        let Some(queued) = self.queue.get_mut(at) else { return };
        queued.receivers = left;
        queued.attempts += 1;
        let minutes = 1_i64.checked_shl(queued.attempts.min(6)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        queued.next = now.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(now);
    }

    /// Removes what all receivers have and what is too old; returns the number of the latter.
    pub(super) fn remove_done(&mut self, now: Timestamp) -> usize {
        self.queue.retain(|queued| !queued.receivers.is_empty());
        let before = self.queue.len();
        self.queue.retain(|queued| now.duration_since(queued.notification.at) < MAX_AGE);
        before - self.queue.len()
    }

    fn has_room(&self, app: Option<&AppName>) -> bool {
        let of_app = self.told.iter().filter(|(_, told)| told.as_ref() == app).count();
        // Apps cannot keep the problems of the machine from the operator.
        of_app < MOST_OF_APP && (app.is_none() || self.told.len() < MOST)
    }

    /// Reports how many notifications were left out, for each app that has room again.
    fn tell_muted(&mut self, receivers: &[&str], host: &str, now: Timestamp) {
        for (app, count) in std::mem::take(&mut self.muted) {
            let name: Option<AppName> = app.parse().ok();
            if !self.has_room(name.as_ref()) {
                self.muted.insert(app, count);
                continue;
            }
            let text = format!("{count} more notifications were left out");
            let problem = HostProblem { kind: ProblemKind::LeftOut, app: name, subject: String::new(), text };
            self.push(problem, ProblemState::Begun, receivers, host, now);
        }
    }

    fn push(
        &mut self,
        problem: HostProblem,
        state: ProblemState,
        receivers: &[&str],
        host: &str,
        now: Timestamp,
    ) {
        self.told.push((now, problem.app.clone()));
        let HostProblem { kind: event, app, text, .. } = problem;
        let notification = ProblemNotification { event, state, app, host: host.to_owned(), at: now, text };
        let receivers = receivers.iter().map(|name| (*name).to_owned()).collect();
        self.queue.push_back(QueuedNotification { notification, receivers, attempts: 0, next: now });
        if self.queue.len() > MAX_QUEUE {
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: ProblemKind, subject: &str) -> HostProblem {
        HostProblem { kind, app: "blog".parse().ok(), subject: subject.to_owned(), text: subject.to_owned() }
    }

    fn at(minutes: i64) -> Timestamp {
        "2026-11-29T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
    }

    /// Updates the journal; returns what is due, as delivered.
    fn look(journal: &mut NotifyJournal, problems: &[HostProblem], minutes: i64) -> Vec<String> {
        let found = FoundProblems { problems: problems.to_vec(), ..FoundProblems::default() };
        take_due(journal, found, minutes)
    }

    fn take_due(journal: &mut NotifyJournal, found: FoundProblems, minutes: i64) -> Vec<String> {
        journal.update(found, &["mail"], "host", at(minutes));
        let due = journal.due(at(minutes));
        let texts = due.iter().map(|one| journal.queue[*one].notification.text.clone()).collect();
        for one in due {
            journal.record_attempt(one, Vec::new(), at(minutes));
        }
        journal.remove_done(at(minutes));
        texts
    }

    #[test]
    fn problems_are_told_once_and_ends_after_a_calm_time() {
        let mut journal = NotifyJournal::default();
        let old = [problem(ProblemKind::DeployFailed, "old"), problem(ProblemKind::CrashLoop, "web")];
        assert_eq!(look(&mut journal, &old, 0), ["web"], "an old deploy is no news");
        assert!(look(&mut journal, &old, 1).is_empty());
        assert!(look(&mut journal, &old[..1], 5).is_empty(), "it may crash again");
        assert!(look(&mut journal, &old, 9).is_empty());
        let new = [problem(ProblemKind::DeployFailed, "new")];
        assert_eq!(look(&mut journal, &new, 20), ["new", "ended: web"]);
        assert!(look(&mut journal, &[], 21).is_empty(), "the next deploy replaces a failed one");
        let text = serde_json::to_string(&journal).unwrap();
        assert_eq!(serde_json::from_str::<NotifyJournal>(&text).unwrap(), journal);
    }

    #[test]
    fn problems_of_a_silent_app_have_not_ended() {
        let mut journal = NotifyJournal::default();
        look(&mut journal, &[], 0);
        let all = [
            problem(ProblemKind::CrashLoop, "web"),
            problem(ProblemKind::CronFailed, "cron"),
            problem(ProblemKind::DeployFailed, "7"),
        ];
        assert_eq!(look(&mut journal, &all, 1), ["web", "cron", "7"]);
        let silent =
            || FoundProblems { unasked: ["blog".parse().unwrap()].into(), ..FoundProblems::default() };
        for minutes in [2, 30, 60] {
            assert!(take_due(&mut journal, silent(), minutes).is_empty(), "{minutes}");
        }
        assert!(look(&mut journal, &all, 61).is_empty(), "they are known");
        assert!(take_due(&mut journal, silent(), 80).is_empty());
        assert_eq!(look(&mut journal, &all[..1], 81), ["ended: cron"]);
        let other = FoundProblems { unasked: ["shop".parse().unwrap()].into(), ..FoundProblems::default() };
        assert_eq!(take_due(&mut journal, other, 100), ["ended: web"]);
    }

    #[test]
    fn journal_changes_only_by_news_and_crash_loops() {
        let mut journal = NotifyJournal::default();
        let lasting = [problem(ProblemKind::Disk, "disk"), problem(ProblemKind::CronFailed, "cron")];
        look(&mut journal, &lasting, 0);
        let before = journal.clone();
        look(&mut journal, &lasting, 1);
        assert_eq!(journal, before);
        look(&mut journal, &[&lasting[..], &[problem(ProblemKind::CrashLoop, "web")]].concat(), 2);
        assert_ne!(journal, before);
    }

    #[test]
    fn names_of_kinds_are_those_in_json() {
        use ProblemKind::{BackupFailed, BackupOverdue, Certificate, CrashLoop, CronFailed, DeployFailed};
        use ProblemKind::{Disk, LeftOut, Test};
        let all = [DeployFailed, CrashLoop, CronFailed, Certificate, Disk, BackupFailed, BackupOverdue];
        for kind in all.into_iter().chain([LeftOut, Test]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn an_app_cannot_flood_and_others_are_still_told() {
        let mut journal = NotifyJournal::default();
        look(&mut journal, &[], 0);
        let mut told = 0;
        for number in 1..50 {
            told +=
                look(&mut journal, &[problem(ProblemKind::DeployFailed, &number.to_string())], number).len();
        }
        assert_eq!(told, MOST_OF_APP);
        let other = HostProblem { app: None, ..problem(ProblemKind::Disk, "disk") };
        assert_eq!(look(&mut journal, std::slice::from_ref(&other), 50), ["disk"]);
        assert_eq!(look(&mut journal, &[other], 62), ["43 more notifications were left out"]);
    }

    #[test]
    fn failed_deliveries_are_retried_for_a_day() {
        let mut journal = NotifyJournal::default();
        let found =
            FoundProblems { problems: vec![problem(ProblemKind::Disk, "disk")], ..FoundProblems::default() };
        journal.update(found, &["mail", "webhook"], "host", at(0));
        journal.record_attempt(0, vec!["webhook".to_owned()], at(0));
        assert_eq!(journal.remove_done(at(0)), 0);
        assert!(journal.due(at(1)).is_empty());
        assert_eq!(journal.due(at(2)), [0]);
        assert_eq!(journal.queue[0].receivers, ["webhook"], "the mail is not sent again");
        for minutes in [2, 6, 14, 30, 62, 122, 182] {
            assert_eq!(journal.due(at(minutes)), [0], "{minutes}");
            journal.record_attempt(0, vec!["webhook".to_owned()], at(minutes));
        }
        assert_eq!(journal.remove_done(at(24 * 60)), 1);
    }
}
