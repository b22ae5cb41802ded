//! Several machines in one test.

pub mod lan;
pub mod scene;
