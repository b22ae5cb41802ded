//! Name service of the host without the C library: `getpwnam`, `getaddrinfo` and similar functions load the
//! shared modules of nsswitch.conf, which a static program must not do. `/etc/passwd` and literal addresses
//! are read here; `getent`, a program of the host, answers the rest.

#![expect(clippy::disallowed_methods, reason = "/etc/passwd and /etc/group belong to the host")]

mod account;
mod address;
mod host_name;

pub use account::{UserAccount, find_group_name, is_taken};
pub use address::find_addresses;
pub use host_name::host_name;
