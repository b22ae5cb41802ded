//! `certs renew`: gets certificates from an ACME authority through acme.sh or certbot. A timer or an operator
//! runs it, never a deploy. Failures back off, because the authority limits them.

#![expect(clippy::disallowed_methods, reason = "records of attempts, which only piku writes")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use piku_events::actor;
use piku_events::journal::{EventResult, JournalEvent};
use piku_layout::clock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::CertificateClient;
use piku_report::progress;
use piku_report::user_error::{self, UserError};
use serde::{Deserialize, Serialize};

use crate::nginx::certificates::acme_client::AcmeClient;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificateMetadata, CertificatePair};
use crate::nginx::certificates::certificate_owner::CertificateOwner;
use crate::nginx::certificates::operator_certificate::{OperatorCertificate, is_key_of};
use crate::nginx::certificates::order_log::{OrderReason, PlacedOrder};
use crate::nginx::master::NginxMaster;
use crate::nginx::{WebServer, nginx_dir};
use crate::releases::current;

/// Top-level names for which no authority issues certificates (RFC 2606, RFC 6762, RFC 8375, and home
/// networks).
const PRIVATE_SUFFIXES: [&str; 9] =
    ["test", "example", "invalid", "localhost", "local", "lan", "home", "internal", "home.arpa"];

/// Record of the last failed attempt, beside the pairs of an app.
const ATTEMPT: &str = "attempt.json";

/// The last failed attempt for an app, stored as `attempt.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::nginx) struct FailedAttempt {
    names: BTreeSet<String>,
    pub(in crate::nginx) at: Timestamp,
    pub(in crate::nginx) failures: u32,
    /// Reason of the failure; `None` if the attempt was cut short.
    #[serde(default)]
    pub(in crate::nginx) error: Option<String>,
}

impl FailedAttempt {
    /// Reads the record of the last failed attempt to get a certificate for exactly these host names.
    pub(in crate::nginx) fn read(pairs: &AppCertificates, names: &BTreeSet<String>) -> Option<Self> {
        let attempt: Self = serde_json::from_slice(&fs::read(pairs.path().join(ATTEMPT)).ok()?).ok()?;
        (attempt.names == *names).then_some(attempt)
    }

    fn write(&self, pairs: &AppCertificates) -> anyhow::Result<()> {
        let json = serde_json::to_vec(self).context("cannot encode the attempt as JSON")?;
        nginx_dir::write_private(&pairs.path().join(ATTEMPT), &json)
    }

    fn remove(pairs: &AppCertificates) -> anyhow::Result<()> {
        current::remove_dir(&pairs.path().join(ATTEMPT))
    }

    /// Returns the time of the next attempt: after one hour, doubled with each failure, up to a day. Let's
    /// Encrypt allows five failures an hour.
    pub(in crate::nginx) fn next_attempt(&self) -> Timestamp {
        let hours = 1_i64.checked_shl(self.failures.saturating_sub(1)).unwrap_or(24).clamp(1, 24);
        self.at.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(self.at)
    }

    /// Returns true if it is too early to try again. An attempt in the future was recorded by a clock that
    /// was ahead.
    fn is_recent(&self, now: Timestamp) -> bool {
        now < self.next_attempt() && !clock::is_ahead(self.at.into(), now.into())
    }
}

/// The caller of a renewal.
#[derive(Debug, Clone, Copy)]
struct RenewalCaller {
    /// A user asks for the certificate of one app, unlike the timer.
    asked: bool,
    /// Without a pause after a failed attempt.
    force: bool,
}

