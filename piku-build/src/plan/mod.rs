//! Build plans: values that describe a build before any step runs.

pub(crate) mod build_plan;
pub(crate) mod build_target;
pub(crate) mod combined_plan;
pub(crate) mod plan_report;
pub(crate) mod print_plan;
pub(crate) mod programs;
pub(crate) mod target_machines;
pub(crate) mod tool_commands;
