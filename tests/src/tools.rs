//! The five tools as cargo has built them, in a directory that the account of the tests can reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::account::Account;

const TOOLS: [&str; 5] = ["piku-receive", "piku-build", "piku-run", "piku-procfile", "piku-chroot"];

/// Returns the root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository")
}

/// Returns the directory with the tools: cargo's own, or copies below `dir` if `account` cannot reach that.
#[must_use]
pub fn reachable_by(account: &Account, dir: &Path) -> PathBuf {
    let built = built();
    for tool in TOOLS {
        assert!(built.join(tool).exists(), "{tool} is not built; run `cargo build --workspace` first");
    }
    if TOOLS.iter().all(|tool| account.can_reach(&built.join(tool))) {
        return built;
    }
    let bin = dir.join("bin");
    fs::create_dir(&bin).expect("a folder for the tools");
    for tool in TOOLS {
        copy(tool, &bin.join(tool));
    }
    bin
}

/// Copies one of the five tools.
///
/// # Panics
/// Panics if it cannot be copied.
pub fn copy(tool: &str, to: &Path) {
    // By a process of its own: what another test starts at the same moment would inherit the file while it is
    // open for writing, and such a program cannot be started (ETXTBSY).
    let copied = Command::new("cp").arg(built().join(tool)).arg(to).status();
    assert!(copied.expect("cp").success(), "a copy of {tool}");
}

/// Returns the piku-chroot that cargo has built. Builds it if only the crate of the test was built.
pub fn chroot() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let program = built().join("piku-chroot");
            if !program.is_file() {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let _ = Command::new(cargo)
                    .args(["build", "--quiet", "--package", "piku-chroot", "--target-dir"])
                    .arg(built().parent()?)
                    .current_dir(repository())
                    .status();
            }
            program.is_file().then_some(program)
        })
        .as_deref()
}

/// Builds the program that attacks a jail from inside, static so that an app can ship it; its flags differ
/// from those of the workspace, so it has a target directory of its own.
#[must_use]
pub fn attack() -> PathBuf {
    let target = built().parent().expect("a target folder").join("attack");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--release", "--package", "piku-attack", "--target-dir"])
        .arg(&target)
        .current_dir(repository())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status();
    assert!(status.expect("cargo runs").success(), "piku-attack does not build");
    target.join("release/piku-attack")
}

/// Returns `target/debug`: the test itself runs from the `deps` folder in it.
///
/// # Panics
/// If the test has no path.
#[must_use]
pub fn built() -> PathBuf {
    let me = std::env::current_exe().expect("the test's own path");
    let deps = me.parent().expect("a folder");
    if deps.ends_with("deps") { deps.parent().expect("a folder").to_owned() } else { deps.to_owned() }
}
