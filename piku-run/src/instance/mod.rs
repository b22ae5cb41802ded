//! One process of an instance: its environment and command, its record on disk, its way through the gate, its health check.

pub(crate) mod environment;
pub mod health_probe;
mod interpreter_home;
pub(crate) mod launch;
pub(crate) mod ready_socket;
pub(crate) mod record;
