//! Renders the `nginx.conf` of an instance that runs without root and uses one directory only. It includes
//! the files of the apps and responds to requests for unknown hosts and for the status page.

mod status_site;

use std::path::{Path, PathBuf};

use anyhow::bail;
use indexmap::IndexSet;
use piku_layout::settings::ListenAddress;

use super::DEFAULT_NAME;
use super::config_writer::NginxConfigFile;
use super::error_pages;
use super::forwarded::front;
use super::host_name::DEFAULT_PATTERN;
use super::paths::to_nginx_path;
use super::server::TLS_VERSIONS;
use super::settings::unique_sockets;
pub use status_site::{StatusSite, TUNNEL_NAME};

/// Settings of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxInstance {
    /// Absolute path of the directory with the pid file, the logs, the temporary files and `apps/*.conf`.
    pub dir: PathBuf,
    /// Addresses on which the apps listen for HTTP.
    pub listen: Vec<ListenAddress>,
    /// Addresses on which the apps listen for HTTPS.
    pub listen_tls: Vec<ListenAddress>,
    /// Listen on IPv6 too.
    pub ipv6: bool,
    /// Certificate and key for HTTPS requests to unknown hosts, for an nginx older than 1.19.4, which
    /// cannot reject a handshake. nginx closes the connection after the handshake.
    pub default_certificate: Option<(PathBuf, PathBuf)>,
    /// Directory with the links to the certificates of the apps whose files name none. nginx reads them at each
    /// handshake; a worker process must be able to read the keys.
    pub certificate_links: Option<PathBuf>,
    /// Arguments of `listen` in files of apps that were rendered for other addresses. Apps that inherit the
    /// certificate need it on these sockets too.
    pub earlier_tls_sockets: Vec<String>,
    /// Maximum number of connections per worker process, including those to the apps.
    pub connections: u32,
    /// HTML file for requests to unknown hosts, in place of piku's.
    pub unknown_host_page: Option<PathBuf>,
    /// Seconds for which old worker processes may finish their requests after a reload.
    pub shutdown_timeout: u32,
    /// Page with the state of the machine; `None` if it is not served.
    pub status: Option<StatusSite>,
}

/// Content types by file extension. The path of nginx's own list depends on its package.
#[rustfmt::skip]
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("text/html", "html htm"), ("text/css", "css"), ("text/javascript", "js mjs"), ("text/plain", "txt log"),
    ("text/markdown", "md"), ("text/csv", "csv"), ("text/calendar", "ics"), ("text/vtt", "vtt"), ("text/xml", "xml xsl"),
    ("application/json", "json map"), ("application/ld+json", "jsonld"), ("application/geo+json", "geojson"),
    ("application/manifest+json", "webmanifest"), ("application/atom+xml", "atom"), ("application/rss+xml", "rss"),
    ("application/xhtml+xml", "xhtml"), ("application/wasm", "wasm"), ("application/pdf", "pdf"),
    ("application/zip", "zip"), ("application/gzip", "gz tgz"), ("application/zstd", "zst"), ("application/x-xz", "xz"),
    ("application/x-bzip2", "bz2"), ("application/x-tar", "tar"), ("application/x-7z-compressed", "7z"),
    ("application/vnd.debian.binary-package", "deb"), ("application/x-rpm", "rpm"), ("application/java-archive", "jar war"),
    ("application/rtf", "rtf"), ("application/epub+zip", "epub"), ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"), ("application/vnd.ms-powerpoint", "ppt"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
    ("application/vnd.oasis.opendocument.text", "odt"), ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("image/png", "png"), ("image/jpeg", "jpg jpeg"), ("image/gif", "gif"), ("image/webp", "webp"), ("image/avif", "avif"),
    ("image/svg+xml", "svg svgz"), ("image/x-icon", "ico"), ("image/bmp", "bmp"), ("image/tiff", "tif tiff"),
    ("font/woff", "woff"), ("font/woff2", "woff2"), ("font/ttf", "ttf"), ("font/otf", "otf"),
    ("application/vnd.ms-fontobject", "eot"), ("audio/mpeg", "mp3"), ("audio/ogg", "ogg oga opus"), ("audio/mp4", "m4a"),
    ("audio/wav", "wav"), ("audio/flac", "flac"), ("audio/midi", "mid midi"), ("video/mp4", "mp4 m4v"),
    ("video/webm", "webm"), ("video/ogg", "ogv"), ("video/quicktime", "mov"), ("video/x-matroska", "mkv"),
    ("video/mp2t", "ts"), ("application/vnd.apple.mpegurl", "m3u8"),
];

