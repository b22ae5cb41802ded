//! The servers of the status page. They stand before the files of the apps, so that nginx prefers them to an app
//! with the same name.

use std::path::PathBuf;

use crate::render::nginx::config_writer::NginxConfigFile;
use crate::render::nginx::paths::to_nginx_path;
use crate::render::nginx::server::add_acme_challenges;

/// Host name of the page for a tunnel (`ssh -L 8080:127.0.0.1:80`): browsers resolve it to their own machine.
pub const TUNNEL_NAME: &str = "status.localhost";

/// Zone of `limit_req` for requests with a password, which is checked slowly, on purpose: a reader and a scraper need a
/// few a minute.
const ATTEMPTS: &str = "piku_attempts";

/// Answer as long as no reader has a password.
const NO_PASSWORD: &str = "The status page has no password yet. On the server: sudo piku status:password\n";

/// The page and who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSite {
    /// Host names, beside [`TUNNEL_NAME`].
    pub names: Vec<String>,
    /// Directory with the page, `index.html`, and the metrics, `metrics`.
    pub dir: PathBuf,
    /// File with the names and hashed passwords of those who may read it; `None` if there are none.
    pub passwords: Option<PathBuf>,
    /// [`super::NginxInstance::certificate_links`] has a certificate for each name.
    pub has_certificate: bool,
    /// Directory in which an ACME client writes `.well-known/acme-challenge/TOKEN`.
    pub acme_root: PathBuf,
    /// Limit the requests with a password from one address; nginx may lack the module.
    pub limits_attempts: bool,
}

/// Paths as nginx reads them, and what is limited.
struct SitePaths {
    limits_attempts: bool,
    dir: String,
    passwords: Option<String>,
}

impl StatusSite {
    /// Adds the servers for these sockets. With a certificate, requests by HTTP are redirected: a password is not
    /// sent in the clear. The name for a tunnel is served to this machine only.
    pub(super) fn add_servers(
        &self,
        plain: &[String],
        tls: &[String],
        tls_port: Option<u16>,
        links: Option<&(String, String)>,
        to: &mut NginxConfigFile<'_>,
    ) -> anyhow::Result<()> {
        let paths = SitePaths {
            limits_attempts: self.limits_attempts,
            dir: to_nginx_path(Some(&self.dir), "the status page")?.unwrap_or_default(),
            passwords: to_nginx_path(self.passwords.as_deref(), "its passwords")?,
        };
        let acme = to_nginx_path(Some(&self.acme_root), "the ACME challenges")?.unwrap_or_default();
        let certificate = links.filter(|_| self.has_certificate && !tls.is_empty());
        let names: Vec<&str> =
            std::iter::once("server_name").chain(self.names.iter().map(String::as_str)).collect();
        if self.limits_attempts {
            let key = format!("${ATTEMPTS}");
            to.add_block(&["map", "$http_authorization", &key], |to| {
                to.add(&["", ""]);
                to.add(&["default", "$binary_remote_addr"]);
            });
            to.add(&["limit_req_zone", &key, &format!("zone={ATTEMPTS}:1m"), "rate=30r/m"]);
        }
        if !plain.is_empty() {
            to.add_block(&["server"], |to| {
                add_listen(plain, &[], to);
                to.add(&["server_name", TUNNEL_NAME]);
                for address in ["127.0.0.1", "::1"] {
                    to.add(&["allow", address]);
                }
                to.add(&["deny", "all"]);
                add_content(&paths, to);
            });
        }
        if self.names.is_empty() {
            return Ok(());
        }
        if !plain.is_empty() {
            to.add_block(&["server"], |to| {
                add_listen(plain, &[], to);
                to.add(&names);
                add_acme_challenges(&acme, to);
                if certificate.is_some() {
                    let port = tls_port.filter(|port| *port != 443);
                    let port = port.map_or_else(String::new, |port| format!(":{port}"));
                    let target = format!("https://$host{port}$request_uri");
                    to.add_block(&["location", "/"], |to| to.add(&["return", "301", &target]));
                } else {
                    add_content(&paths, to);
                }
            });
        }
        if let Some((certificate, key)) = certificate {
            to.add_block(&["server"], |to| {
                add_listen(tls, &["ssl"], to);
                to.add(&names);
                to.add(&["ssl_certificate", certificate]);
                to.add(&["ssl_certificate_key", key]);
                add_content(&paths, to);
            });
        }
        Ok(())
    }
}

fn add_listen(sockets: &[String], parameters: &[&str], to: &mut NginxConfigFile<'_>) {
    for socket in sockets {
        let words: Vec<&str> = ["listen", socket].into_iter().chain(parameters.iter().copied()).collect();
        to.add(&words);
    }
}

/// Adds the page and the metrics behind the passwords. All else in the directory, such as the passwords themselves,
/// is not found. Without a password nothing is.
fn add_content(paths: &SitePaths, to: &mut NginxConfigFile<'_>) {
    to.add(&["access_log", "off"]);
    add_headers(to);
    let Some(passwords) = &paths.passwords else {
        to.add(&["root", "/nonexistent"]);
        to.add_block(&["location", "/"], |to| {
            to.add(&["default_type", "text/plain"]);
            to.add(&["return", "503", NO_PASSWORD]);
        });
        return;
    };
    to.add(&["root", &paths.dir]);
    to.add(&["absolute_redirect", "off"]);
    if paths.limits_attempts {
        to.add(&["limit_req", &format!("zone={ATTEMPTS}"), "burst=30", "nodelay"]);
        to.add(&["limit_req_status", "429"]);
        to.add(&["limit_req_log_level", "info"]);
    }
    to.add(&["auth_basic", "piku status"]);
    to.add(&["auth_basic_user_file", passwords]);
    to.add_block(&["location", "/"], |to| to.add(&["return", "404"]));
    to.add_block(&["location", "=", "/"], |to| to.add(&["try_files", "/index.html", "=503"]));
    to.add_block(&["location", "=", "/live"], |to| {
        add_headers(to);
        to.add(&["add_header", "Refresh", "60"]);
        to.add(&["try_files", "/index.html", "=503"]);
    });
    to.add_block(&["location", "=", "/metrics"], |to| {
        to.add(&["default_type", "application/openmetrics-text; version=1.0.0; charset=utf-8"]);
        to.add(&["try_files", "/metrics", "=503"]);
    });
}

fn add_headers(to: &mut NginxConfigFile<'_>) {
    for (name, value) in [
        ("Content-Security-Policy", "frame-ancestors 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Robots-Tag", "noindex"),
        ("Cache-Control", "no-store"),
    ] {
        to.add(&["add_header", name, value, "always"]);
    }
}
