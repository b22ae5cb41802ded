//! Native programs and libraries in a tree, which bind a release to a machine.

pub(crate) mod foreign;
pub(crate) mod native_search;
