//! Writes an app's file. It stands alone: what it needs outside of its servers bears the app's name.

use super::config::NginxConfigFile;
use super::{CacheSettings, Http2Syntax, StaticFolder, TlsFiles, VirtualHost};

/// What a request for a file with a dot in front is matched by, and one that a rewrite has led out with `..`.
const DOTFILE: &str = r"/\.(?!well-known/)";

const MAINTENANCE: &str = "<!doctype html><meta charset=utf-8><title>Be right back</title><h1>Be right back</h1>\
    <p>This site is down for maintenance. Please try again in a moment.</p>";

/// Seconds until a client should try again.
const RETRY_AFTER: &str = "120";

pub(super) fn render(site: &VirtualHost) -> String {
    ServerWriter { site, to: NginxConfigFile::default() }.run()
}

struct ServerWriter<'a> {
    site: &'a VirtualHost,
    to: NginxConfigFile,
}

impl VirtualHost {
    /// A variable of this app's: `$piku_blog_ROLE`.
    fn variable(&self, role: &str) -> String {
        format!("$piku_{}_{role}", self.app.as_str().replace('-', "_"))
    }

    /// Its instances; no app's name has a dot.
    fn group(&self, role: &str) -> String {
        format!("piku-{}{role}", self.app)
    }

    /// What `proxy_pass` is given.
    fn app_address(&self) -> String {
        format!("http://{}", self.variable("upstream"))
    }

    fn proxies(&self) -> bool {
        !self.upstreams.is_empty() && !self.maintenance
    }
}

