//! The host's name service without the C library: `getpwnam`, `getaddrinfo` and their like load shared modules as nsswitch.conf
//! says, which a static program must not. `/etc/passwd` and literal addresses are read here; all else is asked of `getent`, a
//! program of the host's that loads what it needs.

#![expect(clippy::disallowed_methods, reason = "/etc/passwd and /etc/group are the host's own files")]

mod account;
mod address;

pub use account::{UserAccount, is_taken};
pub use address::find_addresses;
