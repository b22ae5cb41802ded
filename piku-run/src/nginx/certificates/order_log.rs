//! Records and limits of the orders of certificates. All apps share one account of the authority, which limits its orders:
//! without limits of piku's own, one app could use up what the renewals of the others need.

#![expect(clippy::disallowed_methods, reason = "the record of orders, which only piku writes")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use piku_files::FileLock;
use piku_layout::clock;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use serde::{Deserialize, Serialize};

use crate::lock;
use crate::nginx::nginx_dir;
use crate::releases::current;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Orders of one app, successful or not. Let's Encrypt allows five failures an hour for a name.
const APP_LIMITS: [OrderLimit; 3] = [
    OrderLimit::new(4, HOUR, "an hour"),
    OrderLimit::new(10, DAY, "a day"),
    OrderLimit::new(20, WEEK, "a week"),
];
/// Orders of all apps, without renewals. Let's Encrypt allows an account 300 in three hours, with renewals.
const MACHINE_LIMIT: OrderLimit = OrderLimit::new(100, SignedDuration::from_hours(3), "3 hours");
/// New certificates for names below one registered domain. Let's Encrypt issues 50 a week.
const DOMAIN_LIMIT: OrderLimit = OrderLimit::new(40, WEEK, "a week");

/// Second-level names below which authorities count each domain by itself, as in `example.co.uk`.
const SHARED_SECOND_LEVELS: [&str; 12] =
    ["ac", "co", "com", "edu", "gob", "gov", "gv", "ne", "net", "nom", "or", "org"];

/// The largest number of orders in a period.
#[derive(Debug)]
struct OrderLimit {
    max: usize,
    period: SignedDuration,
    /// The period in words: `an hour`.
    words: &'static str,
}

/// An order that a limit refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedOrder {
    what: String,
    /// When the limit has room again.
    next: Timestamp,
}

/// Outcome of an order. One that was cut short stays pending, and counts as issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderState {
    Pending,
    Failed,
    Issued,
}

/// The request of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CertificateOrder {
    /// The app, by its name, or the status page.
    owner: String,
    names: BTreeSet<String>,
    at: Timestamp,
    is_renewal: bool,
    state: OrderState,
}

/// Why an order is placed: decides which limits it obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderReason {
    /// The timer renews a certificate: no limit, since the pause after failures bounds it.
    ScheduledRenewal,
    /// A user asks for the renewal of one that is due: the limits of the app.
    AskedRenewal,
    /// A certificate for names that the current one does not cover: all limits.
    NewNames,
    /// The operator on the machine insists: no limit.
    Forced,
}

/// The orders of the last week, stored as `acme/orders.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OrderLog(Vec<CertificateOrder>);

/// An order that is recorded, and under way.
#[derive(Debug)]
pub(super) struct PlacedOrder {
    root: PikuRoot,
    order: CertificateOrder,
}

impl OrderLimit {
    const fn new(max: usize, period: SignedDuration, words: &'static str) -> Self {
        Self { max, period, words }
    }

    /// Returns when the limit has room for another order, if it has none for one at `now`; `times` are those of
    /// earlier orders.
    fn next_time(&self, times: impl Iterator<Item = Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let end = |at: Timestamp| at.saturating_add(self.period).unwrap_or(at);
        let mut ends: Vec<Timestamp> = times.map(end).filter(|end| *end > now).collect();
        ends.sort_unstable();
        ends.len().checked_sub(self.max).map(|over| ends[over])
    }

    /// Returns the refusal of another order `by` an app or a machine.
    fn refuse(
        &self,
        by: &str,
        times: impl Iterator<Item = Timestamp>,
        now: Timestamp,
    ) -> Option<RefusedOrder> {
        let next = self.next_time(times, now)?;
        Some(RefusedOrder { what: format!("{by} has requested {} in {}", self.max, self.words), next })
    }
}

impl OrderLog {
    fn path(root: &PikuRoot) -> PathBuf {
        root.acme().join("orders.json")
    }

