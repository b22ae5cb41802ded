//! Package registries on loopback.

pub mod gems;
pub mod index;
