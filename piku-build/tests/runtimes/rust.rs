//! Rust apps whose compiler is one of rustup's in the home of the user who builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use piku_tests::snapshot::str;

use crate::support::World;

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

#[test]
fn a_package_may_be_named_as_its_dependency_and_is_found_where_it_is_started() {
    let world = World::new(&[
        (
            "Cargo.toml",
            "[package]\nname = 'shop'\nversion = '0.2.0'\nedition = '2021'\n\n[dependencies]\nold = { package = 'shop', path = 'old' }\n",
        ),
        (
            "Cargo.lock",
            "version = 3\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"shop\"\nversion = \"0.2.0\"\ndependencies = [\n \"shop 0.1.0\",\n]\n",
        ),
        ("src/main.rs", "fn main() {\n    println!(\"{} {:?}\", old::NAME, std::env::args().nth(1));\n}\n"),
        ("old/Cargo.toml", "[package]\nname = 'shop'\nversion = '0.1.0'\nedition = '2021'\n"),
        ("old/src/lib.rs", "pub const NAME: &str = \"old\";\n"),
        (
            "Procfile",
            "web: A=1 target/release/shop\nworker: cargo run --release -- x\nmoved: cd target && exec ./release/shop\n",
        ),
    ]);
    world.build("1").good(&["the line 'worker: bin/shop x' does"]);
    for (command, printed) in
        [("target/release/shop", "old None\n"), ("cd target && exec ./release/shop y", "old Some(\"y\")\n")]
    {
        assert_eq!(world.work("1", &["sh", "-c", command]).good(&[]).stdout, printed);
    }
    assert_eq!(world.release("1").processes["worker"], "bin/shop x");
    world.write("Procfile", "web: ./none\n");
    world.build("2").fails(str![[r#"
piku-build: Procfile: web: './none' does not exist
hint: is it committed? 'git status --ignored' shows whether .gitignore names it; 'git add -f ./none' adds it
hint: the build has made bin/shop

"#]]);
}
