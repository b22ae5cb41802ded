//! The real program from outside: what gets in, what gets out, and what holds. As root each test is run twice, as root
//! and as a user without rights.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a skipped test reports it")]

mod attacks;
mod check;
mod codes;
mod environment;
mod files;
mod grants;
mod hands;
mod holes;
mod hostfiles;
mod ids;
mod kernel;
mod limits;
mod processes;
mod profile;
mod programs;
mod races;
mod rights;
mod scene;
mod scratch;
mod shortage;
mod signals;
mod terminal;
mod two;
