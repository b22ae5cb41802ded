//! The `nginx.conf` of an instance of one's own: no root, nothing outside of one folder, the apps' files included, and an
//! answer to whoever asks for a host that no app has.

use std::path::PathBuf;

use anyhow::anyhow;
use piku_layout::settings::ListenAddress;

use super::config::NginxConfigFile;
use super::places::text_of;

/// What the caller decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxInstance {
    /// Holds everything: the pid, the logs, the temporary files, and `apps/*.conf`. Absolute.
    pub dir: PathBuf,
    /// Where the apps listen for HTTP.
    pub listen: Vec<ListenAddress>,
    /// Where the apps listen for HTTPS.
    pub listen_tls: Vec<ListenAddress>,
    /// Whether IPv6 is to be had.
    pub ipv6: bool,
    /// A certificate and its key for an nginx older than 1.19.4, which cannot refuse a handshake: whoever asks by HTTPS for a host
    /// that no app has is shown this one, and cut off.
    pub stranger_certificate: Option<(PathBuf, PathBuf)>,
    /// The largest number of connections of each worker process, those to the apps among them.
    pub connections: u32,
    /// For how many seconds the old processes finish their requests after a reload.
    pub shutdown_timeout: u32,
}

/// What the file's end says of its content; nginx' own list is where its package has it.
#[rustfmt::skip]
const TYPES: &[(&str, &str)] = &[
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

/// What is worth a Pi's time to compress; text/html always is.
const COMPRESSED: [&str; 10] = [
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
    /// The whole file.
    ///
    /// # Errors
    /// When the folder's path cannot stand in the file.
    pub fn file(&self) -> anyhow::Result<String> {
        let dir = text_of(&self.dir, "--main").map_err(|message| anyhow!(message))?;
        let dir = dir.trim_end_matches('/');
        if dir.contains(['*', '?', '[']) {
            return Err(anyhow!("--main: '{dir}': nginx would take '*', '?' and '[' for a pattern"));
        }
        let at = |name: &str| format!("{dir}/{name}");
        let certificate = self.certificate().map_err(|message| anyhow!(message))?;
        let mut to = NginxConfigFile::default();
        to.comment("made by piku-procfile render nginx --main; a change here is lost");
        to.put(&["pid", &at("nginx.pid")]);
        to.put(&["error_log", &at("error.log"), "warn"]);
        to.put(&["worker_processes", "auto"]);
        to.put(&["worker_shutdown_timeout", &format!("{}s", self.shutdown_timeout)]);
        // The steps of a pattern are counted exactly only without it.
        to.put(&["pcre_jit", "off"]);
        // Files that are sent, too.
        to.put(&["worker_rlimit_nofile", &self.connections.saturating_mul(2).to_string()]);
        to.block(&["events"], |to| to.put(&["worker_connections", &self.connections.to_string()]));
        to.block(&["http"], |to| {
            to.put(&["access_log", &at("access.log"), "combined"]);
            for (directive, name) in [
                ("client_body_temp_path", "body"),
                ("proxy_temp_path", "proxy"),
                ("fastcgi_temp_path", "fastcgi"),
                ("uwsgi_temp_path", "uwsgi"),
                ("scgi_temp_path", "scgi"),
            ] {
                to.put(&[directive, &at(name)]);
            }
            to.put(&["server_tokens", "off"]);
            to.put(&["sendfile", "on"]);
            to.put(&["tcp_nopush", "on"]);
            to.put(&["reset_timedout_connection", "on"]);
            to.put(&["ssl_session_cache", "shared:piku:4m"]);
            to.put(&["ssl_session_timeout", "1d"]);
            // Room for many and long host names.
            to.put(&["server_names_hash_max_size", "65536"]);
            to.put(&["server_names_hash_bucket_size", "512"]);
            to.put(&["map_hash_bucket_size", "256"]);
            to.put(&["variables_hash_max_size", "8192"]);
            to.put(&["variables_hash_bucket_size", "256"]);
            to.put(&["proxy_headers_hash_bucket_size", "128"]);
            to.put(&["types_hash_max_size", "4096"]);
            to.put(&["gzip", "on"]);
            to.put(&["gzip_vary", "on"]);
            to.put(&["gzip_min_length", "1024"]);
            let words: Vec<&str> = std::iter::once("gzip_types").chain(COMPRESSED).collect();
            to.put(&words);
            to.put(&["default_type", "application/octet-stream"]);
            to.block(&["types"], |to| {
                for (kind, ends) in TYPES {
                    let words: Vec<&str> = std::iter::once(*kind).chain(ends.split(' ')).collect();
                    to.put(&words);
                }
            });
            self.strangers(certificate.as_ref(), to);
            to.put(&["include", &at("apps/*.conf")]);
        });
        Ok(to.finish())
    }

    /// The paths of [`Self::stranger_certificate`].
    fn certificate(&self) -> Result<Option<(String, String)>, String> {
        let Some((certificate, key)) = &self.stranger_certificate else { return Ok(None) };
        Ok(Some((text_of(certificate, "the certificate")?, text_of(key, "its key")?)))
    }

    /// Who asks for a host that no app has.
    fn strangers(&self, certificate: Option<&(String, String)>, to: &mut NginxConfigFile) {
        let sockets = |listens: &[ListenAddress]| -> Vec<String> {
            let mut seen = std::collections::HashSet::new();
            let all = listens.iter().flat_map(|listen| listen.sockets(self.ipv6));
            all.filter(|socket| seen.insert(socket.clone())).collect()
        };
        let (plain, tls) = (sockets(&self.listen), sockets(&self.listen_tls));
        if !plain.is_empty() {
            to.block(&["server"], |to| {
                for socket in &plain {
                    to.put(&["listen", socket, "default_server"]);
                }
                to.put(&["server_name", "_"]);
                to.put(&["root", "/nonexistent"]);
                to.put(&["default_type", "text/plain"]);
                to.put(&["return", "404", "No app has this host name.\n"]);
            });
        }
        if !tls.is_empty() {
            to.block(&["server"], |to| {
                for socket in &tls {
                    to.put(&["listen", socket, "ssl", "default_server"]);
                }
                to.put(&["server_name", "_"]);
                // No certificate is right for them.
                let Some((certificate, key)) = certificate else {
                    return to.put(&["ssl_reject_handshake", "on"]);
                };
                to.put(&["ssl_certificate", certificate]);
                to.put(&["ssl_certificate_key", key]);
                to.put(&["return", "444"]);
            });
        }
    }
}
