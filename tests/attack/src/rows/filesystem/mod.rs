//! Attacks through files: devices, mounts, and ways back to the host's root.

pub(super) mod devices;
pub(super) mod files;
pub(super) mod mounts;
pub(super) mod root;
