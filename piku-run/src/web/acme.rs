//! `certs renew`: certificates that an authority vouches for, through acme.sh or certbot. Called by a timer or by hand, never
//! by a deploy. A failure is not tried again at once: the authority counts.

#![expect(clippy::disallowed_methods, reason = "certificates and notes that acme.sh, certbot and piku write")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use piku_layout::clock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::CertificateClient;
use piku_report::progress;
use piku_report::user_error::{self, UserError};
use serde::{Deserialize, Serialize};

use super::certificate::{AppCertificates, CertificatePair, PairFacts};
use super::master::NginxMaster;
use super::{WebServer, program, sites_folder};
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::releases::current;

/// Names that no authority vouches for (RFC 2606, RFC 6762, RFC 8375, and what people call their home).
const PRIVATE: [&str; 9] =
    ["test", "example", "invalid", "localhost", "local", "lan", "home", "internal", "home.arpa"];

/// What has been tried in vain.
#[derive(Debug, Serialize, Deserialize)]
struct FailedAttempt {
    names: BTreeSet<String>,
    at: Timestamp,
    failures: u32,
}

impl FailedAttempt {
    /// An hour after the first failure, then twice as long, a day at most: five failures in an hour are Let's Encrypt's limit.
    fn next(&self) -> Timestamp {
        let hours = 1_i64.checked_shl(self.failures.saturating_sub(1)).unwrap_or(24).clamp(1, 24);
        self.at.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(self.at)
    }

    /// Whether it is too early to try again. An attempt that has yet to come was written down by a clock that was ahead.
    fn is_recent(&self, now: Timestamp) -> bool {
        now < self.next() && !clock::is_ahead(self.at.into(), now.into())
    }
}