impl ServerWriter<'_> {
    fn run(mut self) -> String {
        let site = self.site;
        self.to.comment(&format!("{}: made by piku-procfile render nginx; a change here is lost", site.app));
        // A zone of the app's own: two of them never count each other's requests.
        if site.connections.is_some() {
            let zone = format!("zone={}:512k", site.group(".requests"));
            self.to.put(&["limit_conn_zone", "$server_name", &zone]);
        }
        if site.proxies() {
            self.groups();
        }
        if let (Some(caching), true) = (&site.caching, site.proxies()) {
            self.cache_zone(caching);
        }
        if let Some(ranges) = &site.cloudflare {
            // The address that has connected, not the one that it stands for.
            self.to.block(&["geo", "$realip_remote_addr", &site.variable("cloudflare")], |to| {
                to.put(&["default", "0"]);
                to.put(&["127.0.0.1", "1"]);
                to.put(&["::1", "1"]);
                for range in ranges {
                    to.put(&[range, "1"]);
                }
            });
        }
        match &site.tls {
            Some(tls) if tls.only && !site.sockets.is_empty() => {
                self.server(false, true);
                self.server(true, false);
            }
            // One server for both.
            _ => self.server(site.tls.is_some(), true),
        }
        self.to.finish()
    }

    /// All instances, and what of a request depends on it.
    fn groups(&mut self) {
        let site = self.site;
        // An instance that refuses is passed over at once and asked again the next time. A request that may not be sent
        // twice gets a connection of its own: on a kept one it could meet an instance that is just closing it.
        for (role, keeps) in [("", true), (".once", false)] {
            self.to.block(&["upstream", &site.group(role)], |to| {
                for upstream in &site.upstreams {
                    to.put(&["server", upstream.as_str(), "max_fails=0"]);
                }
                if keeps {
                    to.put(&["keepalive", "16"]);
                }
            });
        }
        let map = |to: &mut NginxConfigFile, from: &str, role: &str, rows: &[[&str; 2]]| {
            to.block(&["map", from, &site.variable(role)], |to| rows.iter().for_each(|row| to.put(row)));
        };
        let (kept, once) = (site.group(""), site.group(".once"));
        map(
            &mut self.to,
            "$request_method",
            "upstream",
            &[["default", &kept], ["POST", &once], ["PATCH", &once], ["LOCK", &once]],
        );
        // Any other upgrade could carry requests past this server.
        map(&mut self.to, "$http_upgrade", "upgrade", &[["default", ""], ["~*^websocket$", "websocket"]]);
        let upgrade = site.variable("upgrade");
        map(&mut self.to, &upgrade, "connection", &[["default", ""], ["websocket", "upgrade"]]);
        // `$host` has been checked by nginx and has lost its port.
        let port = site.variable("port");
        let pattern = format!("~(?<{}>:[0-9]{{1,5}})$", site.variable("typed").trim_start_matches('$'));
        let typed = site.variable("typed");
        self.to.block(&["map", "$http_host", &port], |to| {
            to.put(&["default", ""]);
            to.put(&[&pattern, &typed]);
        });
    }

    fn cache_zone(&mut self, caching: &CacheSettings) {
        let site = self.site;
        let zone = format!("keys_zone={}:1m", site.group(""));
        let max_size = format!("max_size={}g", caching.size);
        let inactive = format!("inactive={}s", caching.expiry);
        self.to.put(&[
            "proxy_cache_path",
            &caching.path,
            "levels=1:2",
            &zone,
            &max_size,
            &inactive,
            "use_temp_path=off",
        ]);
        // An app's own word on it counts, and what sets a cookie is for one client.
        let said = "$upstream_http_cache_control$upstream_http_set_cookie";
        let age = format!("public, max-age={}", caching.control);
        self.to.block(&["map", said, &site.variable("age")], |to| {
            to.put(&["default", ""]);
            to.put(&["", &age]);
        });
    }

    fn server(&mut self, secure: bool, plain: bool) {
        let site = self.site;
        let tls = site.tls.as_ref().filter(|_| secure);
        let redirects = site.tls.as_ref().filter(|tls| !secure && tls.only);
        self.to.blank();
        let mut to = std::mem::take(&mut self.to);
        to.block(&["server"], |to| {
            if plain {
                site.sockets.iter().for_each(|socket| to.put(&["listen", socket]));
            }
            if let Some(tls) = tls {
                secured(site, tls, to);
            }
            site.names.iter().for_each(|name| to.put(&["server_name", name.as_str()]));
            // Nothing is served from where nginx was built to.
            to.put(&["root", "/nonexistent"]);
            to.put(&["absolute_redirect", "off"]);
            if let Some(connections) = site.connections {
                to.put(&["limit_conn", &site.group(".requests"), &connections.to_string()]);
                // What is refused is in the access log.
                to.put(&["limit_conn_log_level", "info"]);
            }
            if site.cloudflare.is_some() {
                let condition = format!("({}", site.variable("cloudflare"));
                to.block(&["if", &condition, "=", "0)"], |to| to.put(&["return", "403"]));
            }
            if let Some(acme) = &site.acme_root {
                challenges(acme, to);
            }
            match redirects {
                Some(tls) => redirect(tls, to),
                None if site.maintenance => maintenance(to),
                None => content(site, to),
            }
        });
        self.to = to;
    }
}

fn secured(site: &VirtualHost, tls: &TlsFiles, to: &mut NginxConfigFile) {
    for socket in &site.sockets_tls {
        match site.http2 {
            Http2Syntax::Listen => to.put(&["listen", socket, "ssl", "http2"]),
            Http2Syntax::On | Http2Syntax::Off => to.put(&["listen", socket, "ssl"]),
        }
    }
    if site.http2 == Http2Syntax::On {
        to.put(&["http2", "on"]);
    }
    to.put(&["ssl_certificate", &tls.certificate]);
    to.put(&["ssl_certificate_key", &tls.key]);
    to.put(&["ssl_protocols", "TLSv1.2", "TLSv1.3"]);
}

/// An ACME client's answers, before any redirect and for everybody.
fn challenges(root: &str, to: &mut NginxConfigFile) {
    to.block(&["location", "^~", "/.well-known/acme-challenge/"], |to| {
        // Only what a token can be (RFC 8555, 8.3).
        to.block(&["location", "~", "^/\\.well-known/acme-challenge/[A-Za-z0-9_-]+$"], |to| {
            to.put(&["root", root]);
            to.put(&["auth_basic", "off"]);
            to.put(&["allow", "all"]);
            to.put(&["default_type", "text/plain"]);
        });
        to.put(&["return", "404"]);
    });
}

