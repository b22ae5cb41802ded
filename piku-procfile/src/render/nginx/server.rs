//! Writes the configuration of an app. Zones, maps and upstreams have the app's name, so that the file depends
//! on no other one, unless the caller shares the maps that all apps need.

use super::config_writer::NginxConfigFile;
use super::content::add_content;
use super::forwarded::add_forwarded_maps;
use super::host_name::DEFAULT_PATTERN;
use super::include::syntax::NginxDirective;
use super::moved_paths::{add_header_maps, add_moved_maps};
use super::settings::redirects::HostRedirect;
use super::shared_settings::{
    self, ACME_PATH, LIMIT_LOG_LEVEL, NO_ROOT, RELATIVE_REDIRECTS, REQUESTS_ZONE, add_method_map,
    add_port_map, add_requests_zone, add_upgrade_map, server_directives,
};
use super::{CacheSettings, HostName, Http2Syntax, TlsFiles, VirtualHost};

/// The versions of TLS. The default server of a socket chooses for all of its servers.
pub(super) const TLS_VERSIONS: [&str; 3] = ["ssl_protocols", "TLSv1.2", "TLSv1.3"];

/// Matches the paths of folders of git.
const GIT_FOLDER: &str = r"/\.git(?:/|$)";

impl VirtualHost {
    /// Returns the name of a variable of this app: `$piku_blog_ROLE`.
    pub(super) fn variable(&self, role: &str) -> String {
        format!("$piku_{}_{role}", self.app.as_str().replace('-', "_"))
    }

    /// Returns the name of a zone or an upstream of this app. The role begins with a dot, which no app
    /// name has.
    pub(super) fn zone(&self, role: &str) -> String {
        format!("piku-{}{role}", self.app)
    }

    /// Returns the name of the zone that counts the requests.
    fn requests_zone(&self) -> String {
        if self.shares_settings { REQUESTS_ZONE.to_owned() } else { self.zone(".requests") }
    }

    /// Returns the name of a variable that is the same for all apps: `$piku_ROLE` if they share its map.
    pub(super) fn common_variable(&self, role: &str) -> String {
        if self.shares_settings { shared_settings::variable(role) } else { self.variable(role) }
    }

    /// Returns the argument of `proxy_pass`.
    pub(super) fn app_url(&self) -> String {
        if self.shares_settings {
            return format!("http://{}{}", self.zone(""), shared_settings::variable(shared_settings::ONCE));
        }
        format!("http://{}", self.variable("upstream"))
    }

    /// Returns the address of the only instance if requests that must not be sent twice are passed to it directly,
    /// without an upstream of their own: nginx keeps no connections to an address. Apps share settings only with
    /// upstreams that are addresses, and no directive of this one chooses between both upstreams by a variable.
    pub(super) fn once_address(&self) -> Option<&str> {
        let [address] = &self.upstreams[..] else { return None };
        let names_upstreams = self.caching.is_some() || !self.include.directives().is_empty();
        (self.shares_settings && !names_upstreams).then_some(address.as_str())
    }

    /// Returns the variables with the host name and the port that the client has asked for.
    pub(super) fn host(&self) -> String {
        format!("$host{}", self.common_variable("port"))
    }

    /// Returns the same as one variable, for the headers of requests to the app. Most clients ask for no port, which
    /// nginx notices by a comparison, without the regular expression of the port. nginx looks for a variable by comparing
    /// its name with all others, so apps that share the maps share this one, too.
    pub(super) fn host_variable(&self) -> String {
        self.common_variable(shared_settings::HOST)
    }

    /// Adds the directives that set [`Self::host_variable`].
    fn add_host_variable(&self, to: &mut NginxConfigFile<'_>) {
        let name = self.host_variable();
        to.add(&["set", &name, "$host"]);
        to.add_block(&["if", "($http_host", "!=", "$host)"], |to| to.add(&["set", &name, &self.host()]));
    }

