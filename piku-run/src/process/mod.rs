//! Processes of this host: ending a process family, reaping children, signals, stdin, waiting for descriptors, deadlines,
//! memory, git, the own program and others, the ssh session.

pub(crate) mod caller_guard;
pub(crate) mod deadline;
pub(crate) mod family;
pub(crate) mod git_command;
pub(crate) mod idle_memory;
pub(crate) mod installed_program;
pub(crate) mod leftovers;
pub(crate) mod own_program;
pub(crate) mod processor_meter;
pub(crate) mod reap;
pub(crate) mod sibling_tool;
pub(crate) mod signals;
pub(crate) mod ssh_session;
pub(crate) mod standard_input;
pub(crate) mod wait;
