//! The support library of the end-to-end suites.

#![expect(clippy::must_use_candidate, reason = "the strict builders are used for what they do")]
#![expect(clippy::missing_panics_doc, reason = "a panic is how a test says no")]

pub mod account;
pub mod acme;
pub mod cluster;
pub mod elf;
pub mod http;
mod machines;
pub mod nginx;
pub mod ports;
pub mod processes;
pub mod random_kill;
mod registries;
pub mod repo;
mod skip;
pub mod snapshot;
pub mod sshd;
pub mod tools;
pub mod trace;
pub mod world;

pub use machines::{lan, scene};
pub use registries::{gems, index};
pub use skip::skip;
