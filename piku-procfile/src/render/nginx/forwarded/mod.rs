//! The `X-Forwarded-*` headers for the app. Those of a trusted proxy in front are passed on; a client's own
//! are replaced.

pub(super) mod front;

use super::VirtualHost;
use super::config_writer::NginxConfigFile;

impl VirtualHost {
    /// Returns the value of a header, from a variable of this app if a proxy in front is trusted.
    pub(super) fn forwarded(&self, role: &str, own: &str) -> String {
        if self.is_behind_proxy() { self.variable(role) } else { own.to_owned() }
    }

    /// Returns the scheme of requests for the app's content: text if all have the same, which nginx need not evaluate,
    /// unless apps share the headers.
    pub(super) fn own_scheme(&self) -> &str {
        if self.shares_settings {
            return "$scheme";
        }
        match self.content_sockets() {
            (_, []) => "http",
            ([], _) => "https",
            _ => "$scheme",
        }
    }

    /// Returns the port on which such a request has arrived, likewise.
    pub(super) fn own_port(&self) -> &str {
        if self.shares_settings {
            return "$server_port";
        }
        let (plain, tls) = self.content_sockets();
        let mut ports = plain.iter().chain(tls).map(|socket| socket_port(socket));
        let first = ports.next().unwrap_or_default();
        if first.is_empty() || ports.any(|port| port != first) { "$server_port" } else { first }
    }

    /// Returns the sockets for HTTP and for HTTPS of the server that does not redirect.
    fn content_sockets(&self) -> (&[String], &[String]) {
        match &self.tls {
            None => (&self.sockets, &[]),
            Some(_) if self.redirects_plain_server() => (&[], &self.sockets_tls),
            Some(_) => (&self.sockets, &self.sockets_tls),
        }
    }

    /// Returns true if a server of its own redirects HTTP to HTTPS.
    pub(super) fn redirects_plain_server(&self) -> bool {
        // A proxy in front may have received the request by HTTPS.
        let is_required = self.tls.as_ref().is_some_and(|tls| tls.is_required);
        is_required && !self.sockets.is_empty() && !self.is_behind_proxy()
    }

    /// Returns the scheme of the client's request.
    pub(super) fn scheme(&self) -> String {
        self.forwarded("scheme", "$scheme")
    }
}

/// Returns the port of an argument of `listen`, or nothing if it has none.
fn socket_port(socket: &str) -> &str {
    let port = socket.rsplit_once(':').map_or(socket, |(_, port)| port);
    if port.bytes().all(|byte| byte.is_ascii_digit()) { port } else { "" }
}

/// Adds the variables that [`VirtualHost::forwarded`] names, for the `http` block.
pub(super) fn add_forwarded_maps(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    if !site.is_behind_proxy() {
        return;
    }
    let is_trusted = site.variable("trusted");
    // 1 for a trusted address, 2 for the front.
    site.add_address_variable("trusted", "2", to, |to| {
        to.add(&["default", "0"]);
        for range in site.trusted.iter().flat_map(|trusted| &trusted.ranges) {
            to.add(&[range, "1"]);
        }
    });
    let yes = if site.front.is_some() { "[12]" } else { "1" };
    let mut map = |from: &str, role: &str, rows: &[[&str; 2]]| {
        let from = format!("{is_trusted}:{from}");
        to.add_block(&["map", &from, &site.variable(role)], |to| rows.iter().for_each(|row| to.add(row)));
    };
    let scheme = site.variable("scheme");
    map(
        "$http_x_forwarded_proto",
        "scheme",
        &[
            ["default", "$scheme"],
            [&format!("~*^{yes}:https(?:,|$)"), "https"],
            [&format!("~*^{yes}:http(?:,|$)"), "http"],
        ],
    );
    let given = site.variable("given_port");
    let pattern = format!("~^{yes}:(?<{}>[0-9]{{1,5}}):", given.trim_start_matches('$'));
    map(
        "$http_x_forwarded_port:$http_x_forwarded_proto",
        "forwarded_port",
        &[
            ["default", "$server_port"],
            [&pattern, &given],
            [&format!("~*^{yes}::https(?:,|$)"), "443"],
            [&format!("~*^{yes}::http(?:,|$)"), "80"],
        ],
    );
    let given = site.variable("given_host");
    let name = given.trim_start_matches('$');
    let pattern = format!("~^{yes}:(?<{name}>[][A-Za-z0-9._:-]{{1,255}})$");
    let host = site.host();
    map("$http_x_forwarded_host", "forwarded_host", &[["default", &host], [&pattern, &given]]);
    if site.front.is_some() {
        let given = site.variable("front_host");
        let name = given.trim_start_matches('$');
        let pattern = format!("~^2:(?<{name}>[][A-Za-z0-9._:-]{{1,255}})$");
        map("$http_x_forwarded_host", "app_host", &[["default", &host], [&pattern, &given]]);
    }
    map(
        "$http_x_forwarded_for",
        "forwarded_for",
        &[["default", "$proxy_add_x_forwarded_for"], [&format!("~^{yes}:."), "$http_x_forwarded_for"]],
    );
    if let Some(tls) = site.tls.as_ref().filter(|tls| tls.is_required) {
        // The front redirects its own clients.
        let port = if tls.port == 443 { String::new() } else { format!(":{}", tls.port) };
        map(
            &format!("{scheme}:$uri"),
            "insecure",
            &[
                ["default", ""],
                ["~^[01]:http:/\\.well-known/acme-challenge/", ""],
                ["~^1:http:", "https://$host$request_uri"],
                ["~^0:http:", &format!("https://$host{port}$request_uri")],
            ],
        );
    }
}
