//! What a process may ask of the kernel, taken away layer by layer.

pub(crate) mod capabilities;
pub(crate) mod keyring;
