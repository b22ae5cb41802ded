//! The `X-Forwarded-*` headers for the app. Those of a trusted proxy in front are passed on; a client's own
//! are replaced.

use super::VirtualHost;
use super::config_writer::NginxConfigFile;

impl VirtualHost {
    /// Returns the value of a header, from a variable of this app if a proxy in front is trusted.
    pub(super) fn forwarded(&self, role: &str, own: &str) -> String {
        if self.trusted.is_some() { self.variable(role) } else { own.to_owned() }
    }

    /// Returns the scheme of the client's request.
    pub(super) fn scheme(&self) -> String {
        self.forwarded("scheme", "$scheme")
    }
}

/// Adds the variables that [`VirtualHost::forwarded`] names, for the `http` block.
pub(super) fn add_forwarded_maps(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    let Some(trusted) = &site.trusted else { return };
    let is_trusted = site.variable("trusted");
    // The address of the connection, not the one from the header.
    to.add_block(&["geo", "$realip_remote_addr", &is_trusted], |to| {
        to.add(&["default", "0"]);
        for range in &trusted.ranges {
            to.add(&[range, "1"]);
        }
    });
    let mut map = |from: &str, role: &str, rows: &[[&str; 2]]| {
        let from = format!("{is_trusted}:{from}");
        to.add_block(&["map", &from, &site.variable(role)], |to| rows.iter().for_each(|row| to.add(row)));
    };
    let scheme = site.variable("scheme");
    map(
        "$http_x_forwarded_proto",
        "scheme",
        &[["default", "$scheme"], ["~*^1:https(?:,|$)", "https"], ["~*^1:http(?:,|$)", "http"]],
    );
    let given = site.variable("given_port");
    let pattern = format!("~^1:(?<{}>[0-9]{{1,5}}):", given.trim_start_matches('$'));
    map(
        "$http_x_forwarded_port:$http_x_forwarded_proto",
        "forwarded_port",
        &[
            ["default", "$server_port"],
            [&pattern, &given],
            ["~*^1::https(?:,|$)", "443"],
            ["~*^1::http(?:,|$)", "80"],
        ],
    );
    let given = site.variable("given_host");
    let pattern = format!("~^1:(?<{}>[][A-Za-z0-9._:-]{{1,255}})$", given.trim_start_matches('$'));
    let host = site.host();
    map("$http_x_forwarded_host", "forwarded_host", &[["default", &host], [&pattern, &given]]);
    map(
        "$http_x_forwarded_for",
        "forwarded_for",
        &[["default", "$proxy_add_x_forwarded_for"], ["~^1:.", "$http_x_forwarded_for"]],
    );
    if let Some(tls) = site.tls.as_ref().filter(|tls| tls.is_required) {
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
