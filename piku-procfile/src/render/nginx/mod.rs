//! One app's file for nginx, and the `nginx.conf` of an instance that needs no root. What the app has set is read once into
//! a [`VirtualHost`]; from there on nothing is text of the app's own.
//!
//! All apps share one nginx, and it runs as piku's own user: it could read every app's files and secrets. So folders lie in
//! the app's own tree or data and are served without following a link; the app's own lines are a chosen set of directives;
//! an app listens where the operator says.

mod cloudflare;
mod config;
mod host;
pub(crate) mod include;
mod instance;
mod pattern;
mod places;
mod read;
mod server;
mod syntax;
#[cfg(test)]
mod tests;
mod users;

use std::path::PathBuf;

pub use host::HostName;
pub use instance::NginxInstance;
pub use places::UpstreamAddress;

use super::values::{AppValues, ValuesReader};
use include::IncludeFile;
use piku_layout::name::AppName;
use piku_layout::settings::ListenAddress;
use piku_report::diagnostic::Diagnostic;
use places::PathPrefix;
use users::PasswordUsers;

/// How nginx is told to speak HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Http2Syntax {
    /// As a word of `listen`: every nginx takes it; 1.25.1 and newer say that it is old
    #[default]
    Listen,
    /// As a directive of its own: nginx 1.25.1 and newer
    On,
    /// Not at all
    Off,
}

/// What the caller decides, and no app. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderSettings {
    /// The app.
    pub app: AppName,
    /// All instances that answer HTTP.
    pub upstreams: Vec<UpstreamAddress>,
    /// The built tree, `/app` to the app.
    pub root: Option<PathBuf>,
    /// The app's own files, `/data` to the app.
    pub data: Option<PathBuf>,
    /// Where HTTP is listened for.
    pub listen: Vec<ListenAddress>,
    /// Where HTTPS is listened for, when there is a certificate.
    pub listen_tls: Vec<ListenAddress>,
    /// Whether IPv6 is to be had.
    pub ipv6: bool,
    /// The certificate with its chain, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The folder in which an ACME client puts its answers, as `.well-known/acme-challenge/TOKEN`.
    pub acme_root: Option<PathBuf>,
    /// The folder for cached answers; the app's own are below it.
    pub cache: Option<PathBuf>,
    /// Where the file with names and passwords is going to be.
    pub passwords: Option<PathBuf>,
    /// Who is Cloudflare, when not those known here.
    pub cloudflare: Option<String>,
    /// How to speak HTTP/2.
    pub http2: Http2Syntax,
    /// Whether all requests are answered with 503.
    pub maintenance: bool,
    /// The largest number of requests to the app at once, websockets among them; further ones are answered with 503, so that
    /// no app uses up the connections of all. `None` for an nginx that cannot count them.
    pub connections: Option<u32>,
}

/// An app as nginx serves it: everything checked.
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
    folders: Vec<StaticFolder>,
    catch_all: Option<String>,
    caching: Option<CacheSettings>,
    cloudflare: Option<Vec<String>>,
    users: Option<PasswordUsers>,
    include: IncludeFile,
    git_reaches_app: bool,
    maintenance: bool,
    connections: Option<u32>,
    /// What the app's author should look at.
    pub warnings: Vec<Diagnostic>,
}

#[derive(Debug, Clone)]
struct TlsFiles {
    certificate: String,
    key: String,
    /// Whether HTTP is only redirected.
    only: bool,
    /// Where HTTP is redirected to.
    port: u16,
}

/// A folder whose files are served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StaticFolder {
    prefix: PathPrefix,
    /// Absolute.
    path: String,
    /// What holds it: links are not followed below.
    top: String,
    /// Whether it is the app's whole tree, with its Procfile and ENV.
    whole: bool,
}

#[derive(Debug, Clone)]
struct CacheSettings {
    prefixes: Vec<PathPrefix>,
    path: String,
    /// In GB.
    size: u32,
    /// All in seconds.
    content: u32,
    redirects: u32,
    any: u32,
    control: u32,
    expiry: u32,
}

const SERVER_NAME: &str = "NGINX_SERVER_NAME";

impl VirtualHost {
    /// Whether the app asks to be served under a name of its own.
    #[must_use]
    pub fn is_wanted(values: &AppValues) -> bool {
        values.has(SERVER_NAME)
    }

    /// The names that the app asks for, those that are no good left out: what a certificate is to be for.
    #[must_use]
    pub fn names_of(values: &AppValues) -> Vec<HostName> {
        let mut names: Vec<HostName> =
            ValuesReader::new(values).items(SERVER_NAME).filter_map(|item| item.parse().ok()).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// The names under which it is served, as they are in the file.
    #[must_use]
    pub fn names(&self) -> &[HostName] {
        &self.names
    }

    /// Whether it is served by HTTPS, and whether by nothing else.
    #[must_use]
    pub fn https(&self) -> (bool, bool) {
        (self.tls.is_some(), self.tls.as_ref().is_some_and(|tls| tls.only))
    }

    /// The app's file, for nginx' `http` block.
    #[must_use]
    pub fn server_file(&self) -> String {
        server::render(self)
    }

    /// The file with names and passwords, when the app wants one. It is as secret as they are.
    #[must_use]
    pub fn password_file(&self) -> Option<String> {
        let users = self.users.as_ref()?;
        Some(users.lines.join("\n") + "\n")
    }
}
