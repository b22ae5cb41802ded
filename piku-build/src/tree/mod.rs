//! Trees of files: copied, compared, shared by hard links, kept between builds, and seen as a process will
//! see them.

pub(crate) mod copy;
pub(crate) mod found;
pub(crate) mod hard_link;
pub(crate) mod kept_tree;
pub(crate) mod linked_source;
pub(crate) mod root_view;
pub(crate) mod tree_comparison;
pub(crate) mod tree_layer;
