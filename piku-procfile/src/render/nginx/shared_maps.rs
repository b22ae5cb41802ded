//! The maps whose result does not depend on the app. nginx allocates and clears a megabyte for each map that it
//! reads, so with many apps on one nginx all of them share one file of maps.

use super::config_writer::NginxConfigFile;

/// Role of the variable that is added to the name of an upstream: `.once` for a request that must not be sent
/// twice, otherwise empty.
pub(super) const ONCE: &str = "once";

/// Methods whose requests nginx may repeat, and which get a kept connection for this reason.
pub(super) const REPEATABLE_METHODS: [&str; 10] =
    ["GET", "PUT", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK"];

/// Returns the name of a shared variable. No variable of an app has this name: theirs contain the app's.
pub(super) fn variable(role: &str) -> String {
    format!("$piku_{role}")
}

/// Renders the shared maps, for the `http` block.
#[must_use]
pub fn render_shared_maps() -> String {
    let mut to = NginxConfigFile::default();
    to.add_comment("maps of all apps: generated; do not edit");
    add_method_map(&mut to, &variable(ONCE), "", ".once");
    add_upgrade_maps(&mut to, variable);
    add_port_map(&mut to, variable);
    to.finish()
}

/// Adds the map that chooses between an upstream with kept connections and one without.
pub(super) fn add_method_map(to: &mut NginxConfigFile<'_>, name: &str, kept: &str, once: &str) {
    to.add_block(&["map", "$request_method", name], |to| {
        to.add(&["default", once]);
        // Unlike in `limit_except`, GET does not include HEAD.
        for method in REPEATABLE_METHODS.into_iter().chain(["HEAD"]) {
            to.add(&[method, kept]);
        }
    });
}

/// Adds the headers of a websocket. Any other upgrade could bypass this server.
pub(super) fn add_upgrade_maps(to: &mut NginxConfigFile<'_>, variable: impl Fn(&str) -> String) {
    let upgrade = variable("upgrade");
    to.add_block(&["map", "$http_upgrade", &upgrade], |to| {
        to.add(&["default", ""]);
        to.add(&["~*^websocket$", "websocket"]);
    });
    to.add_block(&["map", &upgrade, &variable("connection")], |to| {
        to.add(&["default", ""]);
        to.add(&["websocket", "upgrade"]);
    });
}

/// Adds the variable with the port that the client has asked for, `:PORT` or nothing.
pub(super) fn add_port_map(to: &mut NginxConfigFile<'_>, variable: impl Fn(&str) -> String) {
    // nginx has checked `$host`, which has no port.
    let typed = variable("typed");
    let pattern = format!("~(?<{}>:[0-9]{{1,5}})$", typed.trim_start_matches('$'));
    to.add_block(&["map", "$http_host", &variable("port")], |to| {
        to.add(&["default", ""]);
        to.add(&[&pattern, &typed]);
    });
}