/// Renews the certificates that are self-signed or expire soon. `force` ignores the pause after a failed
/// attempt. A person who asks for that of one app learns why none is requested.
pub(crate) fn renew_certificates(root: &PikuRoot, only: Option<&AppName>, force: bool) -> anyhow::Result<()> {
    let web = WebServer::load(root)?;
    let client = AcmeClient::find(&web)?;
    if client.is_none() && web.settings.certificates.is_empty() {
        let why = if web.settings.acme == CertificateClient::Off {
            UserError::new("host.yaml says 'acme: off': certificates stay self-signed")
                .hint("remove that line, or name your own certificates there: docs/nginx.md")
        } else {
            UserError::new("neither acme.sh nor certbot is installed: certificates stay self-signed")
                .hint("on the server: sudo apt-get install certbot")
        };
        // The timer has nothing to do; a person who asks for a certificate does not get one.
        if only.is_some() {
            return Err(why.into());
        }
        progress::detail(&why.to_string());
        return Ok(());
    }
    let now = Timestamp::now();
    if !clock::is_set(now.as_second()) {
        // The authority's own certificate would look invalid, and the failed attempt would delay the next.
        progress::detail(&format!(
            "the clock of the machine says {now:.0}: certificates wait until it is set"
        ));
        return Ok(());
    }
    let apps = if only.is_some() { Vec::new() } else { web.dir.list_apps()? };
    let mut owners: Vec<CertificateOwner<'_>> =
        only.into_iter().chain(&apps).map(CertificateOwner::App).collect();
    if only.is_none() && !web.page_names().is_empty() {
        owners.push(CertificateOwner::StatusPage);
    }
    // What expires goes first, in case the authority refuses the rest.
    owners.sort_by_cached_key(|owner| !web.is_renewal_due(*owner));
    let by = RenewalCaller { asked: only.is_some(), force };
    let mut failed = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for owner in owners {
        // One failure does not stop the others.
        if let Err(err) = web.renew_for(client.as_ref(), owner, by) {
            send_certificate_event(owner, EventResult::Failed, &format!("{owner}: no certificate: {err:#}"));
            failed.push(format!("{owner}: {err:#}"));
            hints.extend(user_error::advice(&err).0);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    // Apps often share a hint; print it once.
    let mut seen = BTreeSet::new();
    hints.retain(|hint| seen.insert(hint.clone()));
    Err(hints.into_iter().fold(UserError::new(failed.join("\n")), UserError::hint).into())
}

/// Sends the event of a certificate, for journald.
fn send_certificate_event(owner: CertificateOwner<'_>, result: EventResult, message: &str) {
    let (event, app) = ("certificate", owner.app());
    JournalEvent { event, result, app, release: None, key: None, message }.send();
}

impl WebServer {
    /// Returns true if the certificate of the owner expires soon, and another one for the same names would replace it.
    fn is_renewal_due(&self, owner: CertificateOwner<'_>) -> bool {
        let Ok(all) = owner.names(self) else { return false };
        owner.pairs(&self.root).read_current().is_some_and(|pair| is_renewal(&pair, &public_names(&all)))
    }

    /// Records the request of a certificate. Returns `None` if a limit refuses one that the timer makes.
    fn place_order(
        &self,
        owner: CertificateOwner<'_>,
        names: &BTreeSet<String>,
        is_renewal: bool,
        by: RenewalCaller,
    ) -> anyhow::Result<Option<PlacedOrder>> {
        let reason = match (is_renewal, by.asked) {
            _ if by.force && actor::calling_key().is_none() => OrderReason::Forced,
            (true, false) => OrderReason::ScheduledRenewal,
            (true, true) => OrderReason::AskedRenewal,
            (false, _) => OrderReason::NewNames,
        };
        let now = Timestamp::now();
        let refused = match PlacedOrder::record(&self.root, owner.store_name(), names, reason, now)? {
            Ok(order) => return Ok(Some(order)),
            Err(refused) => refused.message(),
        };
        if by.asked {
            let hint = format!("on the server, the operator may: sudo piku certs:renew {owner} --force");
            return Err(UserError::new(refused).hint(hint).into());
        }
        progress::detail(&format!("{owner}: {refused}"));
        Ok(None)
    }

    fn renew_for(
        &self,
        client: Option<&AcmeClient>,
        owner: CertificateOwner<'_>,
        by: RenewalCaller,
    ) -> anyhow::Result<()> {
        let RenewalCaller { asked, force } = by;
        let all = owner.names(self)?;
        let pairs = owner.pairs(&self.root);
        let current = pairs.read_current();
        if self.settings.https.is_empty() {
            return if asked {
                Err(UserError::new("nginx has no port for HTTPS in host.yaml").into())
            } else {
                Ok(())
            };
        }
        let names = public_names(&all);
        let client = client.filter(|_| !names.is_empty());
        match self.copy_operator_certificate(&pairs, &all) {
            Ok(OperatorCertificate::New(pair)) => {
                owner.use_certificate(self, &pair, current)?;
                let message = format!("{owner}: the operator's new certificate is in use");
                send_certificate_event(owner, EventResult::Done, &message);
                return FailedAttempt::remove(&pairs);
            }
            Ok(OperatorCertificate::InUse) => {
                if asked {
                    progress::detail(&format!("{owner}: the certificate of host.yaml is in use"));
                }
                return FailedAttempt::remove(&pairs);
            }
            Ok(OperatorCertificate::Missing) => {}
            Err(err) if client.is_none() => return Err(err),
            // An authority's certificate does not depend on it.
            Err(err) => progress::detail(&format!("{owner}: {err:#}")),
        }
        let Some(client) = client else {
            return if asked { Err(why_none_is_requested(&all, &names)) } else { Ok(()) };
        };
        let is_current = current.as_ref().is_some_and(|pair| {
            !pair.metadata.self_signed
                && pair.metadata.names.is_superset(&names)
                && !pair.is_renewal_due(Timestamp::now())
        });
        if is_current {
            if asked {
                progress::detail(&format!("{owner}: the certificate is not due for renewal yet"));
            }
            return FailedAttempt::remove(&pairs);
        }
        let last = FailedAttempt::read(&pairs, &names);
        if let Some(last) = last.as_ref().filter(|last| !force && last.is_recent(Timestamp::now())) {
            let (at, next) = (last.at, last.next_attempt());
            let what = format!("the attempt at {at:.0} failed; the next one is after {next:.0}");
            if asked {
                let error =
                    UserError::new(what).hint(format!("to try now: piku certs:renew {owner} --force"));
                return Err(error.into());
            }
            progress::detail(&format!("{owner}: {what}"));
            return Ok(());
        }
        if NginxMaster::find(&self.dir).is_none() {
            bail!("piku's nginx does not run, so the authority could not check the host names");
        }
        let is_renewal = current.as_ref().is_some_and(|pair| is_renewal(pair, &names));
        let Some(order) = self.place_order(owner, &names, is_renewal, by)? else {
            return Ok(());
        };
        let failures = last.map_or(0, |last| last.failures) + 1;
        // Recorded before the attempt, so that one cut short by a kill counts too.
        current::create_dir(pairs.path())?;
        let mut attempt = FailedAttempt { names: names.clone(), at: Timestamp::now(), failures, error: None };
        attempt.write(&pairs)?;
        let joined = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        progress::step(&format!("Requesting a certificate for {owner}: {joined}"));
        let metadata = CertificateMetadata { names, self_signed: false, at: Timestamp::now() };
        let pair = pairs.create_pair(&metadata, |pair| client.fetch_certificate(self, owner, pair));
        if let Err(err) = order.finish(pair.is_ok()) {
            // It stays recorded as under way, which counts like an issued one. The certificate is used all the same.
            progress::detail(&format!("{owner}: the end of the request is not recorded: {err:#}"));
        }
        let pair = match pair {
            Ok(pair) => pair,
            Err(err) => {
                attempt.error = Some(format!("{err:#}"));
                attempt.write(&pairs)?;
                return Err(err);
            }
        };
        if !pair.is_valid(Timestamp::now()) {
            current::remove_dir(&pair.dir)?;
            bail!("{} delivered a certificate that is not valid now", client.name());
        }
        // nginx may read both at a handshake only.
        if !is_key_of(&pair.key(), &pair.certificate())? {
            current::remove_dir(&pair.dir)?;
            bail!("{} delivered a key that is not that of the certificate", client.name());
        }
        // The client has its own rule for when to renew, and may have returned the old certificate.
        if current.as_ref().is_some_and(|current| current.has_same_content(&pair)) {
            current::remove_dir(&pair.dir)?;
            progress::detail(&format!("{owner}: {} keeps the current certificate", client.name()));
            return FailedAttempt::remove(&pairs);
        }
        owner.use_certificate(self, &pair, current)?;
        let message = format!("{owner}: a new certificate for {joined} is in use");
        send_certificate_event(owner, EventResult::Done, &message);
        FailedAttempt::remove(&pairs)
    }
}

/// Returns true if the pair is that of an authority for all these names, and expires soon.
fn is_renewal(pair: &CertificatePair, names: &BTreeSet<String>) -> bool {
    !pair.metadata.self_signed
        && pair.metadata.names.is_superset(names)
        && pair.is_renewal_due(Timestamp::now())
}

/// Returns the error for an app for whose names no authority is asked.
fn why_none_is_requested(all: &BTreeSet<String>, public: &BTreeSet<String>) -> anyhow::Error {
    let join = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let error = if all.is_empty() {
        UserError::new("it has no host name").hint("piku domains:add APP NAME adds one")
    } else if public.is_empty() {
        UserError::new(format!("no authority issues a certificate for {}", join(all)))
            .hint("piku domains:add APP NAME adds a name of the public DNS")
    } else {
        UserError::new(format!(
            "no certificate of host.yaml covers {}, and there is no ACME client",
            join(public)
        ))
        .hint("on the server: sudo apt-get install certbot")
    };
    error.into()
}

/// Returns those of the host names for which an authority issues certificates.
pub(in crate::nginx) fn public_names<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| is_public(name)).cloned().collect()
}

