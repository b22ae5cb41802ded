//! Process types that start a compiler's tool in place of the program that it has built.

use piku_tests::snapshot::file;

use crate::support::World;
use crate::{check_all, has_programs};

const MAIN: &str = "package main\n\nfunc main() {}\n";

fn go_app(procfile: &str) -> World {
    World::new(&[
        ("go.mod", "module example.org/hello\n\ngo 1.17\n"),
        ("main.go", MAIN),
        ("cmd/jobs/main.go", MAIN),
        ("Procfile", procfile),
    ])
}

#[test]
fn go_run_starts_what_is_built() {
    if !has_programs("go run", &["go"]) {
        return;
    }
    check_all(
        &[
            &go_app("web: go run main.go --port $PORT\nworker: cd cmd/jobs && exec go run .\n"),
            &go_app("web: A=1 sh -c 'go run ./cmd/jobs'\ncron-a: 0 3 * * * go run example.org/hello\n"),
            &go_app("web: go run ./cmd/none\n"),
            &go_app("web: go build -o web . && ./web\n"),
            // It runs before the build, with the sources.
            &go_app("web: hello\npreflight: go run ./tools/check\n"),
        ],
        file!["words/go_run_starts_what_is_built.txt"],
    );
}

#[test]
fn cargo_run_starts_what_is_built() {
    if !has_programs("cargo run", &["cargo", "rustc"]) {
        return;
    }
    let app = |procfile: &str| {
        World::new(&[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"jobs\"]\n\n[package]\nname = \"rocket\"\nversion = \"0.1.0\"\n",
            ),
            ("Cargo.lock", ""),
            ("src/main.rs", "fn main() {}\n"),
            ("jobs/Cargo.toml", "[package]\nname = \"jobs\"\nversion = \"0.2.0\"\n"),
            ("jobs/src/main.rs", "fn main() {}\n"),
            ("Procfile", procfile),
        ])
    };
    check_all(
        &[
            &app("web: ROCKET_PORT=$PORT cargo run --release -- serve\nworker: cargo run -p jobs\n"),
            &app("web: cargo run --features tls\n"),
            &app("web: cargo build --release && target/release/rocket\n"),
        ],
        file!["words/cargo_run_starts_what_is_built.txt"],
    );
    let steps = |procfile: &str| {
        let plan = app(procfile).run(&["plan", "app"]);
        plan.good(&[]).stdout.lines().find(|line| line.starts_with("step ")).unwrap_or_default().to_owned()
    };
    // Cargo builds the package at the top by itself. A dependency may have the same name, another version.
    let alone = steps("web: rocket\n");
    assert!(!alone.contains("--package"), "{alone}");
    let both = steps("web: rocket\nworker: jobs\n");
    assert!(both.ends_with(" --package rocket@0.1.0 --package jobs@0.2.0"), "{both}");
}
