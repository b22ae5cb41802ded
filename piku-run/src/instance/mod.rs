//! The process of an instance: its environment and command, its record, the gate before its start, its
//! health check.

mod app_isolation;
mod command_options;
pub(crate) mod data_jail;
pub(crate) mod environment;
pub(crate) mod health_probe;
mod interpreter_home;
pub(crate) mod launch;
pub(crate) mod network;
pub(crate) mod observation;
pub(crate) mod opt_outs;
pub(crate) mod port_holder;
pub(crate) mod prepared_root;
pub(crate) mod ready_socket;
pub(crate) mod record;
pub(crate) mod service_process;
pub(crate) mod tree_access;
pub(crate) mod unkept_files;
