//! The host's name.

/// Returns the name of the host; `None` if it has none, or one that is not UTF-8.
#[must_use]
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok().filter(|name| !name.is_empty())
}