    fn lock(root: &PikuRoot) -> anyhow::Result<FileLock> {
        current::create_dir(&root.acme())?;
        let path = root.acme().join("orders.lock");
        lock::wait_for(root, "another request of a certificate", || {
            lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))
        })
    }

    /// Reads the orders that still count. One in the future was recorded by a clock that was ahead.
    fn read(root: &PikuRoot, now: Timestamp) -> Self {
        let text = fs::read(Self::path(root)).unwrap_or_default();
        let mut log = if text.is_empty() { Self::default() } else { Self::parse(&text) };
        log.0.retain(|order| {
            now.duration_since(order.at) < WEEK && !clock::is_ahead(order.at.into(), now.into())
        });
        log
    }

    fn parse(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_else(|err| {
            // Renewals must not depend on it.
            progress::detail(&format!("the record of requested certificates is begun anew: {err}"));
            Self::default()
        })
    }

    fn write(&self, root: &PikuRoot) -> anyhow::Result<()> {
        let json = serde_json::to_vec(self).context("cannot encode the orders as JSON")?;
        nginx_dir::write_private(&Self::path(root), &json)
    }

    /// Returns the refusal of the limit that makes the order wait longest, if one does.
    fn check(&self, order: &CertificateOrder, reason: OrderReason) -> Option<RefusedOrder> {
        let now = order.at;
        let own = || self.0.iter().filter(|other| other.owner == order.owner).map(|other| other.at);
        let by_app = APP_LIMITS.iter().filter_map(|limit| limit.refuse(&order.owner, own(), now));
        let mut refusals: Vec<RefusedOrder> = match reason {
            OrderReason::ScheduledRenewal | OrderReason::Forced => return None,
            OrderReason::AskedRenewal | OrderReason::NewNames => by_app.collect(),
        };
        if reason == OrderReason::NewNames {
            let new = || self.0.iter().filter(|other| !other.is_renewal);
            refusals.extend(MACHINE_LIMIT.refuse("this machine", new().map(|other| other.at), now));
            let domains: BTreeSet<String> =
                order.names.iter().map(|name| registered_domain(name).to_owned()).collect();
            refusals.extend(domains.iter().filter_map(|domain| {
                let counts = |other: &&CertificateOrder| {
                    other.state != OrderState::Failed
                        && other.names.iter().any(|name| registered_domain(name) == domain)
                };
                let times = new().filter(counts).map(|other| other.at);
                DOMAIN_LIMIT.refuse(&format!("for names in {domain}, this machine"), times, now)
            }));
        }
        refusals.into_iter().max_by_key(|refusal| refusal.next)
    }
}

impl PlacedOrder {
    /// Records an order before it is placed, so that one cut short by a kill counts too.
    ///
    /// # Errors
    /// Fails if a limit refuses it.
    pub(super) fn record(
        root: &PikuRoot,
        owner: &str,
        names: &BTreeSet<String>,
        reason: OrderReason,
        now: Timestamp,
    ) -> anyhow::Result<Result<Self, RefusedOrder>> {
        let is_renewal = matches!(reason, OrderReason::ScheduledRenewal | OrderReason::AskedRenewal);
        let (owner, names) = (owner.to_owned(), names.clone());
        let order = CertificateOrder { owner, names, at: now, is_renewal, state: OrderState::Pending };
        let lock = OrderLog::lock(root)?;
        let mut log = OrderLog::read(root, now);
        if let Some(refused) = log.check(&order, reason) {
            return Ok(Err(refused));
        }
        log.0.push(order.clone());
        log.write(root)?;
        drop(lock);
        Ok(Ok(Self { root: root.clone(), order }))
    }

    /// Records what became of it.
    pub(super) fn finish(mut self, is_issued: bool) -> anyhow::Result<()> {
        let _lock = OrderLog::lock(&self.root)?;
        let mut log = OrderLog::read(&self.root, Timestamp::now());
        let recorded = log.0.iter_mut().find(|other| **other == self.order);
        self.order.state = if is_issued { OrderState::Issued } else { OrderState::Failed };
        if let Some(recorded) = recorded {
            *recorded = self.order;
        }
        log.write(&self.root)
    }
}

impl RefusedOrder {
    /// Returns the sentence that says which limit refuses it, and until when.
    pub(super) fn message(&self) -> String {
        format!("{}, which is the limit; the next one is after {:.0}", self.what, self.next)
    }
}

