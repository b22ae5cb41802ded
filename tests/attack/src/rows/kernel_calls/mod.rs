//! Attacks through system calls and the files of the kernel: rights, namespaces, keyrings.

pub(super) mod filter;
pub(super) mod kernel;
pub(super) mod keys;
pub(super) mod namespaces;
pub(super) mod rights;