    /// Answers requests for folders of git, such as `/blog/.git/config`, with 404, by a location that exists anyway, if there
    /// is one: another one slows down each reload.
    pub(super) fn hide_git_folders(&self, to: &mut NginxConfigFile<'_>) {
        if self.acme_root.is_some() {
            // This is no token.
            to.add(&["rewrite", GIT_FOLDER, &format!("{ACME_PATH}.git"), "last"]);
            let changes_paths =
                |own: &NginxDirective| matches!(own.name(), "rewrite" | "error_page" | "auth_request");
            if self.include.find(&changes_paths).is_none() {
                return;
            }
            // The app's own rewrites come later, and may make such a path of another one.
        }
        to.add_block(&["location", "~", GIT_FOLDER], |to| to.add(&["return", "404"]));
    }

    pub(super) fn uses_proxy(&self) -> bool {
        !self.upstreams.is_empty() && !self.is_closed
    }
}

pub(super) fn render_server(site: &VirtualHost) -> String {
    let counts = site.connections.is_some();
    let inherited = if site.shares_settings { server_directives(counts) } else { Vec::new() };
    let mut to = NginxConfigFile::inheriting(inherited);
    to.add_comment(&format!("{}: generated by piku-procfile render nginx; do not edit", site.app));
    if counts && !site.shares_settings {
        add_requests_zone(&mut to, &site.requests_zone(), "512k");
    }
    if site.uses_proxy() {
        add_upstreams(site, &mut to);
    }
    let needs_port = site.uses_proxy() || !site.redirects.is_empty() || site.is_behind_proxy();
    if needs_port && !site.shares_settings {
        add_port_map(&mut to, |role| site.variable(role));
    }
    if let (Some(caching), true) = (&site.caching, site.uses_proxy()) {
        add_cache_zone(site, caching, &mut to);
    }
    if let Some(ranges) = &site.cloudflare {
        site.add_address_variable("cloudflare", "1", &mut to, |to| {
            to.add(&["default", "0"]);
            to.add(&["127.0.0.1", "1"]);
            to.add(&["::1", "1"]);
            for range in ranges {
                to.add(&[range, "1"]);
            }
        });
    }
    add_forwarded_maps(site, &mut to);
    if let Some(hsts) = site.hsts.as_ref().filter(|_| site.tls.is_some()) {
        to.add_block(&["map", &site.scheme(), &site.variable("hsts")], |to| {
            to.add(&["default", ""]);
            to.add(&["https", hsts]);
        });
    }
    if site.static_root().is_some() && !site.uses_proxy() {
        add_page_map(site, &mut to);
    }
    add_moved_maps(site, &mut to);
    add_header_maps(site, &mut to);
    for redirect in &site.redirects {
        add_redirect_server(site, redirect, &mut to);
    }
    if site.redirects_plain_server() {
        add_server(site, false, true, &mut to);
        add_server(site, true, false, &mut to);
    } else {
        // One server block for HTTP and HTTPS.
        add_server(site, site.tls.is_some(), true, &mut to);
    }
    to.finish()
}

fn add_upstreams(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    // If an instance refuses a connection, nginx tries the next one, and this one again for the next
    // request. A request that must not be sent twice gets a new connection: an instance may be closing a
    // kept one.
    let all = [("", true), (".once", false)];
    for (role, is_kept) in all.into_iter().filter(|(_, is_kept)| *is_kept || site.once_address().is_none()) {
        to.add_block(&["upstream", &site.zone(role)], |to| {
            for upstream in &site.upstreams {
                // A slow response counts as a failure, too, and a few of them would close all upstreams to everyone.
                // piku itself leaves out machines that are lost.
                to.add(&["server", upstream.as_str(), "max_fails=0"]);
            }
            if is_kept && site.keepalive > 0 {
                to.add(&["keepalive", &site.keepalive.to_string()]);
            }
        });
    }
    if site.shares_settings {
        return;
    }
    let (kept, once) = (site.zone(""), site.zone(".once"));
    add_method_map(to, &site.variable("upstream"), &kept, &once);
    add_upgrade_map(to, |role| site.variable(role));
}

