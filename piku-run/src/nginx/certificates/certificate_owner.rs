//! Owners of certificates: an app, or the status page of the host.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_procfile::render::nginx::DEFAULT_NAME;
use piku_report::user_error::UserError;

use super::app_certificates::{AppCertificates, CertificatePair};
use crate::app_request;
use crate::ipc::protocol::SupervisorRequest;
use crate::nginx::WebServer;
use crate::nginx::front::FrontSite;

/// An owner of certificates.
#[derive(Debug, Clone, Copy)]
pub(super) enum CertificateOwner<'a> {
    App(&'a AppName),
    StatusPage,
}

impl fmt::Display for CertificateOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(app) => app.fmt(f),
            Self::StatusPage => f.write_str("status page"),
        }
    }
}

impl<'a> CertificateOwner<'a> {
    pub(super) fn app(self) -> Option<&'a AppName> {
        match self {
            Self::App(app) => Some(app),
            Self::StatusPage => None,
        }
    }

    /// Returns the name under which certbot stores the certificate. No app has the name of the page.
    pub(super) fn store_name(self) -> &'a str {
        self.app().map_or("_status", AppName::as_str)
    }

    pub(super) fn pairs(self, root: &PikuRoot) -> AppCertificates {
        match self {
            Self::App(app) => AppCertificates::for_app(root, app),
            Self::StatusPage => AppCertificates::for_status_page(root),
        }
    }

    /// Returns the host names that nginx serves.
    pub(super) fn names(self, web: &WebServer) -> anyhow::Result<BTreeSet<String>> {
        let Self::App(app) = self else { return Ok(web.page_names().into_iter().collect()) };
        let Some(site) = web.dir.read_metadata(app).filter(|_| web.dir.has_app_conf(app)) else {
            return Err(UserError::new("nginx does not serve the app")
                .hint("set NGINX_SERVER_NAME and push it")
                .into());
        };
        Ok(site.names.into_iter().filter(|name| name != DEFAULT_NAME).collect())
    }

    /// Puts a new certificate into use. If nginx does not accept it, the one before stays.
    pub(super) fn use_certificate(
        self,
        web: &WebServer,
        pair: &CertificatePair,
        before: Option<CertificatePair>,
    ) -> anyhow::Result<()> {
        let pairs = self.pairs(&web.root);
        pairs.set_current(pair)?;
        let Self::App(app) = self else {
            // nginx reads it at the next handshake, unless the page has had none.
            if before.is_none() {
                web.ask_to_reload();
            }
            return pairs.remove_unused(&pair.dir);
        };
        let applied = match FrontSite::find(&web.root, app)? {
            Some(front) => front.apply(),
            None => app_request::ask(&web.root, app, &SupervisorRequest::Route).map(drop),
        };
        if let Err(err) = applied {
            if let Some(before) = before {
                pairs.set_current(&before)?;
            }
            return Err(err).context("the new certificate is not in use");
        }
        Ok(())
    }
}
