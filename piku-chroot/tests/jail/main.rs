//! The real program from outside: what gets in, what gets out, and what holds. As root each test is run
//! twice, as root and as a user without rights.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a skipped test reports it")]

mod check;
mod codes;
mod confinement;
mod environment;
mod filesystem;
mod kernel;
mod limits;
mod prepared;
mod processes;
mod profile;
mod programs;
mod races;
mod scene;
mod shortage;
mod signals;
mod terminal;
mod uid_range;
