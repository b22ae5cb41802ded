//! The headers that every request to the app gets.

use super::VirtualHost;
use super::config_writer::NginxConfigFile;
use super::shared_settings::{CONNECTION, UPGRADE, shared_headers};

/// The values of the headers that depend on the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyHeaders {
    pub(super) host: String,
    pub(super) upgrade: String,
    pub(super) connection: String,
    pub(super) forwarded_for: String,
    pub(super) forwarded_host: String,
    pub(super) forwarded_port: String,
    pub(super) forwarded_proto: String,
    /// Names and values of the headers between a front and the machines behind it.
    pub(super) of_front: Vec<[String; 2]>,
}

impl ProxyHeaders {
    /// Returns the names and values. nginx omits a header without a value.
    pub(super) fn rows(&self) -> Vec<[&str; 2]> {
        let own = self.of_front.iter().map(|[name, value]| [name.as_str(), value.as_str()]);
        [
            ["Host", &self.host],
            ["Upgrade", &self.upgrade],
            ["Connection", &self.connection],
            ["X-Forwarded-For", &self.forwarded_for],
            ["X-Forwarded-Host", &self.forwarded_host],
            ["X-Forwarded-Port", &self.forwarded_port],
            ["X-Forwarded-Proto", &self.forwarded_proto],
            ["X-Real-IP", "$remote_addr"],
            ["X-Request-Start", "t=$msec"],
            // Some programs read it as HTTP_PROXY (CVE-2016-5385).
            ["Proxy", ""],
            // Rack, Spring and others prefer these to the headers above.
            ["Forwarded", ""],
            ["X-Forwarded-Scheme", ""],
            ["X-Forwarded-Ssl", ""],
        ]
        .into_iter()
        .chain(own)
        .collect()
    }
}

impl VirtualHost {
    /// Adds the headers to the server, unless it inherits all of them: it inherits none once it sets one.
    pub(super) fn add_server_headers(&self, to: &mut NginxConfigFile<'_>) {
        let headers = self.proxy_headers();
        let sets_own = self.include.top_level("proxy_set_header").next().is_some();
        if self.shares_settings && !sets_own && headers == shared_headers() {
            return;
        }
        for [name, value] in headers.rows() {
            to.add(&["proxy_set_header", name, value]);
        }
    }

    /// Returns the headers of requests to the app in locations that get websockets and other requests.
    pub(super) fn proxy_headers(&self) -> ProxyHeaders {
        if self.separates_websockets() {
            return self.headers_with_upgrade("", "");
        }
        self.headers_with_upgrade(&self.common_variable(UPGRADE), &self.common_variable(CONNECTION))
    }

    /// Returns the headers with these values of `Upgrade` and `Connection`.
    pub(super) fn headers_with_upgrade(&self, upgrade: &str, connection: &str) -> ProxyHeaders {
        ProxyHeaders {
            host: self.app_host(),
            upgrade: upgrade.to_owned(),
            connection: connection.to_owned(),
            forwarded_for: self.forwarded("forwarded_for", "$proxy_add_x_forwarded_for"),
            forwarded_host: self.forwarded("forwarded_host", &self.host_variable()),
            forwarded_port: self.forwarded("forwarded_port", self.own_port()),
            forwarded_proto: self.forwarded("scheme", self.own_scheme()),
            of_front: self.front_headers().collect(),
        }
    }
}
