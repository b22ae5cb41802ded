//! A front: the nginx of one machine that passes the requests to an app on to other machines, whose nginx serves
//! it. The front asks for a host name with a key in it and sends a header with the key in its name. Only the
//! two of them know the key, so no other client is taken for the front, from whatever address it comes: also
//! the other apps on the machine of the front have that one's address.

use piku_layout::front_key::{FRONT_DOMAIN, FrontKey};

use crate::render::nginx::VirtualHost;
use crate::render::nginx::config_writer::NginxConfigFile;

impl VirtualHost {
    /// Returns true if the `X-Forwarded-*` headers of some client are believed.
    pub(in crate::render::nginx) fn is_behind_proxy(&self) -> bool {
        self.trusted.is_some() || self.front.is_some()
    }

    /// Returns the value of the header `Host` for the app: the name that the client of the front has asked for.
    pub(in crate::render::nginx) fn app_host(&self) -> String {
        match (&self.machines, &self.front) {
            (Some(key), _) => key.host_name(),
            (None, Some(_)) => self.variable("app_host"),
            (None, None) => self.host_variable(),
        }
    }

    /// Returns what tells the cached responses for one host name from those for another.
    pub(in crate::render::nginx) fn cache_key(&self) -> String {
        match self.front {
            Some(_) => format!("{}{}$request_uri", self.scheme(), self.app_host()),
            None => "$scheme$host$request_uri".to_owned(),
        }
    }

    /// Returns the headers with the key: for the machines behind this front, or none for the app behind another
    /// one.
    pub(in crate::render::nginx) fn front_headers(&self) -> impl Iterator<Item = [String; 2]> {
        let to_machines = self.machines.as_ref().map(|key| [header_name(key), "$remote_addr".to_owned()]);
        let to_app = self.front.as_ref().map(|key| [header_name(key), String::new()]);
        to_machines.into_iter().chain(to_app)
    }

    /// Adds the directives for the address of the client, which a proxy in front has sent.
    pub(in crate::render::nginx) fn add_client_address(&self, to: &mut NginxConfigFile<'_>) {
        if let Some(key) = &self.front {
            for range in ["0.0.0.0/0", "::/0"] {
                to.add(&["set_real_ip_from", range]);
            }
            to.add(&["real_ip_header", &header_name(key)]);
        } else if let Some(trusted) = &self.trusted {
            for range in &trusted.ranges {
                to.add(&["set_real_ip_from", range]);
            }
            to.add(&["real_ip_header", trusted.header]);
            to.add(&["real_ip_recursive", "on"]);
        }
    }

    /// Adds the variable with the result of a `geo` block, which `fill` adds under the name that it is given. The
    /// front's requests have the result `front`.
    pub(in crate::render::nginx) fn add_address_variable<'a>(
        &self,
        role: &str,
        front: &str,
        to: &mut NginxConfigFile<'a>,
        fill: impl FnOnce(&mut NginxConfigFile<'a>),
    ) {
        let Some(key) = &self.front else {
            // The address of the connection, not the one from the header.
            return to.add_block(&["geo", "$realip_remote_addr", &self.variable(role)], fill);
        };
        let address = self.variable(&format!("{role}_address"));
        to.add_block(&["geo", "$realip_remote_addr", &address], fill);
        let from = format!("{address}{}", header_variable(key));
        to.add_block(&["map", &from, &self.variable(role)], |to| {
            to.add(&["default", front]);
            to.add(&["0", "0"]);
            to.add(&["1", "1"]);
        });
    }
}

/// Adds the server for keys that no app of this machine has. Another app does not see them: it could pretend to
/// be the front of that app on other machines.
pub(in crate::render::nginx) fn add_unknown_keys(sockets: &[String], to: &mut NginxConfigFile<'_>) {
    to.add_block(&["server"], |to| {
        for socket in sockets {
            to.add(&["listen", socket]);
        }
        to.add(&["server_name", &format!("*.{FRONT_DOMAIN}")]);
        to.add(&["access_log", "off"]);
        to.add(&["return", "421"]);
    });
}

fn header_name(key: &FrontKey) -> String {
    format!("X-Piku-Front-{key}")
}

fn header_variable(key: &FrontKey) -> String {
    format!("$http_x_piku_front_{key}")
}
