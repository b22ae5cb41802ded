//! Renders the nginx server block of an app, and the `nginx.conf` of an instance that runs without root.
//! The variables of an app are parsed once into a [`VirtualHost`]; the writers use no other text of the
//! app.
//!
//! All apps share one nginx that runs as piku's user, so it could read the files and secrets of every app.
//! Therefore directories must be in the app's tree or data, nginx follows no symlinks in them, an app may
//! only use some directives, and the operator decides on which addresses an app listens.

mod config_writer;
mod content;
mod error_pages;
mod forwarded;
mod host_name;
mod include;
mod instance;
mod moved_paths;
pub(crate) mod paths;
mod proxy_buffers;
mod proxy_headers;
mod server;
mod settings;
mod shared_settings;
mod site_location;
mod streaming;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use config_writer::source_of_line;
pub use error_pages::{OperatorPages, SiteClosure};
pub use host_name::{HostName, UpstreamAddress};
pub(crate) use include::allowed_directives;
pub use instance::{NginxInstance, StatusSite, TUNNEL_NAME, certificate_link};
pub(crate) use settings::known::VARIABLES_HELP;
pub use settings::trusted_proxies::check_trusted_proxy;
pub use shared_settings::{add_missing_variables, render_shared_settings};

use indexmap::IndexSet;
use piku_layout::front_key::FrontKey;
use piku_layout::name::AppName;
use piku_layout::settings::ListenAddress;
use piku_report::diagnostic::Diagnostic;

use super::app_values::{AppValues, ValuesReader};
use error_pages::ErrorPages;
use include::IncludeFile;
use paths::PathPrefix;
use proxy_buffers::ProxyBuffers;
use settings::basic_auth::PasswordFile;
use settings::directives::SettingDirectives;
use settings::path_redirects::PathRedirect;
use settings::redirects::{HostRedirect, redirected_names};
use settings::site_headers::SiteHeader;
use settings::trusted_proxies::TrustedProxies;
use streaming::StreamSettings;

/// Syntax that enables HTTP/2 on HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Http2Syntax {
    /// As a parameter of `listen`, which every nginx accepts; 1.25.1 and later warn that it is deprecated
    #[default]
    Listen,
    /// With the directive `http2` of nginx 1.25.1 and later
    On,
    /// No HTTP/2
    Off,
}

/// Settings of the caller, which no app can change. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderSettings {
    /// Its name is part of every zone, upstream and variable.
    pub app: AppName,
    /// All instances that serve HTTP.
    pub upstreams: Vec<UpstreamAddress>,
    /// Built app tree, `/app` in the jail.
    pub root: Option<PathBuf>,
    /// Data directory of the app, `/data` in the jail.
    pub data: Option<PathBuf>,
    /// Addresses for HTTP.
    pub listen: Vec<ListenAddress>,
    /// Addresses for HTTPS, used if there is a certificate.
    pub listen_tls: Vec<ListenAddress>,
    /// Listen on IPv6 too.
    pub ipv6: bool,
    /// Certificate with its chain, and its private key.
    pub certificate: Option<SiteCertificate>,
    /// Directory in which an ACME client writes `.well-known/acme-challenge/TOKEN`.
    pub acme_root: Option<PathBuf>,
    /// Directory for the cached responses of all apps.
    pub cache: Option<PathBuf>,
    /// Path at which the caller puts the password file.
    pub passwords: Option<PathBuf>,
    /// Directory for the log files of all apps; without it, nginx logs as its main file says.
    pub logs: Option<PathBuf>,
    /// Address ranges of Cloudflare, one per line, in place of the built-in list.
    pub cloudflare: Option<String>,
    /// Depends on the version of nginx.
    pub http2: Http2Syntax,
    /// Respond to every request with 503 and a page that gives the reason.
    pub closure: Option<SiteClosure>,
    /// Pages of the operator.
    pub pages: OperatorPages,
    /// Maximum number of concurrent requests, including websockets. Further requests get a 503, so that no
    /// app takes the connections of the others. `None` for an nginx without `limit_conn`.
    pub connections: Option<u32>,
    /// Proxies in front of all apps whose `X-Forwarded-*` headers are believed: addresses, ranges or
    /// `private`.
    pub trusted_proxies: Vec<String>,
    /// Key of a front on another machine, whose requests are for this app, too.
    pub front: Option<FrontKey>,
    /// Key by which the nginx of other machines recognizes requests of this front; the upstreams are these
    /// machines.
    pub machines: Option<FrontKey>,
    /// True if nginx also reads [`render_shared_settings`]. Otherwise the file depends on no other one.
    pub shares_settings: bool,
}

