//! Machines that differ from the build host: other architectures, older systems, releases sent over ssh, and
//! clusters.

mod before_build;
mod cluster;
mod cluster_nodes;
mod cluster_verbs;
mod control_plane;
mod delivery;
mod front;
mod held_machine;
mod hostile;
mod killed_rollback;
mod killed_verbs;
mod kinds;
mod platforms;
mod real_node;
mod rolling;
mod streaming;
mod verbs;
