//! Any bytes are a tree of links, loops, pipes and files and what is done with it: nothing beside it is read or written.

#![no_main]

#[path = "../../tests/hostile/mod.rs"]
mod hostile;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hostile::play(&bytes[..bytes.len().min(1000)]));
