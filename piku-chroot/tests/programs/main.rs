//! Real programs do their work in the jail: languages with their package managers and caches, servers, a
//! database, compilers. What a program needs and this machine has not is said aloud; with CI set in the
//! environment it fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod filter;
mod go;
mod jvm;
mod machine;
mod node;
mod postgres;
mod python;
#[path = "../jail/scene.rs"]
#[expect(dead_code, reason = "the tests of the jail itself need more of it")]
mod scene;
mod server;
mod toolchain;
mod work;
