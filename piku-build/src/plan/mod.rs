//! What a build will do, as values, before anything is run.

pub(crate) mod build_plan;
pub(crate) mod build_target;
pub(crate) mod combined_plan;
pub(crate) mod plan_report;
pub(crate) mod print_plan;
pub(crate) mod programs;