/// Content types that compress well enough for the CPU of a Pi. nginx always compresses text/html.
const COMPRESSED_TYPES: [&str; 10] = [
    "text/css",
    "text/javascript",
    "application/javascript",
    "text/plain",
    "text/xml",
    "application/json",
    "application/manifest+json",
    "application/atom+xml",
    "application/rss+xml",
    "image/svg+xml",
];

impl NginxInstance {
    /// Renders the file.
    ///
    /// # Errors
    /// Fails if nginx does not support one of the paths.
    pub fn render(&self) -> anyhow::Result<String> {
        let dir = to_nginx_path(Some(&self.dir), "--main")?.unwrap_or_default();
        let dir = dir.trim_end_matches('/');
        if dir.contains(['*', '?', '[']) {
            bail!("--main: '{dir}': nginx reads '*', '?' and '[' as a pattern");
        }
        let at = |name: &str| format!("{dir}/{name}");
        let certificate = match &self.default_certificate {
            Some((certificate, key)) => {
                to_nginx_path(Some(certificate), "the certificate")?.zip(to_nginx_path(Some(key), "its key")?)
            }
            None => None,
        };
        let links = self.certificate_links.as_deref().map(linked_files).transpose()?;
        let page = to_nginx_path(self.unknown_host_page.as_deref(), "the page")?;
        let mut to = NginxConfigFile::default();
        to.add_comment("generated by piku-procfile render nginx --main; do not edit");
        to.add(&["pid", &at("nginx.pid")]);
        // A warning for each upload that does not fit into memory is noise.
        to.add(&["error_log", &at("error.log"), "error"]);
        to.add(&["worker_processes", "auto"]);
        to.add(&["worker_shutdown_timeout", &format!("{}s", self.shutdown_timeout)]);
        // The JIT does not count the steps of a pattern exactly.
        to.add(&["pcre_jit", "off"]);
        // A request may also have a file open.
        to.add(&["worker_rlimit_nofile", &self.connections.saturating_mul(2).to_string()]);
        to.add_block(&["events"], |to| to.add(&["worker_connections", &self.connections.to_string()]));
        let mut status = Ok(());
        to.add_block(&["http"], |to| {
            to.add(&["access_log", &at("access.log"), "combined", "buffer=16k", "flush=1s"]);
            for (directive, name) in [
                ("client_body_temp_path", "body"),
                ("proxy_temp_path", "proxy"),
                ("fastcgi_temp_path", "fastcgi"),
                ("uwsgi_temp_path", "uwsgi"),
                ("scgi_temp_path", "scgi"),
            ] {
                to.add(&[directive, &at(name)]);
            }
            to.add(&["server_tokens", "off"]);
            to.add(&["sendfile", "on"]);
            to.add(&["tcp_nopush", "on"]);
            to.add(&["reset_timedout_connection", "on"]);
            // A line of a request, such as all its cookies, may have the size of one buffer.
            to.add(&["large_client_header_buffers", "4", "32k"]);
            // A connection whose header is not complete is counted for no app, and occupies one of the worker.
            to.add(&["client_header_timeout", "20s"]);
            // A proxied request needs some 11 kB, which otherwise are several allocations. Unused pages of it take no memory.
            to.add(&["request_pool_size", "16k"]);
            // The part of a response that is stored for a slow client; the rest waits in the app.
            to.add(&["proxy_max_temp_file_size", "64m"]);
            to.add(&TLS_VERSIONS);
            to.add(&["ssl_session_cache", "shared:piku:4m"]);
            to.add(&["ssl_session_timeout", "1d"]);
            // For many and long host names.
            to.add(&["server_names_hash_max_size", "65536"]);
            to.add(&["server_names_hash_bucket_size", "512"]);
            to.add(&["map_hash_bucket_size", "256"]);
            to.add(&["map_hash_max_size", "16384"]);
            to.add(&["variables_hash_max_size", "8192"]);
            to.add(&["variables_hash_bucket_size", "256"]);
            to.add(&["proxy_headers_hash_bucket_size", "128"]);
            to.add(&["types_hash_max_size", "4096"]);
            to.add(&["gzip", "on"]);
            to.add(&["gzip_vary", "on"]);
            to.add(&["gzip_min_length", "1024"]);
            let words: Vec<&str> = std::iter::once("gzip_types").chain(COMPRESSED_TYPES).collect();
            to.add(&words);
            to.add(&["default_type", "application/octet-stream"]);
            to.add_block(&["types"], |to| {
                for (kind, ends) in CONTENT_TYPES {
                    let words: Vec<&str> = std::iter::once(*kind).chain(ends.split(' ')).collect();
                    to.add(&words);
                }
            });
            self.add_default_servers(certificate.as_ref(), links.as_ref(), page.as_deref(), to);
            if let Some(site) = &self.status {
                let [plain, tls] =
                    [&self.listen, &self.listen_tls].map(|listens| unique_sockets(listens, self.ipv6));
                let port = self.listen_tls.first().map(|listen| listen.port);
                status = site.add_servers(&plain, &tls, port, links.as_ref(), to);
            }
            to.add(&["include", &at("apps/*.conf")]);
        });
        status?;
        Ok(to.finish())
    }

