//! Process types that start a compiler's tool in place of the program that it has built.

use piku_tests::snapshot::str;

use crate::support::World;
use crate::{check_words, has_programs};

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
    check_words(
        &go_app("web: go run main.go --port $PORT\nworker: cd cmd/jobs && exec go run .\n"),
        str![[r#"
exit 0
runtime  go [VERSION] (go in go.mod)
because  there is a go.mod
process  web: bin/hello --port $PORT (Procfile)
process  worker: cd cmd/jobs && exec ../../bin/jobs (Procfile)
 !     warning: Procfile: web: 'go run main.go' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'web: bin/hello --port $PORT' does
 !     warning: Procfile: worker: 'go run .' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'worker: cd cmd/jobs && exec ../../bin/jobs' does

"#]],
    );
    check_words(
        &go_app("web: A=1 sh -c 'go run ./cmd/jobs'\ncron-a: 0 3 * * * go run example.org/hello\n"),
        str![[r#"
exit 0
runtime  go [VERSION] (go in go.mod)
because  there is a go.mod
process  web: A=1 sh -c 'bin/jobs' (Procfile)
process  cron-a: 0 3 * * * bin/hello (Procfile)
 !     warning: Procfile: web: 'go run ./cmd/jobs' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'web: A=1 sh -c 'bin/jobs'' does
 !     warning: Procfile: cron-a: 'go run example.org/hello' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'cron-a: 0 3 * * * bin/hello' does

"#]],
    );
    check_words(
        &go_app("web: go run ./cmd/none\n"),
        str![[r#"
exit 1
piku-build: Procfile: web: 'go run ./cmd/none' needs the app's sources, which are not in a release; the build makes bin/hello, bin/jobs
hint: start what the build makes: 'web: bin/hello'

"#]],
    );
    check_words(
        &go_app("web: go build -o web . && ./web\n"),
        str![[r#"
exit 1
piku-build: Procfile: web: 'go build -o web .' needs the app's sources, which are not in a release; the build makes bin/hello, bin/jobs
hint: start what the build makes: 'web: bin/hello'

"#]],
    );
    // It runs before the build, with the sources.
    check_words(
        &go_app("web: hello\npreflight: go run ./tools/check\n"),
        str![[r#"
exit 0
runtime  go [VERSION] (go in go.mod)
because  there is a go.mod
process  web: hello (Procfile)
process  preflight: go run ./tools/check (Procfile)

"#]],
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
    check_words(
        &app("web: ROCKET_PORT=$PORT cargo run --release -- serve\nworker: cargo run -p jobs\n"),
        str![[r#"
exit 0
runtime  rust [VERSION] (the machine's rustc)
because  there is a Cargo.toml
process  web: ROCKET_PORT=$PORT bin/rocket serve (Procfile)
process  worker: bin/jobs (Procfile)
 !     warning: Procfile: web: 'cargo run --release' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'web: ROCKET_PORT=$PORT bin/rocket serve' does
 !     warning: Procfile: worker: 'cargo run -p jobs' needs the app's sources, which are not in a release: the program that is built is started instead, as the line 'worker: bin/jobs' does

"#]],
    );
    check_words(
        &app("web: cargo run --features tls\n"),
        str![[r#"
exit 1
piku-build: Procfile: web: 'cargo run --features tls' needs the app's sources, which are not in a release: features of the build are set by RUST_CARGO_BUILD_FLAGS in ENV, such as '--features NAME'; the build makes bin/rocket
hint: start what the build makes: 'web: bin/rocket'

"#]],
    );
    check_words(
        &app("web: cargo build --release && target/release/rocket\n"),
        str![[r#"
exit 1
piku-build: Procfile: web: 'cargo build --release' needs the app's sources, which are not in a release; the build makes bin/rocket
hint: start what the build makes: 'web: bin/rocket'

"#]],
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
