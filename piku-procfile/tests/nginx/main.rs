//! What `render nginx` prints, under a real nginx that serves it: rootless, on loopback, in a folder of its own.

mod app;
mod bounds;
mod directives;
mod files;
mod forwarded;
mod include;
mod requests;
mod server;
mod settings;