    /// Adds the servers for unknown hosts, which must be the first ones. They have no `default_server`, because
    /// the app for all names has it: no name tells nginx that a browser has asked for an address by HTTPS.
    fn add_default_servers(
        &self,
        certificate: Option<&(String, String)>,
        links: Option<&(String, String)>,
        page: Option<&str>,
        to: &mut NginxConfigFile<'_>,
    ) {
        let plain = unique_sockets(&self.listen, self.ipv6);
        let mut tls: IndexSet<String> = unique_sockets(&self.listen_tls, self.ipv6).into_iter().collect();
        tls.extend(self.earlier_tls_sockets.iter().cloned());
        if !plain.is_empty() {
            to.add_block(&["server"], |to| {
                for socket in &plain {
                    to.add(&["listen", socket]);
                }
                to.add(&["server_name", "_"]);
                to.add(&["root", "/nonexistent"]);
                error_pages::add_unknown_host(page, to);
            });
            front::add_unknown_keys(&plain, to);
        }
        if !tls.is_empty() {
            to.add_block(&["server"], |to| {
                for socket in &tls {
                    to.add(&["listen", socket, "ssl"]);
                }
                to.add(&["server_name", "_"]);
                if let Some((certificate, key)) = links.or(certificate) {
                    to.add(&["ssl_certificate", certificate]);
                    to.add(&["ssl_certificate_key", key]);
                }
                // No certificate is valid for an unknown host.
                match certificate {
                    Some(_) => to.add(&["return", "444"]),
                    None => to.add(&["ssl_reject_handshake", "on"]),
                }
            });
        }
    }
}

/// Returns the name of the link to the pair of a host name; the pair is a directory with `certificate.pem` and
/// `key.pem`. nginx uses the first name of the server that a client asks for, so a client cannot choose a path.
#[must_use]
pub fn certificate_link(name: &str) -> &str {
    if name == DEFAULT_NAME { DEFAULT_PATTERN } else { name }
}

/// Returns the paths of the certificate and of the key behind the links, with a variable for the host name.
pub(super) fn linked_files(links: &Path) -> anyhow::Result<(String, String)> {
    let links = to_nginx_path(Some(links), "the links to certificates")?.unwrap_or_default();
    let links = links.trim_end_matches('/');
    Ok((format!("{links}/$server_name/certificate.pem"), format!("{links}/$server_name/key.pem")))
}
