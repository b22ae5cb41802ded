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
    /// Further names and values.
    pub(super) more: Vec<[String; 2]>,
}

/// Headers about the client that programs believe. nginx sets or removes each.
const CLIENT_HEADERS: [&str; 7] = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Real-IP",
];

/// Returns the spellings of a header name with `_` in place of one `-` or more.
fn spellings_with_underscores(name: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for (number, part) in name.split('-').enumerate() {
        let marks: &[&str] = if number == 0 { &[""] } else { &["-", "_"] };
        all = all
            .iter()
            .flat_map(|start| marks.iter().map(move |mark| format!("{start}{mark}{part}")))
            .collect();
    }
    all.retain(|spelling| spelling != name);
    all
}

impl ProxyHeaders {
    /// Returns the names and values. nginx omits a header without a value.
    pub(super) fn rows(&self) -> Vec<[&str; 2]> {
        let own = self.more.iter().map(|[name, value]| [name.as_str(), value.as_str()]);
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
    /// Returns the other spellings of [`CLIENT_HEADERS`], without values, if headers with `_` are passed on: many programs
    /// read `-` and `_` alike, and would believe the client.
    fn removed_spellings(&self) -> impl Iterator<Item = [String; 2]> {
        let passes =
            self.directives.iter().any(|(_, name, value)| *name == "underscores_in_headers" && value == "on");
        let names: &[&str] = if passes { &CLIENT_HEADERS } else { &[] };
        names.iter().flat_map(|name| spellings_with_underscores(name)).map(|name| [name, String::new()])
    }

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
            more: self.front_headers().chain(self.removed_spellings()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mix_of_both_marks_is_a_spelling() {
        assert_eq!(spellings_with_underscores("X-Real-IP"), ["X-Real_IP", "X_Real-IP", "X_Real_IP"]);
        assert!(spellings_with_underscores("Forwarded").is_empty());
    }
}
