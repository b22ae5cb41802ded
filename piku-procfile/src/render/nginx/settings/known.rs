//! The variables that this renderer reads, and warnings about others that begin with `NGINX_`.

use crate::render::app_values::{AppValues, ValuesReader};

/// Describes the variables, for `--help`. A variable that is named here is known.
pub(crate) const VARIABLES_HELP: &str = "\
Variables of ENV, named as the Python piku or dokku names them:
  NGINX_SERVER_NAME        host names, separated by commas or blanks; '*.' in front includes all names below;
                           '_' gets the requests for names that no app has
  NGINX_REDIRECTS          FROM:TO,…: redirect another host name, such as 'www.example.org:example.org';
                           FROM:TO:302 instead of 301
  NGINX_HTTPS_ONLY         redirect HTTP to HTTPS
  NGINX_HSTS               tell browsers to use HTTPS only; also NGINX_HSTS_MAX_AGE (seconds, default 15724800),
                           NGINX_HSTS_INCLUDE_SUBDOMAINS, NGINX_HSTS_PRELOAD
  NGINX_STATIC_PATHS       PREFIX:DIRECTORY,…: serve files from the app's directory or from /data
  NGINX_CATCH_ALL          file to serve if the requested one does not exist, such as 'index.html'
  NGINX_CACHE_PREFIXES     PREFIX,…: cache the app's responses unless the app sets its own cache headers
  NGINX_CACHE_SIZE         in GB, default 1
  NGINX_CACHE_TIME, NGINX_CACHE_REDIRECTS, NGINX_CACHE_ANY, NGINX_CACHE_CONTROL
                           in seconds, default 3600; NGINX_CACHE_EXPIRY: default 86400
  NGINX_BASIC_AUTH         NAME:PASSWORD, separated by blanks; a password may be a hash from 'openssl passwd -6'
  NGINX_CLOUDFLARE_ACL     respond only to Cloudflare and to this machine
  NGINX_TRUSTED_PROXIES    addresses or ranges of proxies in front, whose X-Forwarded-* headers are passed on;
                           'private' stands for this machine and for private networks
  NGINX_CLIENT_MAX_BODY_SIZE
                           largest upload, default 64m; 0 is without limit
  NGINX_PROXY_READ_TIMEOUT, NGINX_PROXY_SEND_TIMEOUT
                           time between two reads from the app or writes to it, default 300s;
                           NGINX_PROXY_CONNECT_TIMEOUT: default 5s
  NGINX_CLIENT_BODY_TIMEOUT, NGINX_SEND_TIMEOUT, NGINX_KEEPALIVE_TIMEOUT, NGINX_LINGERING_TIMEOUT
                           of the client's connection; nginx's defaults are 60s, 60s, 75s, 5s
  NGINX_PROXY_BUFFER_SIZE  largest response header, default 32k
  NGINX_PROXY_BUFFERS, NGINX_PROXY_BUSY_BUFFERS_SIZE
                           buffers of one response, default '8 8k', 1 MB at most
  NGINX_PROXY_BUFFERING    on: read responses as fast as the app writes them, for apps with few workers and
                           long responses; events and streams then arrive late
  NGINX_PROXY_REQUEST_BUFFERING
                           off: pass uploads to the app as they arrive
  NGINX_WEBSOCKET_TIMEOUT  seconds that a websocket or a gRPC stream may be idle, default 3600
  NGINX_GRPC_PREFIXES      PREFIX,…: paths, or '/', that the app serves by gRPC or HTTP/2 without TLS
  NGINX_ERROR_PAGES        directory of the app with 502.html and 503.html, and optionally maintenance.html,
                           stopped.html and 404.html; MAINTENANCE_PAGE_URL and ERROR_PAGE_URL show pages from elsewhere
  NGINX_ACCESS_LOG         off: log no requests
  NGINX_PROXY_KEEPALIVE    idle connections to the app that are kept, default 16
  NGINX_UNDERSCORE_IN_HEADERS
                           on: pass on headers with '_' in their names
  NGINX_ALLOW_GIT_FOLDERS  pass requests for '.git' to the app; files in '.git' are never served
  NGINX_IPV4_ADDRESS, NGINX_IPV6_ADDRESS   one of the addresses given with --listen
  DISABLE_IPV6             listen on IPv4 only
  NGINX_INCLUDE_FILE       file of the app with directives for the inside of its server block
";

