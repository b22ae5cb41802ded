//! The way clients reach an app, and the lines of a deploy about it.

use std::net::IpAddr;

use piku_layout::name::AppName;

use super::site::urls::SiteUrls;

/// The way an app is reached over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SiteReachability {
    /// The app has no host name.
    Unnamed,
    /// The app has no host name, and the host has none for it.
    Nameless,
    /// The app sets a name, and nginx does not serve it: the reason and a hint.
    Unserved(&'static str, &'static str),
    /// nginx serves the app at these URLs.
    Served(SiteUrls),
}

impl SiteReachability {
    /// Returns the URLs at which nginx serves the app, for a client that reaches this machine at `address`.
    pub(crate) fn urls(&self, address: Option<IpAddr>) -> Vec<String> {
        match self {
            Self::Served(urls) => urls.list(address),
            Self::Unnamed | Self::Nameless | Self::Unserved(..) => Vec::new(),
        }
    }

    /// Returns why others cannot open the app, or what browsers say when they do.
    pub(crate) fn problem(&self, app: &AppName) -> Option<String> {
        match self {
            Self::Unserved(why, hint) => Some(format!("NGINX_SERVER_NAME is set, but {why} ({hint})")),
            Self::Nameless => Some(format!(
                "other machines reach it once it has a name: piku domains:add {app} NAME (or 'domain:' in host.yaml)"
            )),
            Self::Served(urls) => urls.is_self_signed.then(|| {
                format!(
                    "its certificate is self-signed, so browsers warn: 'piku certs {app}' shows what to do"
                )
            }),
            Self::Unnamed => None,
        }
    }
}
