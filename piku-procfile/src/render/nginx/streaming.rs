//! Long connections to the app: for how long a websocket or a stream may be idle, and by which protocol the
//! app is asked.

use super::config_writer::NginxConfigFile;
use super::paths::{MAX_PREFIXES, PathPrefix};
use super::shared_settings::{CONNECTION, REPEATABLE_METHODS, UPGRADE};
use super::{CacheSettings, StaticDir, VirtualHost};
use crate::render::app_values::ValuesReader;
use piku_report::diagnostic::quote_word;

const WEBSOCKET_TIMEOUT: &str = "NGINX_WEBSOCKET_TIMEOUT";
const GRPC_PREFIXES: &str = "NGINX_GRPC_PREFIXES";

/// Longest idle time in seconds: a week.
const MAX_TIMEOUT: u32 = 7 * 86_400;

/// Handles websockets. No request leads there directly.
const WEBSOCKET_LOCATION: &str = "@piku-websocket";

/// Status by which nginx hands a websocket to its location; no client sees it.
const WEBSOCKET_STATUS: &str = "590";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamSettings {
    /// Seconds for which a websocket or a gRPC stream may be idle.
    timeout: u32,
    /// Paths that the app serves by gRPC or HTTP/2 without TLS.
    pub(super) grpc: Vec<PathPrefix>,
}

impl StreamSettings {
    pub(super) fn read(
        read: &mut ValuesReader<'_>,
        dirs: &[StaticDir],
        caching: Option<&CacheSettings>,
    ) -> Self {
        let mut grpc: Vec<PathPrefix> = Vec::new();
        for item in read.bounded_items(GRPC_PREFIXES, MAX_PREFIXES) {
            match item.parse() {
                Ok(prefix) if grpc.contains(&prefix) => {}
                Ok(prefix) if dirs.iter().any(|dir| dir.prefix == prefix) => {
                    let what = format!("{} is a static directory", quote_word(&prefix.with_slash()));
                    read.add_error(GRPC_PREFIXES, what, None);
                }
                Ok(prefix) if caching.is_some_and(|caching| caching.prefixes.contains(&prefix)) => {
                    let what = format!("{} is in NGINX_CACHE_PREFIXES too", quote_word(&prefix.with_slash()));
                    read.add_error(GRPC_PREFIXES, what, None);
                }
                Ok(prefix) => grpc.push(prefix),
                Err(message) => {
                    let hint = "name services, such as '/helloworld.Greeter', or '/' for all requests";
                    read.add_error(GRPC_PREFIXES, message, Some(hint));
                }
            }
        }
        Self { timeout: read.parse_number(WEBSOCKET_TIMEOUT, 3600, 1..=MAX_TIMEOUT, "seconds"), grpc }
    }

    /// Returns true if all requests use gRPC.
    pub(super) fn is_all_grpc(&self) -> bool {
        self.grpc.iter().any(PathPrefix::is_root)
    }
}

impl VirtualHost {
    /// Adds `proxy_pass` to a location that gets all requests which no other location handles. Websockets are
    /// handled by a location of their own, because nginx has one idle time for each location.
    pub(super) fn add_proxy_pass(&self, to: &mut NginxConfigFile<'_>) {
        // A location in between for all requests with the header would save others the map, which is 1.5 % of their
        // instructions, and add a tenth to the time of each reload.
        to.add_block(&["if", &self.websocket_condition()], |to| {
            if !self.separates_websockets() && !self.passes_websockets_anywhere() {
                self.set_connection(to);
            }
            // Unlike after a rewrite, the app gets the path as it was sent.
            to.add(&["error_page", WEBSOCKET_STATUS, "=", WEBSOCKET_LOCATION]);
            to.add(&["return", WEBSOCKET_STATUS]);
        });
        // The location of websockets has error pages, too. The app's own may lead to the app, endlessly.
        if self.include.top_level("error_page").next().is_none() {
            to.add(&["recursive_error_pages", "on"]);
        }
        // With a variable, nginx would search all upstreams at each request, and nginx 1.22 make a TLS context
        // for each location.
        to.add(&["proxy_pass", &format!("http://{}", self.zone(""))]);
        let words: Vec<&str> = ["limit_except"].into_iter().chain(REPEATABLE_METHODS).collect();
        let once = self.once_address().map_or_else(|| self.zone(".once"), str::to_owned);
        to.add_block(&words, |to| to.add(&["proxy_pass", &format!("http://{once}")]));
    }

    /// Returns true if only the location of websockets has their headers, so that nginx evaluates no variables for
    /// those of other requests.
    pub(super) fn separates_websockets(&self) -> bool {
        !self.passes_websockets_anywhere() && !self.shares_settings
    }

    /// Returns true if a location other than that of websockets may pass them to the app.
    fn passes_websockets_anywhere(&self) -> bool {
        !self.include.directives().is_empty() || self.caching.is_some()
    }

    /// Returns the condition of `if` for a websocket.
    fn websocket_condition(&self) -> String {
        format!("({})", self.common_variable(UPGRADE))
    }

    /// Sets the value of the header `Connection` for a websocket.
    fn set_connection(&self, to: &mut NginxConfigFile<'_>) {
        to.add(&["set", &self.common_variable(CONNECTION), "upgrade"]);
    }

    /// Sets the value of the header `Connection` for websockets in each location. Where one location passes all of
    /// them, [`Self::add_proxy_pass`] does.
    pub(super) fn add_connection_variable(&self, to: &mut NginxConfigFile<'_>) {
        if self.passes_websockets_anywhere() {
            to.add_block(&["if", &self.websocket_condition()], |to| self.set_connection(to));
        }
    }

    /// Adds the location for websockets.
    pub(super) fn add_websocket_location(&self, to: &mut NginxConfigFile<'_>) {
        let timeout = format!("{}s", self.streams.timeout);
        to.add_block(&["location", WEBSOCKET_LOCATION], |to| {
            if self.separates_websockets() {
                for [name, value] in self.headers_with_upgrade("websocket", "upgrade").rows() {
                    to.add(&["proxy_set_header", name, value]);
                }
            }
            to.add(&["proxy_read_timeout", &timeout]);
            to.add(&["proxy_send_timeout", &timeout]);
            to.add(&["proxy_pass", &format!("http://{}", self.zone(""))]);
        });
    }

    /// Adds the directives of a location whose requests the app answers by gRPC.
    pub(super) fn add_grpc_pass(&self, to: &mut NginxConfigFile<'_>) {
        let timeout = format!("{}s", self.streams.timeout);
        // A stream of messages may be endless; nginx passes each on as it arrives.
        to.add(&["client_max_body_size", "0"]);
        to.add(&["client_body_timeout", &timeout]);
        to.add(&["grpc_connect_timeout", "5s"]);
        to.add(&["grpc_read_timeout", &timeout]);
        to.add(&["grpc_send_timeout", &timeout]);
        let host = self.host_variable();
        for [name, value] in [
            ["Host", &host],
            ["X-Forwarded-For", "$proxy_add_x_forwarded_for"],
            ["X-Forwarded-Proto", "$scheme"],
            ["X-Real-IP", "$remote_addr"],
        ] {
            to.add(&["grpc_set_header", name, value]);
        }
        to.add(&["grpc_next_upstream", "error"]);
        to.add(&["grpc_pass", &format!("grpc://{}", self.zone(""))]);
    }
}