/// Variables that users of other platforms may set, and what to do instead.
#[rustfmt::skip]
const UNSUPPORTED: &[(&str, &str)] = &[
    ("NGINX_CACHE_PATH", "is ignored: the operator chooses the cache directory"),
    ("NGINX_CLIENT_HEADER_TIMEOUT", "is ignored: all apps share it, because nginx reads a header before it knows the app"),
    ("NGINX_ACCESS_LOG_PATH", "is ignored: NGINX_ACCESS_LOG=off turns the log off"),
    ("NGINX_ACCESS_LOG_FORMAT", "is ignored: the operator configures logs"),
    ("NGINX_ERROR_LOG_PATH", "is ignored: the operator configures logs"),
    ("NGINX_BIND_ADDRESS_IPV4", "is ignored: it is called NGINX_IPV4_ADDRESS here"),
    ("NGINX_BIND_ADDRESS_IPV6", "is ignored: it is called NGINX_IPV6_ADDRESS here"),
    ("NGINX_X_FORWARDED_FOR_VALUE", "is ignored: name the proxy in front with NGINX_TRUSTED_PROXIES"),
    ("NGINX_X_FORWARDED_PORT_VALUE", "is ignored: name the proxy in front with NGINX_TRUSTED_PROXIES"),
    ("NGINX_X_FORWARDED_PROTO_VALUE", "is ignored: name the proxy in front with NGINX_TRUSTED_PROXIES"),
    ("NGINX_X_FORWARDED_SSL", "is ignored: write 'proxy_set_header X-Forwarded-Ssl on;' into NGINX_INCLUDE_FILE"),
    ("NGINX_DISABLE_CUSTOM_CONFIG", "is ignored: remove NGINX_INCLUDE_FILE instead"),
    ("NGINX_NGINX_CONF_SIGIL_PATH", "is ignored: templates are not supported; use NGINX_INCLUDE_FILE"),
    ("NGINX_NGINX_SERVICE_COMMAND", "is ignored: piku runs nginx itself"),
    ("ACME_ROOT_CA", "is ignored: 'nginx: {acme_server: ADDRESS}' in host.yaml chooses the certificate authority"),
    ("NGINX_SSL", "is ignored: 'nginx: {https: PORT}' in host.yaml sets the port"),
];

/// Returns the variables that have an effect.
fn known_names() -> impl Iterator<Item = &'static str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    VARIABLES_HELP.split(move |c: char| !is_part(c)).filter(|word| word.starts_with("NGINX_"))
}

/// Warns about variables that have no effect.
pub(in super::super) fn warn_of_unknown_names(values: &AppValues, read: &mut ValuesReader<'_>) {
    for name in values.iter().map(|(name, _)| name).filter(|name| values.has(name)) {
        if let Some((_, what)) = UNSUPPORTED.iter().find(|(other, _)| *other == name) {
            read.add_warning(name, what, None);
            continue;
        }
        if !name.starts_with("NGINX_") || known_names().any(|known| known == name) {
            continue;
        }
        let nearest = known_names().min_by_key(|known| count_edits(name, known));
        let nearest = nearest.filter(|known| count_edits(name, known) <= 3);
        let hint = nearest.map(|known| format!("did you mean {known}?"));
        read.add_warning(name, "is not a setting of nginx that piku knows", hint.as_deref());
    }
}

/// Returns the number of letters to insert, remove, replace or swap with the next that turn one text into the
/// other.
fn count_edits(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut rows = [Vec::new(), (0..=to.len()).collect::<Vec<usize>>()];
    for (at, letter) in from.iter().enumerate() {
        let mut row = vec![at + 1];
        for (to_at, to_letter) in to.iter().enumerate() {
            let [before, last] = &rows;
            let replaced = last[to_at] + usize::from(letter != to_letter);
            let mut fewest = replaced.min(last[to_at + 1] + 1).min(row[to_at] + 1);
            let is_swapped = at > 0 && to_at > 0 && from[at - 1] == *to_letter && to[to_at - 1] == *letter;
            if is_swapped {
                fewest = fewest.min(before[to_at - 1] + 1);
            }
            row.push(fewest);
        }
        let [_, last] = rows;
        rows = [last, row];
    }
    rows[1][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, number) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "ab", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((count_edits(from, to), count_edits(to, from)), (number, number));
        }
    }

    #[test]
    fn unknown_names_are_warned_about_with_the_nearest_known_one() {
        let mut values = AppValues::default();
        for name in [
            "NGINX_SERVERNAME",
            "NGINX_SERVER_NAME",
            "NGINX_HTTP_ONLY",
            "NGINX_NONSENSE",
            "NGINX_EMPTY",
            "NGINX_CACHE_PATH",
            "ACME_ROOT_CA",
            "PORT",
        ] {
            values.set(name, if name == "NGINX_EMPTY" { " " } else { "x" }, "ENV");
        }
        let mut read = ValuesReader::new(&values);
        warn_of_unknown_names(&values, &mut read);
        let warnings: Vec<String> = read.finish().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "ENV: warning: NGINX_SERVERNAME: is not a setting of nginx that piku knows\nhint: did you mean NGINX_SERVER_NAME?",
                "ENV: warning: NGINX_HTTP_ONLY: is not a setting of nginx that piku knows\nhint: did you mean NGINX_HTTPS_ONLY?",
                "ENV: warning: NGINX_NONSENSE: is not a setting of nginx that piku knows",
                "ENV: warning: NGINX_CACHE_PATH: is ignored: the operator chooses the cache directory",
                "ENV: warning: ACME_ROOT_CA: is ignored: 'nginx: {acme_server: ADDRESS}' in host.yaml chooses the \
                 certificate authority",
            ]
        );
    }
}