/// The certificate of an app, and the way in which nginx finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteCertificate {
    /// These files, which nginx reads when it reads its configuration.
    Files {
        /// Certificate with its chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// The pair to which a link in this directory leads, which nginx reads at each handshake: see
    /// [`certificate_link`].
    Linked(PathBuf),
    /// As `Linked`, for an nginx whose main file names the directory for all sockets of the app: see
    /// [`NginxInstance::certificate_links`].
    Inherited(PathBuf),
}

/// The checked configuration of one app's server block.
#[derive(Debug, Clone)]
pub struct VirtualHost {
    app: AppName,
    names: Vec<HostName>,
    sockets: Vec<String>,
    sockets_tls: Vec<String>,
    http2: Http2Syntax,
    tls: Option<TlsFiles>,
    acme_root: Option<String>,
    upstreams: Vec<UpstreamAddress>,
    static_dirs: Vec<StaticDir>,
    catch_all: Option<String>,
    caching: Option<CacheSettings>,
    streams: StreamSettings,
    cloudflare: Option<Vec<String>>,
    trusted: Option<TrustedProxies>,
    redirects: Vec<HostRedirect>,
    path_redirects: Vec<PathRedirect>,
    site_headers: Vec<SiteHeader>,
    directives: SettingDirectives,
    /// Value of `Strict-Transport-Security`.
    hsts: Option<String>,
    /// Idle connections to the instances that each worker process keeps.
    keepalive: u32,
    basic_auth: Option<PasswordFile>,
    logs: Option<SiteLogs>,
    include: IncludeFile,
    /// At the server level, with those of the include file.
    buffers: ProxyBuffers,
    git_reaches_app: bool,
    is_closed: bool,
    pages: ErrorPages,
    connections: Option<u32>,
    front: Option<FrontKey>,
    machines: Option<FrontKey>,
    shares_settings: bool,
    /// Variables that have no effect.
    pub warnings: Vec<Diagnostic>,
}

#[derive(Debug, Clone)]
struct TlsFiles {
    certificate: String,
    key: String,
    /// The main file names them for all sockets.
    is_inherited: bool,
    /// Redirect HTTP to HTTPS.
    is_required: bool,
    /// Port that HTTP is redirected to.
    port: u16,
}

/// Paths of the app's own logs.
#[derive(Debug, Clone)]
struct SiteLogs {
    /// `None` if the app wants no log of its requests.
    access: Option<String>,
    error: String,
}

/// A directory whose files are served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StaticDir {
    prefix: PathPrefix,
    /// Absolute path.
    path: String,
    /// App tree or data directory; nginx follows no symlinks below it.
    top: String,
    /// True below the app's tree, false below its data directory.
    is_in_tree: bool,
    /// True for the app's whole tree, which has its Procfile and ENV.
    is_app_tree: bool,
}

#[derive(Debug, Clone)]
struct CacheSettings {
    prefixes: Vec<PathPrefix>,
    path: String,
    /// In gigabytes.
    size: u32,
    /// This and the following in seconds.
    content: u32,
    redirects: u32,
    any: u32,
    control: u32,
    expiry: u32,
}

/// The host name that stands for all names that no app has.
pub const DEFAULT_NAME: &str = "_";

/// Variable with the host names of an app.
pub const SERVER_NAME: &str = "NGINX_SERVER_NAME";

impl VirtualHost {
    /// Returns true if the app has set host names.
    #[must_use]
    pub fn is_configured(values: &AppValues) -> bool {
        values.has(SERVER_NAME)
    }

    /// Returns the valid host names that the app has set, also those that it redirects. A certificate is
    /// requested for them.
    #[must_use]
    pub fn valid_names(values: &AppValues) -> Vec<HostName> {
        let mut names: IndexSet<HostName> =
            ValuesReader::new(values).items(SERVER_NAME).filter_map(|item| item.parse().ok()).collect();
        names.extend(redirected_names(values));
        names.into_iter().collect()
    }

    /// Returns a warning for each variable that looks like a setting of nginx and is none.
    #[must_use]
    pub fn unknown_settings(values: &AppValues) -> Vec<Diagnostic> {
        let mut read = ValuesReader::new(values);
        settings::known::warn_of_unknown_names(values, &mut read);
        read.finish().unwrap_or_default()
    }

    /// Returns the host names of the server block.
    #[must_use]
    pub fn names(&self) -> &[HostName] {
        &self.names
    }

    /// Returns true if the app is served by HTTPS.
    #[must_use]
    pub fn has_https(&self) -> bool {
        self.tls.is_some()
    }

    /// Renders the configuration of the app, for the `http` block.
    #[must_use]
    pub fn server_file(&self) -> String {
        server::render_server(self)
    }

    /// Renders the password file, if the app uses basic authentication. The file may contain passwords in
    /// plain text.
    #[must_use]
    pub fn password_file(&self) -> Option<String> {
        let file = self.basic_auth.as_ref()?;
        Some(file.lines.join("\n") + "\n")
    }
}
