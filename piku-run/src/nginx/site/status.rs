//! State of an app's site and certificate, for `apps`, `domains`, `certs` and `ps`.

#![expect(clippy::disallowed_methods, reason = "records of certificates, which only piku writes")]

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::CertificateClient;
use piku_procfile::render::nginx::DEFAULT_NAME;
use serde::Serialize;

use crate::nginx::certificates::acme::{self, FailedAttempt};
use crate::nginx::certificates::acme_client::AcmeClient;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificatePair};
use crate::nginx::master::NginxMaster;
use crate::nginx::nginx_dir::NginxDir;
use crate::nginx::site::urls::SiteUrls;
use crate::nginx::{WebServer, nginx_dir};
use crate::releases::current;

/// Longest wait for an answer of a checked host name.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Issuer of a certificate that piku has made itself.
const SELF_SIGNED: &str = "self-signed";

/// The site of an app as nginx serves it.
#[derive(Debug, Clone)]
pub(crate) struct SiteStatus {
    /// Host names, `_` for all that no app has.
    pub(crate) names: Vec<String>,
    /// The host has assigned the names; the app sets none.
    pub(crate) is_assigned: bool,
    pub(crate) urls: SiteUrls,
    pub(crate) certificate: Option<CertificateStatus>,
}

/// The certificate of an app as `certs` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CertificateStatus {
    /// `None` for that of the status page.
    pub(crate) app: Option<AppName>,
    /// Host names that it covers.
    pub(crate) names: Vec<String>,
    /// Host names of the app, or of the page, that it does not cover.
    pub(crate) missing: Vec<String>,
    /// Name of the authority; `self-signed` without one.
    pub(crate) issuer: String,
    /// `valid`, `self-signed`, `failed` or `expired`.
    pub(crate) state: CertificateState,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    /// Time of the last failed request.
    pub(crate) failed_at: Option<Timestamp>,
    /// Number of failed requests since the last successful one.
    pub(crate) failures: u32,
    /// Reason of the last failed request.
    pub(crate) error: Option<String>,
    pub(crate) next_attempt: Option<Timestamp>,
}

impl CertificateStatus {
    /// Returns whether no authority has issued it.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.issuer == SELF_SIGNED
    }

    /// Returns the name of whom it belongs to, for tables.
    pub(crate) fn owner(&self) -> &str {
        self.app.as_ref().map_or("status page", AppName::as_str)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CertificateState {
    /// An authority issued it.
    Valid,
    /// Browsers do not trust it.
    SelfSigned,
    /// The last request for one failed.
    Failed,
    /// It is not valid any more.
    Expired,
}

impl CertificateState {
    /// Returns the name that tables print.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::SelfSigned => "self-signed",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Returns what lists of apps say of it; `None` if it is well.
    pub(crate) fn problem(self) -> Option<&'static str> {
        match self {
            Self::Failed => Some("certificate failed"),
            Self::Expired => Some("certificate expired"),
            Self::Valid | Self::SelfSigned => None,
        }
    }

    /// Returns the state of the pair that is in use, with these names of the owner.
    fn of(pairs: &AppCertificates, pair: &CertificatePair, end: Option<Timestamp>, names: &[String]) -> Self {
        match () {
            () if end.is_some_and(|end| end < Timestamp::now()) => Self::Expired,
            () if FailedAttempt::read(pairs, &acme::public_names(names)).is_some() => Self::Failed,
            () if pair.metadata.self_signed => Self::SelfSigned,
            () => Self::Valid,
        }
    }
}

/// Returns the state of the app's certificate; `None` if it has none.
pub(crate) fn certificate_state(root: &PikuRoot, app: &AppName) -> Option<CertificateState> {
    let names = NginxDir::new(root).read_metadata(app).filter(|site| site.certificate.is_some())?.names;
    let pairs = AppCertificates::for_app(root, app);
    let pair = pairs.read_current()?;
    // piku renews its own.
    let end = if pair.metadata.self_signed { None } else { pair.read_details().map(|known| known.end) };
    Some(CertificateState::of(&pairs, &pair, end, &names))
}

impl WebServer {
    /// Returns how nginx serves the app; `None` if it does not.
    pub(crate) fn site_status(&self, app: &AppName) -> Option<SiteStatus> {
        let metadata = self.dir.read_metadata(app).filter(|_| self.dir.has_app_conf(app))?;
        NginxMaster::find(&self.dir)?;
        let pair = metadata.certificate.as_ref().and_then(|_| {
            // A renewal has its own pair.
            AppCertificates::for_app(&self.root, app).read_current()
        });
        let is_self_signed = pair.as_ref().is_some_and(|pair| pair.metadata.self_signed);
        let urls = self.site_urls(
            &metadata.names,
            metadata.is_assigned,
            metadata.certificate.is_some(),
            is_self_signed,
        );
        let certificate = pair.map(|pair| {
            let pairs = AppCertificates::for_app(&self.root, app);
            describe_certificate(Some(app), &pairs, &metadata.names, &pair)
        });
        Some(SiteStatus { names: metadata.names, is_assigned: metadata.is_assigned, urls, certificate })
    }

