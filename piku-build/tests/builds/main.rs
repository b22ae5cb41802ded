//! Builds of any app: which runtime, the sandbox, interruptions, releases for other machines.

mod again;
mod choice;
mod cross;
mod hostile_streams;
mod image;
mod interrupted;
mod linked;
mod pack;
mod sandbox;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
