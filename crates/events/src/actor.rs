//! The one who acts: a key, the operator on the server, or a process of piku.

use std::env;

/// Environment variable with the name of the key in whose name the tools run. piku-receive sets it, and has
/// its own line in the audit log.
pub const KEY: &str = "PIKU_KEY";
/// Environment variable with the name of the process of piku that runs a tool by itself, such as `daemon`.
pub const PROCESS: &str = "PIKU_BY";
/// Name of the operator in records.
pub const OPERATOR: &str = "operator";

/// Returns the name of the calling key; `None` on the server itself.
#[must_use]
pub fn calling_key() -> Option<String> {
    env::var(KEY).ok().filter(|key| !key.is_empty())
}

/// Returns the name of the one who acts: of a key, of a process of piku, or `operator`. With sudo the operator's
/// own account follows: `operator:rui`. No key has a colon in its name.
#[must_use]
pub fn actor_name() -> String {
    if let Some(name) = calling_key().or_else(|| env::var(PROCESS).ok().filter(|name| !name.is_empty())) {
        return name;
    }
    match env::var("SUDO_USER") {
        Ok(user) if !user.is_empty() && user != "root" => format!("{OPERATOR}:{user}"),
        _ => OPERATOR.to_owned(),
    }
}
