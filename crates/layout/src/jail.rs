//! Paths inside the jail, as apps and build steps see them.

/// Directory of the app tree.
pub const APP: &str = "/app";
/// Directory of the app's persistent data.
pub const DATA: &str = "/data";
/// Home directory of an app's processes.
pub const HOME: &str = "/data/home";
/// Name of the home directory in the data.
pub const HOME_IN_DATA: &str = "home";
/// Name of the directory in the data that holds what `WRITABLE_PATHS` keeps.
pub const KEPT_IN_DATA: &str = "app";
/// Directory in which layers are mounted, except those that belong into the app tree.
pub const LAYERS: &str = "/layers";
/// Value of `PATH`, inside the jail and in every build step.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
