//! What a process may ask of the kernel, taken away layer by layer.

pub(crate) mod capabilities;
pub(crate) mod keyring;
pub(crate) mod landlock;
pub(crate) mod protections;
pub(crate) mod seccomp;
