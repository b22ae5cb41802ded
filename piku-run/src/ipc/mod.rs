//! Unix sockets between `piku-run` commands, the daemon and the supervisors: connections, requests and
//! responses.

pub(crate) mod client;
pub(crate) mod connections;
pub(crate) mod fan_out;
pub(crate) mod protocol;
pub(crate) mod socket;