/// Gets certificates for those apps that have none of an authority's, or one that ends soon. With `force` also where it was
/// tried in vain a short while ago.
pub(crate) fn renew(root: &PikuRoot, only: Option<&AppName>, force: bool) -> anyhow::Result<()> {
    let web = WebServer::of(root)?;
    let Some(client) = AcmeClient::of(&web)? else {
        progress::detail(
            "neither acme.sh nor certbot is there, or 'acme: off' in host.yaml: certificates stay self-signed",
        );
        return Ok(());
    };
    let now = Timestamp::now();
    if !clock::is_set(now.as_second()) {
        // No authority would be believed, and each attempt in vain puts off the next.
        progress::detail(&format!(
            "the clock of the machine says {now:.0}: certificates wait until it is set"
        ));
        return Ok(());
    }
    let apps = match only {
        Some(app) => vec![app.clone()],
        None => web.folder.apps()?.into_iter().map(|(app, _)| app).collect(),
    };
    let mut failed = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for app in apps {
        // One that fails keeps none of the others from theirs.
        if let Err(err) = web.renew(&client, &app, force) {
            failed.push(format!("{app}: {err:#}"));
            hints.extend(user_error::advice(&err).0);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    // Once what is the same for all of them.
    let mut seen = BTreeSet::new();
    hints.retain(|hint| seen.insert(hint.clone()));
    Err(hints.into_iter().fold(UserError::new(failed.join("\n")), UserError::hint).into())
}

impl WebServer {
    fn renew(&self, client: &AcmeClient, app: &AppName, force: bool) -> anyhow::Result<()> {
        let Some(site) = self.folder.about(app).filter(|_| self.folder.has_app(app)) else {
            return Err(UserError::new("it is not served by nginx")
                .hint("set NGINX_SERVER_NAME and push it")
                .into());
        };
        let names: BTreeSet<String> = site.names.into_iter().filter(|name| is_public(name)).collect();
        if names.is_empty() || self.settings.https.is_empty() {
            return Ok(());
        }
        let all = AppCertificates::of(&self.root, app);
        let current = all.current();
        let is_good = current.as_ref().is_some_and(|pair| {
            !pair.about.self_signed && pair.about.names.is_superset(&names) && !pair.is_due(Timestamp::now())
        });
        if is_good {
            return Ok(());
        }
        let tried = all.path().join("attempt.json");
        let last: Option<FailedAttempt> =
            fs::read(&tried).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let last = last.filter(|last| last.names == names);
        if let Some(last) = last.as_ref().filter(|last| !force && last.is_recent(Timestamp::now())) {
            progress::detail(&format!(
                "{app}: tried in vain at {:.0}, again after {:.0}",
                last.at,
                last.next()
            ));
            return Ok(());
        }
        if NginxMaster::find(&self.folder).is_none() {
            bail!("piku's nginx does not run, so no authority could ask it");
        }
        let failures = last.map_or(0, |last| last.failures) + 1;
        // Before it is tried: killed meanwhile, it was tried all the same.
        current::make(all.path())?;
        let attempt = FailedAttempt { names: names.clone(), at: Timestamp::now(), failures };
        sites_folder::write(&tried, &serde_json::to_vec(&attempt)?)?;
        progress::step(&format!("Asking for a certificate of {app} for {}", join(&names, ", ")));
        let about = PairFacts { names, self_signed: false, at: Timestamp::now() };
        let pair = all.add(&about, |pair| client.fetch(self, app, pair))?;
        if !pair.is_good(Timestamp::now()) {
            current::remove(&pair.dir)?;
            bail!("what {} has left is no certificate that is good today", client.name());
        }
        // Each of them judges for itself when it is time for another.
        if current.as_ref().is_some_and(|current| current.holds_the_same(&pair)) {
            current::remove(&pair.dir)?;
            progress::detail(&format!("{}: {} keeps the one that is there", app, client.name()));
            return current::remove(&tried);
        }
        all.set_current(&pair)?;
        if let Err(err) = client::ask(&self.root, app, &SupervisorRequest::Route) {
            if let Some(before) = current {
                all.set_current(&before)?;
            }
            return Err(err).context("the new certificate is not in use");
        }
        current::remove(&tried)
    }
}

/// Who asks the authority.
enum AcmeClient {
    AcmeSh(PathBuf),
    Certbot(PathBuf),
}

impl AcmeClient {
    /// The one that the settings name, or that is installed.
    fn of(web: &WebServer) -> anyhow::Result<Option<Self>> {
        let acme_sh = || {
            let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".acme.sh/acme.sh"));
            program::find("acme.sh").or_else(|| own.filter(|path| path.is_file())).map(Self::AcmeSh)
        };
        let certbot = || program::find("certbot").map(Self::Certbot);
        let lacks = |name| UserError::new(format!("host.yaml says 'acme: {name}', and it is not installed"));
        Ok(match web.settings.acme {
            CertificateClient::Off => None,
            CertificateClient::Auto => acme_sh().or_else(certbot),
            CertificateClient::AcmeSh => Some(acme_sh().ok_or_else(|| lacks("acme.sh"))?),
            CertificateClient::Certbot => Some(certbot().ok_or_else(|| lacks("certbot"))?),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::AcmeSh(_) => "acme.sh",
            Self::Certbot(_) => "certbot",
        }
    }

    /// Gets a certificate and its key into a pair's folder.
    fn fetch(&self, web: &WebServer, app: &AppName, pair: &CertificatePair) -> anyhow::Result<()> {
        let webroot = web.root.acme().join("webroot");
        current::make(&webroot.join(".well-known/acme-challenge"))?;
        let settings = &web.settings;
        let names = || pair.about.names.iter().flat_map(|name| ["-d", name]);
        match self {
            Self::AcmeSh(program) => {
                let main = pair.about.names.first().context("no name")?;
                let mut issue = Command::new(program);
                issue.args(["--issue", "--keylength", "ec-256"]).args(names()).arg("--webroot").arg(&webroot);
                issue.args(["--server", settings.acme_server.as_deref().unwrap_or("letsencrypt")]);
                if let Some(email) = &settings.acme_email {
                    issue.args(["--accountemail", email]);
                }
                // 2: it has one that need not be renewed.
                self.run(&mut issue, &[0, 2])?;
                let mut install = Command::new(program);
                install
                    .args(["--install-cert", "--ecc", "-d", main, "--fullchain-file"])
                    .arg(pair.certificate());
                self.run(install.arg("--key-file").arg(pair.key()), &[0])
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
                self.run(&mut certbot, &[0])?;
                let live = own.join("config/live").join(app.as_str());
                for (from, to) in [("fullchain.pem", pair.certificate()), ("privkey.pem", pair.key())] {
                    let from = live.join(from);
                    fs::copy(&from, &to).with_context(|| format!("cannot copy '{}'", from.display()))?;
                }
                Ok(())
            }
        }
    }

    /// Its talk goes to stderr.
    fn run(&self, command: &mut Command, good: &[i32]) -> anyhow::Result<()> {
        let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
        let status = status.with_context(|| format!("cannot run {}", self.name()))?;
        if status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(());
        }
        let what = format!("{} got no certificate: {status}", self.name());
        Err(UserError::new(what)
            .hint("its reason stands above; it is tried again after an hour, or with --force")
            .into())
    }
}

/// Whether an authority could ask for it over HTTP.
fn is_public(name: &str) -> bool {
    let private =
        |ending: &&str| name.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    name.contains('.')
        && !name.contains('*')
        && name.parse::<IpAddr>().is_err()
        && !PRIVATE.iter().any(private)
}

fn join(names: &BTreeSet<String>, between: &str) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_authority_can_reach() {
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
    fn failures_are_tried_again_more_and_more_seldom() {
        let hours = |failures| {
            let at = Timestamp::UNIX_EPOCH;
            FailedAttempt { names: BTreeSet::new(), at, failures }.next().duration_since(at).as_hours()
        };
        assert_eq!([1, 2, 3, 5, 6, 40, 4000].map(hours), [1, 2, 4, 16, 24, 24, 24]);
    }

    #[test]
    fn a_failure_of_a_time_to_come_puts_off_nothing() {
        let at = |time: &str| -> Timestamp { format!("{time}:00:00Z").parse().unwrap() };
        let last = FailedAttempt { names: BTreeSet::new(), at: at("2036-01-01T12"), failures: 3 };
        assert!(last.is_recent(at("2036-01-01T13")) && !last.is_recent(at("2036-01-01T16")));
        assert!(last.is_recent(at("2036-01-01T11")), "a clock that was set back a little");
        assert!(!last.is_recent(at("2026-01-01T12")));
    }
}
