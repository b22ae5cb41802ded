//! Any bytes encode a tree of links, loops, pipes and files, and operations on it. Nothing outside of the
//! tree is read or written.

#![no_main]

#[path = "../../tests/hostile/mod.rs"]
mod hostile;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hostile::play(&bytes[..bytes.len().min(1000)]));
