//! URLs at which nginx serves an app, as seen by the client that asks for them.

use std::net::IpAddr;

use piku_layout::settings::ListenAddress;
use piku_procfile::render::nginx::DEFAULT_NAME;
use serde::{Deserialize, Serialize};

use crate::nginx::WebServer;
use crate::nginx::site::names::{hostname, machine_address};

/// Names and URLs of an app's site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SiteUrls {
    /// URLs with host names.
    pub(crate) named: Vec<String>,
    /// The app gets all requests for names that no app has: scheme and port of its URLs, and the address if
    /// nginx does not listen on all.
    pub(crate) default: Option<DefaultUrl>,
    /// The host has assigned the names, and other machines may not be able to resolve them.
    pub(crate) is_address_better: bool,
    /// Browsers warn about its certificate.
    pub(crate) is_self_signed: bool,
}

/// Parts of the URL of the app that gets all requests for names that no app has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DefaultUrl {
    scheme: String,
    /// `:8080`, or empty.
    port: String,
    address: Option<IpAddr>,
}

impl SiteUrls {
    /// Returns the URLs, the best one first, for a client that reaches this machine at `address`.
    pub(crate) fn list(&self, address: Option<IpAddr>) -> Vec<String> {
        let mut urls = self.named.clone();
        if let Some(default) = self.default.as_ref().filter(|_| urls.is_empty() || self.is_address_better) {
            urls.insert(0, default.url(address));
        }
        urls
    }
}

impl SiteUrls {
    /// Returns the URL for names that no app has, for a client that reaches this machine at `address`.
    pub(crate) fn default_url(&self, address: Option<IpAddr>) -> Option<String> {
        self.default.as_ref().map(|default| default.url(address))
    }
}

impl DefaultUrl {
    fn url(&self, address: Option<IpAddr>) -> String {
        let host = match self.address.or(address).or_else(machine_address) {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(IpAddr::V4(address)) => address.to_string(),
            None => hostname(),
        };
        format!("{}://{host}{}", self.scheme, self.port)
    }
}

impl WebServer {
    /// Returns the URLs of a site with these names. Names that the host has assigned get HTTPS only with a
    /// certificate that browsers trust.
    pub(in crate::nginx) fn site_urls(
        &self,
        names: &[String],
        is_assigned: bool,
        has_https: bool,
        is_self_signed: bool,
    ) -> SiteUrls {
        let is_https = has_https && !(is_assigned && is_self_signed);
        let (scheme, listens, usual) =
            if is_https { ("https", &self.settings.https, 443) } else { ("http", &self.settings.http, 80) };
        let listen = listens.first().copied().unwrap_or(ListenAddress { address: None, port: usual });
        let port = if listen.port == usual { String::new() } else { format!(":{}", listen.port) };
        let is_name = |name: &&String| *name != DEFAULT_NAME && !name.starts_with("*.");
        let urls = names.iter().filter(is_name).map(|name| format!("{scheme}://{name}{port}")).collect();
        let is_default = names.iter().any(|name| name == DEFAULT_NAME);
        let address = listen.address.filter(|address| !address.is_unspecified());
        let default =
            is_default.then(|| DefaultUrl { scheme: scheme.to_owned(), port: port.clone(), address });
        SiteUrls {
            named: urls,
            default,
            is_address_better: is_assigned && !self.is_domain_public(),
            is_self_signed: is_https && is_self_signed,
        }
    }
}