fn redirect(tls: &TlsFiles, to: &mut NginxConfigFile) {
    let port = if tls.port == 443 { String::new() } else { format!(":{}", tls.port) };
    to.block(&["location", "/"], |to| {
        to.put(&["return", "301", &format!("https://$host{port}$request_uri")]);
    });
}

fn maintenance(to: &mut NginxConfigFile) {
    to.put(&["error_page", "503", "@maintenance"]);
    to.block(&["location", "/"], |to| to.put(&["return", "503"]));
    to.block(&["location", "@maintenance"], |to| {
        to.put(&["default_type", "text/html"]);
        to.put(&["add_header", "Retry-After", RETRY_AFTER, "always"]);
        to.put(&["add_header", "Cache-Control", "no-store", "always"]);
        to.put(&["return", "503", MAINTENANCE]);
    });
}

fn content(site: &VirtualHost, to: &mut NginxConfigFile) {
    if let Some(users) = &site.users {
        to.put(&["auth_basic", site.app.as_str()]);
        to.put(&["auth_basic_user_file", &users.path]);
    }
    if let Some(ranges) = &site.cloudflare {
        for range in ranges {
            to.put(&["set_real_ip_from", range]);
        }
        to.put(&["real_ip_header", "CF-Connecting-IP"]);
    }
    if site.proxies() {
        proxy(site, to);
    }
    if !(site.git_reaches_app && site.proxies()) {
        to.block(&["location", "~", r"/\.git(?:/|$)"], |to| to.put(&["return", "404"]));
    }
    for folder in &site.folders {
        files(site, folder, to);
    }
    if let (Some(caching), true) = (&site.caching, site.proxies()) {
        for prefix in &caching.prefixes {
            if !prefix.is_root() {
                to.block(&["location", "=", prefix.bare()], |to| cached(site, caching, to));
            }
            to.block(&["location", &prefix.folder()], |to| cached(site, caching, to));
        }
    }
    let cached_root =
        site.caching.as_ref().is_some_and(|caching| caching.prefixes.iter().any(super::PathPrefix::is_root));
    let root = site.folders.iter().any(|folder| folder.prefix.is_root());
    if site.proxies() {
        let address = site.app_address();
        if !root && !cached_root {
            to.block(&["location", "/"], |to| to.put(&["proxy_pass", &address]));
        }
        to.block(&["location", "@app"], |to| to.put(&["proxy_pass", &address]));
    }
    if site.include != super::IncludeFile::default() {
        to.comment("the app's own");
        site.include.write(to, &site.app_address());
    }
}

/// What all that goes to the app has in common.
fn proxy(site: &VirtualHost, to: &mut NginxConfigFile) {
    to.put(&["client_max_body_size", "64m"]);
    to.put(&["proxy_http_version", "1.1"]);
    let host = format!("$host{}", site.variable("port"));
    for [name, value] in [
        ["Host", &host],
        ["Upgrade", &site.variable("upgrade")],
        ["Connection", &site.variable("connection")],
        ["X-Forwarded-For", "$proxy_add_x_forwarded_for"],
        ["X-Forwarded-Host", &host],
        ["X-Forwarded-Port", "$server_port"],
        ["X-Forwarded-Proto", "$scheme"],
        ["X-Real-IP", "$remote_addr"],
        ["X-Request-Start", "t=$msec"],
        // Programs take it for HTTP_PROXY (CVE-2016-5385).
        ["Proxy", ""],
    ] {
        to.put(&["proxy_set_header", name, value]);
    }
    to.put(&["proxy_connect_timeout", "5s"]);
    to.put(&["proxy_read_timeout", "300s"]);
    to.put(&["proxy_send_timeout", "300s"]);
    // Another instance is asked only when this one did not answer at all; nginx never does so with POST, PATCH or LOCK once
    // the request has been sent.
    to.put(&["proxy_next_upstream", "error"]);
}

