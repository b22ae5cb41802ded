//! The output of `render nginx`, served by a real nginx: rootless, on loopback, in its own folder.

mod app;
mod bounds;
mod directives;
mod files;
mod forwarded;
mod include;
mod requests;
mod server;
mod settings;
mod shared;
mod site_rules;