/// Returns true if an authority could validate the name over HTTP.
pub(in crate::nginx) fn is_public(name: &str) -> bool {
    let private =
        |ending: &&str| name.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    name.contains('.')
        && !name.contains('*')
        && name.parse::<IpAddr>().is_err()
        && !PRIVATE_SUFFIXES.iter().any(private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_names_are_told_from_private_ones() {
        for name in ["example.org", "a.b.example.org", "xn--mnchen-3ya.de", "mytest.org"] {
            assert!(is_public(name), "{name}");
        }
        for name in
            ["raspberrypi", "10.0.0.1", "*.example.org", "a.test", "pi.local", "x.home.arpa", "nas.lan"]
        {
            assert!(!is_public(name), "{name}");
        }
    }

    #[test]
    fn the_pause_after_a_failure_doubles_up_to_a_day() {
        let hours = |failures| {
            let at = Timestamp::UNIX_EPOCH;
            let attempt = FailedAttempt { names: BTreeSet::new(), at, failures, error: None };
            attempt.next_attempt().duration_since(at).as_hours()
        };
        assert_eq!([1, 2, 3, 5, 6, 40, 4000].map(hours), [1, 2, 4, 16, 24, 24, 24]);
    }

    #[test]
    fn a_failure_recorded_in_the_future_is_ignored() {
        let at = |time: &str| -> Timestamp { format!("{time}:00:00Z").parse().unwrap() };
        let last =
            FailedAttempt { names: BTreeSet::new(), at: at("2036-01-01T12"), failures: 3, error: None };
        assert!(last.is_recent(at("2036-01-01T13")) && !last.is_recent(at("2036-01-01T16")));
        assert!(last.is_recent(at("2036-01-01T11")), "a clock that was set back a little");
        assert!(!last.is_recent(at("2026-01-01T12")));
    }
}
