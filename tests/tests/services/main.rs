//! Services beside apps: real servers, bound to apps that are pushed.

mod backup;
mod concurrent;
mod full_disk;
mod killed_exchange;
mod killed_restores;
mod mariadb;
mod names;
mod own_kind;
mod own_users;
mod postgres;
mod redis;
mod upgrade;

use std::io::Write;
use std::process::Output;

use piku_tests::snapshot::text;
use piku_tests::world::World;

/// Says `words` over ssh as `key`; they must end with `code`.
pub(crate) fn says(world: &World, key: &str, words: &str, code: i32) -> String {
    let out = world.ssh(key, words);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "{words}: {said}\n{}", world.logs());
    said
}

/// Says `words` over ssh with an input.
pub(crate) fn says_with(world: &World, words: &str, input: &[u8]) -> Output {
    key_says_with(world, "laptop", words, input)
}

/// Says `words` over ssh as `key` with an input.
pub(crate) fn key_says_with(world: &World, key: &str, words: &str, input: &[u8]) -> Output {
    let mut child = world.start_ssh(key, words);
    let mut stdin = child.stdin.take().expect("stdin");
    // A verb that refuses the input does not read it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("ssh")
}