    /// Returns the certificate of the status page; `None` if it has no name, or none with HTTPS.
    pub(crate) fn page_certificate_status(&self) -> Option<CertificateStatus> {
        let names = self.page_names();
        if self.settings.https.is_empty() || names.is_empty() {
            return None;
        }
        let pairs = AppCertificates::for_status_page(&self.root);
        let pair = pairs.read_current()?;
        Some(describe_certificate(None, &pairs, &names, &pair))
    }

    /// Returns what the operator can do about a certificate that browsers do not trust.
    pub(crate) fn certificate_hint(&self, names: &[String]) -> String {
        if !names.iter().any(|name| acme::is_public(name)) {
            return "authorities issue certificates for public names only, not for this one".to_owned();
        }
        match AcmeClient::find(self) {
            Ok(Some(client)) => format!("piku certs:renew APP requests one by {} now", client.name()),
            Ok(None) if self.settings.acme == CertificateClient::Off => {
                "host.yaml says 'acme: off', so piku requests none".to_owned()
            }
            Ok(None) => {
                "install certbot or acme.sh, and piku requests one: sudo apt-get install certbot".to_owned()
            }
            Err(err) => format!("{err:#}"),
        }
    }

    /// Checks that a request for the name reaches this nginx, by a file that only this one has. Returns the
    /// addresses of the name.
    pub(crate) fn check_name(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let port = self.settings.http.first().map_or(80, |listen| listen.port);
        let found = piku_nss::find_addresses(name, port, CHECK_TIMEOUT).map_err(|err| err.to_string())?;
        let dir = self.root.acme().join("webroot/.well-known/acme-challenge");
        current::create_dir(&dir).map_err(|err| format!("{err:#}"))?;
        let token = format!("piku-check-{}", std::process::id());
        let content = format!("{token}-{}", Timestamp::now().as_nanosecond());
        let path = dir.join(&token);
        nginx_dir::write_private(&path, content.as_bytes()).map_err(|err| format!("{err:#}"))?;
        let answers = found.iter().map(|address| {
            let url = format!("/.well-known/acme-challenge/{token}");
            let body = fetch(*address, name, &url)?;
            if body.trim_end().ends_with(&content) {
                return Ok(());
            }
            Err(format!("{address} answers, but it is not this nginx"))
        });
        let result: Result<Vec<()>, String> = answers.collect();
        let _ = fs::remove_file(&path);
        result?;
        if found.is_empty() {
            return Err(format!(
                "the name '{name}' has no address; it needs a DNS record with that of this machine"
            ));
        }
        Ok(found.iter().map(std::net::SocketAddr::ip).collect())
    }
}

fn describe_certificate(
    app: Option<&AppName>,
    pairs: &AppCertificates,
    names: &[String],
    pair: &CertificatePair,
) -> CertificateStatus {
    let details = pair.read_details();
    let (not_before, not_after) = details.as_ref().map(|known| (known.begin, known.end)).unzip();
    let attempt = FailedAttempt::read(pairs, &acme::public_names(names));
    let covers = |name: &str| {
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        pair.metadata.names.contains(name)
            || wildcard.is_some_and(|wildcard| pair.metadata.names.contains(&wildcard))
    };
    let missing = names.iter().filter(|name| *name != DEFAULT_NAME && !covers(name));
    CertificateStatus {
        app: app.cloned(),
        names: pair.metadata.names.iter().cloned().collect(),
        missing: missing.cloned().collect(),
        issuer: match details {
            _ if pair.metadata.self_signed => SELF_SIGNED.to_owned(),
            details => details.map(|known| known.issuer).unwrap_or_default(),
        },
        state: CertificateState::of(pairs, pair, not_after, names),
        not_before,
        not_after,
        failed_at: attempt.as_ref().map(|attempt| attempt.at),
        failures: attempt.as_ref().map_or(0, |attempt| attempt.failures),
        error: attempt.as_ref().and_then(|attempt| attempt.error.clone()),
        next_attempt: attempt.as_ref().map(FailedAttempt::next_attempt),
    }
}

/// Returns the response to a GET, at most a few kilobytes.
fn fetch(address: std::net::SocketAddr, host: &str, url: &str) -> Result<String, String> {
    use std::io::{Read, Write};
    let failed = |err: std::io::Error| format!("{address} cannot be reached from here: {err}");
    let mut stream = TcpStream::connect_timeout(&address, CHECK_TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(CHECK_TIMEOUT)).map_err(failed)?;
    let request = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(8192).read_to_end(&mut answer).map_err(failed)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