/// Returns the registered domain of a host name, below which authorities count certificates.
fn registered_domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (last, second, third) = (dots.next(), dots.next(), dots.next());
    let (Some(last), Some(second)) = (last, second) else { return name };
    let is_shared = name.len() - last == 3 && SHARED_SECOND_LEVELS.contains(&&name[second + 1..last]);
    match (is_shared, third) {
        (false, _) => &name[second + 1..],
        (true, Some(third)) => &name[third + 1..],
        (true, None) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn order(owner: &str, name: &str, minute: i64) -> CertificateOrder {
        CertificateOrder {
            owner: owner.to_owned(),
            names: BTreeSet::from([name.to_owned()]),
            at: at(minute),
            is_renewal: false,
            state: OrderState::Pending,
        }
    }

    #[test]
    fn an_app_gets_four_in_an_hour() {
        let log = OrderLog((0..4).map(|minute| order("blog", "a.org", minute)).collect());
        let check = |order: &CertificateOrder, reason| log.check(order, reason);
        let refused = check(&order("blog", "b.org", 10), OrderReason::NewNames).unwrap();
        assert_eq!(
            refused.message(),
            "blog has requested 4 in an hour, which is the limit; the next one is after 2027-01-15T09:00:00Z"
        );
        assert!(check(&order("blog", "b.org", 59), OrderReason::AskedRenewal).is_some());
        assert_eq!(
            check(&order("blog", "b.org", 60), OrderReason::NewNames),
            None,
            "the first is an hour old"
        );
        assert_eq!(check(&order("shop", "b.org", 10), OrderReason::NewNames), None, "another app");
        for reason in [OrderReason::ScheduledRenewal, OrderReason::Forced] {
            assert_eq!(check(&order("blog", "a.org", 10), reason), None);
        }
    }

    #[test]
    fn the_longest_wait_is_told() {
        let log = OrderLog((0..20).map(|hour| order("blog", "a.org", hour * 200)).collect());
        let refused = log.check(&order("blog", "a.org", 20 * 200), OrderReason::NewNames).unwrap();
        assert_eq!(
            (refused.what.as_str(), refused.next),
            ("blog has requested 20 in a week", at(7 * 24 * 60))
        );
    }

    #[test]
    fn apps_together_leave_orders_for_renewals() {
        let mut log =
            OrderLog((0..100).map(|n| order(&format!("app{n}"), &format!("a{n}.org"), 0)).collect());
        let new = order("blog", "blog.org", 1);
        assert_eq!(log.check(&new, OrderReason::NewNames).unwrap().next, at(180));
        assert_eq!(log.check(&new, OrderReason::AskedRenewal), None);
        log.0[0].is_renewal = true;
        assert_eq!(log.check(&new, OrderReason::NewNames), None);
    }

    #[test]
    fn issued_certificates_of_a_registered_domain_are_limited() {
        let of = |n: i64| order(&format!("app{n}"), &format!("a{n}.example.co.uk"), n * 60);
        let mut log = OrderLog((0..40).map(of).collect());
        let refused = |log: &OrderLog, name| log.check(&order("blog", name, 2400), OrderReason::NewNames);
        assert_eq!(
            refused(&log, "b.example.co.uk").unwrap().what,
            "for names in example.co.uk, this machine has requested 40 in a week"
        );
        assert_eq!(refused(&log, "b.other.co.uk"), None);
        log.0[3].state = OrderState::Failed;
        assert_eq!(refused(&log, "b.example.co.uk"), None, "a failed one was not issued");
    }

    #[test]
    fn registered_domains() {
        for (name, domain) in [
            ("example.org", "example.org"),
            ("a.b.example.org", "example.org"),
            ("a.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("a.co.info", "co.info"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(registered_domain(name), domain);
        }
    }

    #[test]
    fn orders_are_kept_for_a_week() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let names = BTreeSet::from(["a.org".to_owned()]);
        let record =
            |minute| PlacedOrder::record(&root, "blog", &names, OrderReason::NewNames, at(minute)).unwrap();
        (0..4).for_each(|minute| drop(record(minute).unwrap()));
        assert!(record(5).is_err());
        assert_eq!(OrderLog::read(&root, at(5)).0.len(), 4, "a refused one is none");
        assert_eq!(OrderLog::read(&root, at(7 * 24 * 60 + 1)).0.len(), 2);
        assert!(OrderLog::read(&root, at(-2 * 24 * 60)).0.is_empty(), "the clock was ahead");
        fs::remove_file(OrderLog::path(&root)).unwrap();
        let reasons = [OrderReason::AskedRenewal, OrderReason::ScheduledRenewal, OrderReason::Forced];
        for (owner, reason) in ["asked", "scheduled", "forced"].into_iter().zip(reasons) {
            let order = PlacedOrder::record(&root, owner, &names, reason, Timestamp::now()).unwrap().unwrap();
            order.finish(owner != "asked").unwrap();
        }
        let log = OrderLog::read(&root, Timestamp::now()).0;
        let recorded: Vec<_> =
            log.iter().map(|order| (order.owner.as_str(), order.is_renewal, order.state)).collect();
        assert_eq!(
            recorded,
            [
                ("asked", true, OrderState::Failed),
                ("scheduled", true, OrderState::Issued),
                ("forced", false, OrderState::Issued)
            ]
        );
        fs::write(OrderLog::path(&root), "{").unwrap();
        assert!(record(6).is_ok(), "a damaged record stops no renewal");
    }
}
