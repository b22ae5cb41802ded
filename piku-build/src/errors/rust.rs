//! Errors of Rust apps.

use std::fmt::Display;
use std::path::Path;

use piku_report::user_error::UserError;

use super::{join_names, likely_program};
use crate::runtime::RequestedVersion;
use piku_release::target::TargetArchitecture;

pub(crate) const INSTALL_NEWER: &str = "install a newer one on the machine: rustup as the user piku, or on Debian 12 apt install cargo-web rustc-web";

pub(crate) fn no_rust() -> UserError {
    UserError::new("this is a Rust app, recognised, but the machine has no cargo")
        .hint("apt install cargo (on Debian 12 its newer packages: cargo-web rustc-web), or rustup as the user piku")
}

pub(crate) fn no_linker() -> UserError {
    UserError::new("this is a Rust app, and the machine has no linker: rustc calls 'cc'")
        .hint("on the machine: apt install gcc libc6-dev")
}

/// The toolchain has no standard library for the target. `toolchain` is the name of rustup's, if it is not
/// Debian's.
pub(crate) fn no_std(target: &TargetArchitecture, toolchain: Option<&str>) -> UserError {
    let failure = UserError::new(format!("this machine's Rust has no standard library for {}", target.name));
    let triple = target.rust[0];
    let (debian, linker) = (target.debian(), target.compiler_package());
    match (toolchain, linker) {
        (Some(toolchain), linker) => {
            let with = linker.map(|package| format!("; apt install {package}")).unwrap_or_default();
            failure.hint(format!("as the user piku: rustup target add {triple} --toolchain {toolchain}{with}"))
        }
        (None, Some(linker)) => failure.hint(format!(
            "on the machine: dpkg --add-architecture {debian} && apt update && apt install libstd-rust-dev:{debian} {linker}"
        )),
        (None, None) => failure.hint(format!(
            "Debian has none that runs there; as the user piku: rustup toolchain install stable, rustup target add {triple}"
        )),
    }
}

pub(crate) fn no_cross_linker(target: &TargetArchitecture) -> UserError {
    let failure = UserError::new(format!("this machine has no linker for {}", target.name));
    match target.compiler_package() {
        Some(package) => {
            failure.hint(format!("on the machine: apt install {package} libc6-dev-{}-cross", target.debian()))
        }
        None => failure.hint("as the user piku: rustup toolchain install stable, which brings rust-lld"),
    }
}

pub(crate) fn misnamed(name: &str) -> UserError {
    UserError::new(format!("this looks like a Rust app, but its manifest is '{name}'; expected 'Cargo.toml'"))
        .hint(format!("git mv {name} Cargo.toml"))
}

pub(crate) fn bad_file(file: &Path, why: &str) -> UserError {
    UserError::new(format!("cannot parse '{}': {}", file.display(), why.trim_end()))
}

pub(crate) fn too_old(requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Rust", installed).hint(INSTALL_NEWER)
}

pub(crate) fn no_program() -> UserError {
    UserError::new("this is a Rust app, but none of its packages has a program that is built by default")
        .hint(
            "a program is src/main.rs, src/bin/NAME.rs, or a [[bin]] of Cargo.toml without required-features",
        )
}

pub(crate) fn no_process_types(programs: &[String]) -> UserError {
    let first = likely_program(programs);
    UserError::new(format!(
        "this is a Rust app without a Procfile, and it is not obvious which of its programs to start: {}",
        join_names(programs)
    ))
    .hint(format!(
        "add a file 'Procfile' with the line 'web: ./target/release/{first}', or default-run to Cargo.toml"
    ))
}

pub(crate) fn nothing_built(missing: &[String]) -> UserError {
    UserError::new(format!("cargo succeeded but did not build {}", join_names(missing)))
        .hint("does the app's .cargo/config.toml or a profile put programs elsewhere than target/release?")
}
