//! Paths inside the jail, as apps and build steps see them.

/// Directory of the app tree.
pub const APP: &str = "/app";
/// Directory of the app's persistent data.
pub const DATA: &str = "/data";
/// Directory in which layers are mounted, except those that belong into the app tree.
pub const LAYERS: &str = "/layers";
/// Value of `PATH`, inside the jail and in every build step.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
