//! Rust apps with the real cargo: pushed, built with their dependency, served, and built again in the tree that is kept.

use std::process::Command;

use piku_tests::world::World;

const MANIFEST: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nitoa = \"=1.0.11\"\n";
const MAIN: &str = r#"
use std::io::{BufRead, BufReader, Write};

fn main() {
    let address = format!("{}:{}", std::env::var("BIND_ADDRESS").unwrap(), std::env::var("PORT").unwrap());
    for client in std::net::TcpListener::bind(address).unwrap().incoming() {
        let mut client = client.unwrap();
        let request = BufReader::new(client.try_clone().unwrap());
        let _ = request.lines().take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
        let page = std::fs::read_to_string("static/page").unwrap();
        let sources = std::path::Path::new("src").exists() || std::path::Path::new("target/release/deps").exists();
        let body = format!("hello {} {page} sources: {sources}\n", itoa::Buffer::new().format(42));
        let _ = write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    }
}
"#;

#[test]
fn cargo_package_is_rebuilt_incrementally() {
    let world = World::new();
    let repo = world.repo("shop");
    repo.file("Cargo.toml", MANIFEST)
        .file("src/main.rs", MAIN)
        .file("static/page", "one")
        // As Procfiles of the field have it.
        .file("Procfile", "web: ./target/release/shop\n");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let locked = Command::new(cargo).args(["generate-lockfile", "--quiet"]).current_dir(repo.path()).status();
    assert!(locked.expect("cargo runs").success(), "the laptop's cargo writes a lock file");
    repo.commit("One");
    let said = repo.push().succeeds();
    for text in
        ["-----> Rust app detected: there is a Cargo.toml", "Compiling itoa v1.0.11", "Compiling shop v0.1.0"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert_eq!(world.page("shop"), "hello 42 one sources: false\n");

    // No source has changed: nothing is compiled, and the release is a new one all the same.
    let said = repo.file("static/page", "two").commit("Two").push().succeeds();
    assert!(!said.contains("Compiling") && said.contains("Finished"), "{said}");
    assert_eq!(world.page("shop"), "hello 42 two sources: false\n");

    let said = repo.file("src/main.rs", MAIN.replace("hello", "goodbye")).commit("Three").push().succeeds();
    assert!(!said.contains("Compiling itoa") && said.contains("Compiling shop"), "{said}");
    assert_eq!(world.page("shop"), "goodbye 42 two sources: false\n");

    // Back to what it was: older, and a change all the same.
    repo.file("src/main.rs", MAIN).commit("Four").push().succeeds();
    assert_eq!(world.page("shop"), "hello 42 two sources: false\n");

    repo.file("src/main.rs", "fn main() { nothing }\n").commit("Five");
    repo.push().fails_with(&["cannot find value `nothing`", "step 'cargo' failed"]);
    repo.file("src/main.rs", MAIN).file("Cargo.toml", MANIFEST.replace("=1.0.11", "=1.0.12")).commit("Six");
    repo.push().fails_with(&["Cargo.lock does not fit Cargo.toml", "commit Cargo.lock"]);
    repo.file("Cargo.toml", MANIFEST)
        .file("rust-toolchain.toml", "[toolchain]\nchannel = \"1.999\"\n")
        .commit("Seven");
    repo.push().fails_with(&["rust-toolchain.toml asks for Rust 1.999; this machine has"]);
    assert_eq!(world.page("shop"), "hello 42 two sources: false\n");
}
