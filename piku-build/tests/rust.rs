//! Rust apps whose compiler is one of rustup's in the home of the user who builds.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::World;

#[test]
fn a_toolchain_of_a_home_is_known_by_its_name() {
    let mut world = World::new(&[
        ("Cargo.toml", "[package]\nname = 'shop'\nversion = '0.1.0'\nedition = '2021'\n"),
        ("Cargo.lock", "version = 3\n\n[[package]]\nname = 'shop'\nversion = '0.1.0'\n"),
        ("src/main.rs", "fn main() {\n    println!(\"{}\", env!(\"FORK\"));\n}\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = 'fork'\n"),
    ]);
    // The machine's own compiler, by way of a toolchain that its owner has linked.
    let bin = world.path("rustup/toolchains/fork/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in ["cargo", "rustc"] {
        let program = bin.join(name);
        fs::write(&program, format!("#!/bin/sh\nexport FORK=1\nexec /usr/bin/{name} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.env("RUSTUP_HOME", world.path("rustup").to_str().unwrap());
    world.build("1").good(&["(rust-toolchain.toml)", "Compiling shop"]).not_said("asks for Rust");
    assert_eq!(world.work("1", &["bin/shop"]).good(&[]).stdout, "1\n");

    world.write("rust-toolchain.toml", "[toolchain]\nchannel = 'beta'\n");
    world
        .run(&["plan", "app"])
        .good(&["rust-toolchain.toml asks for Rust beta, which is not on this machine"]);
}
