//! Services: servers such as databases that run beside the apps, under the same supervisor and in the same jail, and
//! that apps are bound to. Their state, their kinds and what their processes get; docs/services.md describes the contract
//! with a kind's programs.

pub(crate) mod kind;
pub(crate) mod state;
mod switch;