fn files(site: &VirtualHost, folder: &StaticFolder, to: &mut NginxConfigFile) {
    let common = |to: &mut NginxConfigFile| {
        // What lies there may be the app's own work at any time: a link could lead to another app's secrets.
        to.put(&["disable_symlinks", "on", &format!("from={}", folder.top)]);
        to.put(&["charset", "utf-8"]);
    };
    let hidden = |to: &mut NginxConfigFile| {
        to.put(&["index", "index.html", "index.htm"]);
        to.block(&["location", "~", DOTFILE], |to| to.put(&["return", "404"]));
        if folder.whole {
            let own = format!("^{}/(?:ENV|Procfile)$", escaped(folder.prefix.bare()));
            to.block(&["location", "~", &own], |to| to.put(&["return", "404"]));
        }
    };
    if folder.prefix.is_root() {
        to.block(&["location", "/"], |to| {
            to.put(&["root", &folder.path]);
            common(to);
            hidden(to);
            match &site.catch_all {
                // Not `$uri/`, which would answer for a folder that has no index.
                _ if site.proxies() => {
                    to.put(&["try_files", "$uri", "$uri.html", "$uri/index.html", "@app"]);
                }
                Some(file) => {
                    to.put(&[
                        "try_files",
                        "$uri",
                        "$uri.html",
                        "$uri/index.html",
                        &format!("/{file}"),
                        "=404",
                    ]);
                }
                None => to.put(&["try_files", "$uri", "$uri.html", "$uri/", "=404"]),
            }
        });
        return;
    }
    // A file of that very name, or the folder, to which nginx adds the slash.
    to.block(&["location", "=", folder.prefix.bare()], |to| {
        to.put(&["alias", &folder.path]);
        common(to);
    });
    let prefix = folder.prefix.folder();
    // Both end in a slash: otherwise '/static../x' would be '../x'.
    to.block(&["location", "^~", &prefix], |to| {
        to.put(&["alias", &format!("{}/", folder.path)]);
        common(to);
        hidden(to);
        // With `alias`, a name without a variable is one below it.
        if let Some(file) = &site.catch_all {
            to.put(&["try_files", "$uri", "$uri.html", "$uri/index.html", &format!("/{file}"), "=404"]);
        }
    });
}

fn cached(site: &VirtualHost, caching: &CacheSettings, to: &mut NginxConfigFile) {
    to.put(&["proxy_pass", &site.app_address()]);
    to.put(&["proxy_cache", &site.group("")]);
    to.put(&["proxy_cache_key", "$scheme$host$request_uri"]);
    to.put(&["proxy_cache_lock", "on"]);
    to.put(&["proxy_cache_use_stale", "error", "timeout", "updating"]);
    let valid = |to: &mut NginxConfigFile, codes: &[&str], time: u32| {
        let time = format!("{time}s");
        let words: Vec<&str> =
            std::iter::once(&"proxy_cache_valid").chain(codes).copied().chain([time.as_str()]).collect();
        to.put(&words);
    };
    valid(to, &["200", "304"], caching.content);
    valid(to, &["301", "302", "307", "308"], caching.redirects);
    valid(to, &["203", "204", "300", "303"], caching.any);
    if site.users.is_none() {
        // Who proves who he is to the app gets an answer of his own.
        to.put(&["proxy_cache_bypass", "$http_authorization"]);
        to.put(&["proxy_no_cache", "$http_authorization"]);
    }
    to.put(&["add_header", "Cache-Control", &site.variable("age")]);
    to.put(&["add_header", "X-Cache", "$upstream_cache_status"]);
}

/// A text as a regular expression that matches only it.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_ascii_punctuation() && c != '/' { vec!['\\', c] } else { vec![c] })
        .collect()
}
