//! The redirects of a site's `_redirects` file: one variable for each status code, which has the new place of
//! the requested path. The headers of its `_headers`: one variable for each header, with its value for the path.

use std::collections::BTreeSet;

use super::VirtualHost;
use super::config_writer::NginxConfigFile;
use super::content::escape_regex;
use super::settings::path_redirects::PathRedirect;

impl VirtualHost {
    /// Returns the status codes of the redirects, each with the variable of the new place.
    fn moved_variables(&self) -> Vec<(u16, String)> {
        let codes: BTreeSet<u16> = self.path_redirects.iter().map(|redirect| redirect.code).collect();
        codes.into_iter().map(|code| (code, self.variable(&format!("moved_{code}")))).collect()
    }

    /// Returns the variable of each header of the site.
    pub(super) fn header_variables(&self) -> impl Iterator<Item = String> {
        (0..self.site_headers.len()).map(|number| self.variable(&format!("header_{number}")))
    }
}

/// Adds the variables of the redirects, for the `http` block.
pub(super) fn add_moved_maps(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    if site.path_redirects.is_empty() {
        return;
    }
    // The path as it was sent: decoded, it could end the header and begin another one.
    let (path, sent) = (site.variable("path"), site.variable("sent"));
    let pattern = format!("~^(?<{}>[^?]*)", sent.trim_start_matches('$'));
    to.add_block(&["map", "$request_uri", &path], |to| to.add(&[&pattern, &sent]));
    let rest = site.variable("splat");
    for (code, variable) in site.moved_variables() {
        to.add_block(&["map", &path, &variable], |to| {
            to.add(&["default", ""]);
            // nginx compares the texts first, without regard to case, then the patterns in this order.
            let (prefixes, whole): (Vec<_>, Vec<_>) = site
                .path_redirects
                .iter()
                .filter(|redirect| redirect.code == code)
                .partition(|redirect| redirect.is_prefix);
            for redirect in whole.into_iter().chain(prefixes) {
                let (before, after) = (&redirect.to.0, redirect.to.1.as_deref());
                if redirect.is_prefix {
                    // A second slash would make the rest the name of another host.
                    let name = rest.trim_start_matches('$');
                    let from = format!("~^{}(?!/)(?<{name}>.*)$", escape_regex(&redirect.from));
                    let target =
                        after.map_or_else(|| before.clone(), |after| format!("{before}${{{name}}}{after}"));
                    to.add(&[&from, &target]);
                } else if needs_pattern(redirect, &site.path_redirects) {
                    to.add(&[&whole_pattern(&redirect.from), before]);
                } else {
                    to.add(&[&redirect.from, before]);
                }
            }
        });
    }
}

/// Returns true if nginx's comparison without regard to case could confuse the path with another one.
fn needs_pattern(redirect: &PathRedirect, all: &[PathRedirect]) -> bool {
    redirect.is_pattern()
        || all.iter().any(|other| {
            !other.is_prefix && other.from != redirect.from && other.from.eq_ignore_ascii_case(&redirect.from)
        })
}

/// Returns a key of a map that matches this path alone.
fn whole_pattern(path: &str) -> String {
    format!("~^{}\\z", escape_regex(path))
}

/// Adds the variables of the headers; an empty one is not sent.
pub(super) fn add_header_maps(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    if site.site_headers.is_empty() {
        return;
    }
    // Not as it was sent: `/%61` and `//a` are the file of `/a`, too.
    let asked = site.variable("asked");
    to.add_block(&["map", "$uri", &asked], |to| to.add(&["default", "$uri"]));
    for (header, variable) in site.site_headers.iter().zip(site.header_variables()) {
        to.add_block(&["map", &asked, &variable], |to| {
            to.add(&["default", ""]);
            for (path, value) in &header.values {
                let from = if path.is_prefix {
                    format!("~^{}", escape_regex(&path.path))
                } else {
                    whole_pattern(&path.path)
                };
                to.add(&[&from, value]);
            }
        });
    }
}

/// Adds the redirects and the path of the headers, for the app's server.
pub(super) fn add_moved_paths(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    if !site.site_headers.is_empty() {
        // nginx keeps the value of a map: here it is the path before an index or an error page replaces it.
        to.add(&["set", &site.variable("kept"), &site.variable("asked")]);
    }
    for (code, variable) in site.moved_variables() {
        to.add_block(&["if", &format!("({variable})")], |to| {
            to.add(&["return", &code.to_string(), &variable]);
        });
    }
    for (file, is_read) in
        [("/_redirects", !site.path_redirects.is_empty()), ("/_headers", !site.site_headers.is_empty())]
    {
        if is_read {
            to.add_block(&["location", "=", file], |to| to.add(&["return", "404"]));
        }
    }
}
