//! The attacking program, built static, so that it runs whatever is let in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns its path. It is built once, in a folder beside the other builds, since all of it is built in
/// another way.
pub(super) fn path() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let launcher = Path::new(env!("CARGO_BIN_EXE_piku-chroot"));
        let target = launcher.ancestors().nth(2).unwrap().join("attack");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--release", "--package", "piku-attack", "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .status();
        assert!(built.unwrap().success(), "piku-attack does not build");
        target.join("release/piku-attack")
    })
}
