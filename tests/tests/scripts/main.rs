//! The shell scripts that people run on a laptop or a host.

mod bench;
mod client;
mod completion;
mod demo;
mod doctor;
mod measure;
mod prepare;
mod setup;
mod shell;
