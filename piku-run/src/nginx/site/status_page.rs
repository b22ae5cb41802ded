//! The status page as nginx serves it: its names, which are the host's and not an app's, and its certificate.

#![expect(
    clippy::disallowed_methods,
    reason = "the password file of the status page, which only piku writes"
)]

use std::collections::BTreeSet;

use jiff::Timestamp;
use piku_procfile::render::nginx::{StatusSite, TUNNEL_NAME};

use crate::nginx::WebServer;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificatePair};
use crate::nginx::certificates::certificate_links::CertificateLinks;
use crate::nginx::certificates::operator_certificate::OperatorCertificate;
use crate::nginx::service::log;

impl WebServer {
    /// Returns the host names of the status page for other machines; none if it is off.
    pub(in crate::nginx) fn page_names(&self) -> Vec<String> {
        if !self.status.enabled {
            return Vec::new();
        }
        let below = || self.app_domain().map(|domain| format!("status.{domain}"));
        self.status.domain.clone().or_else(below).into_iter().collect()
    }

    /// Returns all host names of the status page; none if it is off.
    pub(in crate::nginx) fn status_names(&self) -> Vec<String> {
        let tunnel = self.status.enabled.then(|| TUNNEL_NAME.to_owned());
        self.page_names().into_iter().chain(tunnel).collect()
    }

    /// Returns those of an app's names that the status page has.
    pub(super) fn names_of_page(&self, names: &[String]) -> Vec<String> {
        let reserved = self.status_names();
        names.iter().filter(|name| reserved.contains(name)).cloned().collect()
    }

    /// Returns the site; `None` if the page is off. Without a password no user can read it, and where HTTPS has no
    /// certificate, it has no name for other machines.
    pub(in crate::nginx) fn status_site(&self) -> Option<StatusSite> {
        if !self.status.enabled {
            return None;
        }
        let passwords = self.root.status_passwords();
        let mut names = self.page_names();
        let has_certificate = !self.settings.https.is_empty() && self.page_certificate(&names).is_some();
        if !self.settings.https.is_empty() && !has_certificate {
            names.clear();
        }
        Some(StatusSite {
            names,
            dir: self.root.status(),
            passwords: passwords.is_file().then_some(passwords),
            has_certificate,
            acme_root: self.root.acme().join("webroot"),
            limits_attempts: false,
        })
    }

    /// Returns the certificate of the page, if it is for all of these names.
    fn page_certificate(&self, names: &[String]) -> Option<CertificatePair> {
        let pair = AppCertificates::for_status_page(&self.root).read_current();
        pair.filter(|pair| names.iter().all(|name| pair.metadata.names.contains(name)))
    }

    /// Returns the URL of the page, if nginx serves it under a name for other machines.
    pub(crate) fn status_url(&self) -> Option<String> {
        let site = self.status_site()?;
        let name = site.names.first()?;
        let (scheme, listens, usual) = if site.has_certificate {
            ("https", &self.settings.https, 443)
        } else {
            ("http", &self.settings.http, 80)
        };
        let port = listens.first()?.port;
        let port = if port == usual { String::new() } else { format!(":{port}") };
        Some(format!("{scheme}://{name}{port}/"))
    }

    /// Makes sure that the page has a certificate, an authority's or the operator's or else a self-signed one, to
    /// which the links of its names lead. An error costs the page, not the apps. The caller holds the lock of the
    /// files.
    pub(in crate::nginx) fn ensure_status_certificate(&self) {
        let names = self.page_names();
        if self.settings.https.is_empty() || names.is_empty() {
            return;
        }
        if let Err(err) = self.renew_status_certificate(&names) {
            log(&format!("status page: {err:#}"));
        }
    }

    fn renew_status_certificate(&self, names: &[String]) -> anyhow::Result<()> {
        let pairs = AppCertificates::for_status_page(&self.root);
        let links = CertificateLinks::new(&self.root);
        let before = pairs.read_current().map(|pair| pair.metadata.names).unwrap_or_default();
        match self.copy_operator_certificate(&pairs, &names.iter().cloned().collect::<BTreeSet<_>>()) {
            Ok(OperatorCertificate::New(pair)) => pairs.set_current(&pair)?,
            Ok(OperatorCertificate::InUse | OperatorCertificate::Missing) => {}
            Err(err) => log(&format!("status page: {err:#}")),
        }
        let pair = pairs.ensure_for_names("piku status", names, Timestamp::now())?;
        links.add(names, &pairs)?;
        links.remove(before.iter().filter(|name| !names.contains(name)), &pairs)?;
        pairs.remove_unused(&pair.dir)
    }
}
