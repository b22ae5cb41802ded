//! `certs renew`: gets certificates from an ACME authority through acme.sh or certbot. A timer or an operator
//! runs it, never a deploy. Failures back off, because the authority limits them.

#![expect(
    clippy::disallowed_methods,
    reason = "certificates and records that acme.sh, certbot and piku write"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use piku_events::journal::{EventResult, JournalEvent};
use piku_layout::clock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::CertificateClient;
use piku_procfile::render::nginx::DEFAULT_NAME;
use piku_report::progress;
use piku_report::user_error::{self, UserError};
use serde::{Deserialize, Serialize};

use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificateMetadata, CertificatePair};
use crate::nginx::certificates::operator_certificate::{OperatorCertificate, is_key_of};
use crate::nginx::master::NginxMaster;
use crate::nginx::program::find_program;
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

/// Renews the certificates that are self-signed or expire soon. `force` ignores the pause after a failed
/// attempt.
pub(crate) fn renew_certificates(root: &PikuRoot, only: Option<&AppName>, force: bool) -> anyhow::Result<()> {
    let web = WebServer::load(root)?;
    let client = AcmeClient::find(&web)?;
    if client.is_none() && web.settings.certificates.is_empty() {
        progress::detail(
            "neither acme.sh nor certbot is installed, or host.yaml says 'acme: off': certificates stay self-signed",
        );
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
    let apps = match only {
        Some(app) => vec![app.clone()],
        None => web.dir.list_apps()?,
    };
    let mut failed = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for app in apps {
        // One failure does not stop the others.
        if let Err(err) = web.renew_app(client.as_ref(), &app, force) {
            send_certificate_event(&app, EventResult::Failed, &format!("{app}: no certificate: {err:#}"));
            failed.push(format!("{app}: {err:#}"));
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
fn send_certificate_event(app: &AppName, result: EventResult, message: &str) {
    let (event, app) = ("certificate", Some(app));
    JournalEvent { event, result, app, release: None, key: None, message }.send();
}

impl WebServer {
    fn renew_app(&self, client: Option<&AcmeClient>, app: &AppName, force: bool) -> anyhow::Result<()> {
        let Some(site) = self.dir.read_metadata(app).filter(|_| self.dir.has_app_conf(app)) else {
            return Err(UserError::new("nginx does not serve the app")
                .hint("set NGINX_SERVER_NAME and push it")
                .into());
        };
        let pairs = AppCertificates::for_app(&self.root, app);
        let current = pairs.read_current();
        if self.settings.https.is_empty() {
            return Ok(());
        }
        let all: BTreeSet<String> = site.names.iter().filter(|name| *name != DEFAULT_NAME).cloned().collect();
        let names = public_names(&site.names);
        let client = client.filter(|_| !names.is_empty());
        match self.copy_operator_certificate(&pairs, &all) {
            Ok(OperatorCertificate::New(pair)) => {
                self.use_certificate(&pairs, &pair, current, app)?;
                let message = format!("{app}: the operator's new certificate is in use");
                send_certificate_event(app, EventResult::Done, &message);
                return FailedAttempt::remove(&pairs);
            }
            Ok(OperatorCertificate::InUse) => return FailedAttempt::remove(&pairs),
            Ok(OperatorCertificate::Missing) => {}
            Err(err) if client.is_none() => return Err(err),
            // An authority's certificate does not depend on it.
            Err(err) => progress::detail(&format!("{app}: {err:#}")),
        }
        let Some(client) = client else { return Ok(()) };
        let is_current = current.as_ref().is_some_and(|pair| {
            !pair.metadata.self_signed
                && pair.metadata.names.is_superset(&names)
                && !pair.is_renewal_due(Timestamp::now())
        });
        if is_current {
            return FailedAttempt::remove(&pairs);
        }
        let last = FailedAttempt::read(&pairs, &names);
        if let Some(last) = last.as_ref().filter(|last| !force && last.is_recent(Timestamp::now())) {
            let (at, next) = (last.at, last.next_attempt());
            progress::detail(&format!(
                "{app}: the attempt at {at:.0} failed; the next one is after {next:.0}"
            ));
            return Ok(());
        }
        if NginxMaster::find(&self.dir).is_none() {
            bail!("piku's nginx does not run, so the authority could not check the host names");
        }
        let failures = last.map_or(0, |last| last.failures) + 1;
        // Recorded before the attempt, so that one cut short by a kill counts too.
        current::create_dir(pairs.path())?;
        let mut attempt = FailedAttempt { names: names.clone(), at: Timestamp::now(), failures, error: None };
        attempt.write(&pairs)?;
        let joined = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        progress::step(&format!("Requesting a certificate for {app}: {joined}"));
        let metadata = CertificateMetadata { names, self_signed: false, at: Timestamp::now() };
        let pair = pairs.create_pair(&metadata, |pair| client.fetch_certificate(self, app, pair));
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
            progress::detail(&format!("{app}: {} keeps the current certificate", client.name()));
            return FailedAttempt::remove(&pairs);
        }
        self.use_certificate(&pairs, &pair, current, app)?;
        let message = format!("{app}: a new certificate for {joined} is in use");
        send_certificate_event(app, EventResult::Done, &message);
        FailedAttempt::remove(&pairs)
    }

    /// Puts a new certificate into use. If nginx does not accept it, the one before stays.
    fn use_certificate(
        &self,
        pairs: &AppCertificates,
        pair: &CertificatePair,
        before: Option<CertificatePair>,
        app: &AppName,
    ) -> anyhow::Result<()> {
        pairs.set_current(pair)?;
        if let Err(err) = client::ask(&self.root, app, &SupervisorRequest::Route) {
            if let Some(before) = before {
                pairs.set_current(&before)?;
            }
            return Err(err).context("the new certificate is not in use");
        }
        Ok(())
    }
}

/// The installed program that speaks ACME, with its path.
pub(in crate::nginx) enum AcmeClient {
    AcmeSh(PathBuf),
    Certbot(PathBuf),
}

impl AcmeClient {
    /// Finds the client that the settings name, or else any installed one.
    pub(in crate::nginx) fn find(web: &WebServer) -> anyhow::Result<Option<Self>> {
        let acme_sh = || {
            let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".acme.sh/acme.sh"));
            find_program("acme.sh").or_else(|| own.filter(|path| path.is_file())).map(Self::AcmeSh)
        };
        let certbot = || find_program("certbot").map(Self::Certbot);
        let missing =
            |name| UserError::new(format!("host.yaml says 'acme: {name}', but it is not installed"));
        Ok(match web.settings.acme {
            CertificateClient::Off => None,
            CertificateClient::Auto => acme_sh().or_else(certbot),
            CertificateClient::AcmeSh => Some(acme_sh().ok_or_else(|| missing("acme.sh"))?),
            CertificateClient::Certbot => Some(certbot().ok_or_else(|| missing("certbot"))?),
        })
    }

    pub(in crate::nginx) fn name(&self) -> &'static str {
        match self {
            Self::AcmeSh(_) => "acme.sh",
            Self::Certbot(_) => "certbot",
        }
    }

    /// Requests a certificate, and copies it and its key into the pair's directory.
    fn fetch_certificate(
        &self,
        web: &WebServer,
        app: &AppName,
        pair: &CertificatePair,
    ) -> anyhow::Result<()> {
        let webroot = web.root.acme().join("webroot");
        current::create_dir(&webroot.join(".well-known/acme-challenge"))?;
        let settings = &web.settings;
        let names = || pair.metadata.names.iter().flat_map(|name| ["-d", name]);
        match self {
            Self::AcmeSh(program) => {
                let main = pair.metadata.names.first().context("no name")?;
                let mut issue = Command::new(program);
                issue.args(["--issue", "--keylength", "ec-256"]).args(names()).arg("--webroot").arg(&webroot);
                issue.args(["--server", settings.acme_server.as_deref().unwrap_or("letsencrypt")]);
                if let Some(email) = &settings.acme_email {
                    issue.args(["--accountemail", email]);
                }
                // 2: its certificate is not due for renewal.
                self.run_command(&mut issue, &[0, 2])?;
                let mut install = Command::new(program);
                install
                    .args(["--install-cert", "--ecc", "-d", main, "--fullchain-file"])
                    .arg(pair.certificate());
                self.run_command(install.arg("--key-file").arg(pair.key()), &[0])
            }
            Self::Certbot(program) => {
                let own = web.root.acme().join("certbot");
                let mut certbot = Command::new(program);
                certbot.args([
                    "certonly",
                    "--non-interactive",
                    "--agree-tos",
                    "--keep-until-expiring",
                    "--renew-with-new-domains",
                ]);
                certbot
                    .args(["--cert-name", app.as_str(), "--webroot", "--webroot-path"])
                    .arg(&webroot)
                    .args(names());
                for (option, folder) in
                    [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "log")]
                {
                    certbot.arg(option).arg(own.join(folder));
                }
                match &settings.acme_email {
                    Some(email) => certbot.args(["--email", email]),
                    None => certbot.arg("--register-unsafely-without-email"),
                };
                if let Some(server) = &settings.acme_server {
                    certbot.args(["--server", server]);
                }
                self.run_command(&mut certbot, &[0])?;
                let live = own.join("config/live").join(app.as_str());
                for (from, to) in [("fullchain.pem", pair.certificate()), ("privkey.pem", pair.key())] {
                    let from = live.join(from);
                    fs::copy(&from, &to).with_context(|| format!("cannot copy '{}'", from.display()))?;
                }
                Ok(())
            }
        }
    }

    /// Runs the client with its output on stderr. Fails unless its exit code is one of `good`.
    fn run_command(&self, command: &mut Command, good: &[i32]) -> anyhow::Result<()> {
        let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
        let status = status.with_context(|| format!("cannot run {}", self.name()))?;
        if status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(());
        }
        let what = format!("{} got no certificate: {status}", self.name());
        Err(UserError::new(what)
            .hint("its reason stands above; try again in an hour, or with --force")
            .into())
    }
}

/// Returns those of the host names for which an authority issues certificates.
pub(in crate::nginx) fn public_names(names: &[String]) -> BTreeSet<String> {
    names.iter().filter(|name| is_public(name)).cloned().collect()
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