/// Adds the variable with the path without a slash at the end: '/about/' is the page 'about.html' too.
fn add_page_map(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    let stem = site.variable("stem");
    let pattern = format!("~^(?<{}>/.*[^/])/+$", stem.trim_start_matches('$'));
    to.add_block(&["map", "$uri", &site.variable("page")], |to| {
        to.add(&["default", "$uri"]);
        to.add(&[&pattern, &stem]);
    });
}

fn add_cache_zone(site: &VirtualHost, caching: &CacheSettings, to: &mut NginxConfigFile<'_>) {
    let zone = format!("keys_zone={}:1m", site.zone(""));
    let max_size = format!("max_size={}g", caching.size);
    let inactive = format!("inactive={}s", caching.expiry);
    to.add(&[
        "proxy_cache_path",
        &caching.path,
        "levels=1:2",
        &zone,
        &max_size,
        &inactive,
        "use_temp_path=off",
    ]);
    // The app's own header takes precedence, and a response that sets a cookie is for one client.
    let headers = "$upstream_http_cache_control$upstream_http_set_cookie";
    let age = format!("public, max-age={}", caching.control);
    to.add_block(&["map", headers, &site.variable("age")], |to| {
        to.add(&["default", ""]);
        to.add(&["", &age]);
    });
}

fn add_server<'a>(site: &'a VirtualHost, secure: bool, plain: bool, to: &mut NginxConfigFile<'a>) {
    let tls = site.tls.as_ref().filter(|_| secure);
    let redirects = site.tls.as_ref().filter(|tls| !secure && tls.is_required);
    to.add_blank_line();
    to.add_block(&["server"], |to| {
        let is_default = site.names.iter().any(HostName::is_default);
        if plain {
            site.sockets.iter().for_each(|socket| add_listen(socket, &[], is_default, to));
        }
        if let Some(tls) = tls {
            add_tls(site, tls, is_default, to);
        }
        for name in &site.names {
            if name.is_default() {
                // A regular expression, after all other names; and requests without a name.
                to.add(&["server_name", DEFAULT_PATTERN, ""]);
            } else {
                to.add(&["server_name", name.as_str()]);
            }
        }
        if let Some(key) = site.front.as_ref().filter(|_| plain) {
            to.add(&["server_name", &key.host_name()]);
        }
        to.add_to_server(&NO_ROOT);
        to.add_to_server(&RELATIVE_REDIRECTS);
        if let Some(logs) = &site.logs {
            match &logs.access {
                // nginx allocates the buffer of each app at each reload.
                Some(path) => to.add(&["access_log", path, "combined", "buffer=4k", "flush=1s"]),
                None => to.add(&["access_log", "off"]),
            }
            to.add(&["error_log", &logs.error, "error"]);
        }
        if let Some(connections) = site.connections {
            to.add(&["limit_conn", &site.requests_zone(), &connections.to_string()]);
            to.add_to_server(&LIMIT_LOG_LEVEL);
        }
        if site.cloudflare.is_some() {
            let condition = format!("({}", site.variable("cloudflare"));
            to.add_block(&["if", &condition, "=", "0)"], |to| to.add(&["return", "403"]));
        }
        if secure && plain && site.tls.as_ref().is_some_and(|tls| tls.is_required) && site.is_behind_proxy() {
            let insecure = site.variable("insecure");
            to.add_block(&["if", &format!("({insecure})")], |to| to.add(&["return", "301", &insecure]));
        }
        if let Some(acme) = &site.acme_root {
            add_acme_challenges(acme, to);
        }
        match redirects {
            Some(tls) => add_redirect(tls, to),
            None if site.is_closed => site.pages.add_closed(to),
            None => {
                if site.uses_proxy() {
                    site.add_host_variable(to);
                    site.add_connection_variable(to);
                }
                add_content(site, to);
                if site.uses_proxy() {
                    site.pages.add_unavailable(to);
                }
            }
        }
    });
}

/// Adds a socket. The default server of a socket gets the TLS connections that name no host, too.
fn add_listen(socket: &str, parameters: &[&str], is_default: bool, to: &mut NginxConfigFile<'_>) {
    let default = is_default.then_some("default_server");
    let words: Vec<&str> =
        ["listen", socket].into_iter().chain(parameters.iter().copied()).chain(default).collect();
    to.add(&words);
}

fn add_tls(site: &VirtualHost, tls: &TlsFiles, is_default: bool, to: &mut NginxConfigFile<'_>) {
    let parameters: &[&str] = match site.http2 {
        Http2Syntax::Listen => &["ssl", "http2"],
        Http2Syntax::On | Http2Syntax::Off => &["ssl"],
    };
    site.sockets_tls.iter().for_each(|socket| add_listen(socket, parameters, is_default, to));
    if site.http2 == Http2Syntax::On {
        to.add(&["http2", "on"]);
    }
    // nginx makes a TLS context for each server with a certificate, which slows down each reload. Without one,
    // it uses the context of the socket's default server.
    if is_default || !tls.is_inherited {
        to.add(&["ssl_certificate", &tls.certificate]);
        to.add(&["ssl_certificate_key", &tls.key]);
        to.add(&TLS_VERSIONS);
    }
}

/// Adds a server that redirects all requests for one host name to another.
fn add_redirect_server(site: &VirtualHost, redirect: &HostRedirect, to: &mut NginxConfigFile<'_>) {
    to.add_blank_line();
    to.add_block(&["server"], |to| {
        site.sockets.iter().for_each(|socket| to.add(&["listen", socket]));
        if let Some(tls) = &site.tls {
            add_tls(site, tls, false, to);
        }
        to.add(&["server_name", redirect.from.as_str()]);
        to.add_to_server(&NO_ROOT);
        if let Some(acme) = &site.acme_root {
            add_acme_challenges(acme, to);
        }
        let target = match site.tls.as_ref().filter(|tls| tls.is_required) {
            Some(TlsFiles { port: 443, .. }) => format!("https://{}", redirect.to.as_str()),
            Some(tls) => format!("https://{}:{}", redirect.to.as_str(), tls.port),
            None => format!("{}://{}{}", site.scheme(), redirect.to.as_str(), site.common_variable("port")),
        };
        let target = format!("{target}$request_uri");
        to.add_block(&["location", "/"], |to| to.add(&["return", &redirect.code.to_string(), &target]));
    });
}

/// Serves the files of an ACME client to any client, before redirects. The name of a file has only characters of a token
/// (RFC 8555, 8.3), also after a rewrite of the app.
pub(super) fn add_acme_challenges(root: &str, to: &mut NginxConfigFile<'_>) {
    to.add_block(&["location", "^~", ACME_PATH], |to| {
        to.add(&["root", root]);
        to.add(&["auth_basic", "off"]);
        to.add(&["allow", "all"]);
        to.add(&["default_type", "text/plain"]);
        to.add(&["log_not_found", "off"]);
        // Not a location of its own, which slows down reloads more.
        to.add(&["rewrite", r"^/\.well-known/acme-challenge/[A-Za-z0-9_-]+$", "$uri", "break"]);
        to.add(&["return", "404"]);
    });
}

fn add_redirect(tls: &TlsFiles, to: &mut NginxConfigFile<'_>) {
    let port = if tls.port == 443 { String::new() } else { format!(":{}", tls.port) };
    to.add_block(&["location", "/"], |to| {
        to.add(&["return", "301", &format!("https://$host{port}$request_uri")]);
    });
}
