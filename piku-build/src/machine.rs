//! The machine a release is for.

use anyhow::Context;
use nix::sys::utsname;

/// The architecture, as `uname -m` says in a program of this kind: `x86_64`, `aarch64`, `armv7l`.
///
/// # Errors
/// When the kernel does not tell.
pub fn architecture() -> anyhow::Result<String> {
    let uname = utsname::uname().context("cannot ask the kernel for its architecture")?;
    let machine = uname.machine().to_string_lossy();
    // A 32-bit system on a 64-bit kernel, as Raspberry Pi OS may be: what is built here is 32-bit.
    Ok(match (std::env::consts::ARCH, machine.as_ref()) {
        ("arm", "aarch64") => "armv8l".to_owned(),
        ("x86", "x86_64") => "i686".to_owned(),
        _ => machine.into_owned(),
    })
}

/// Whether a program for one architecture runs on another: 64-bit kernels run 32-bit programs of their family.
#[must_use]
pub fn runs(built: &str, here: &str) -> bool {
    let is_arm = |name: &str| name.starts_with("armv");
    let is_x86 = |name: &str| matches!(name, "i386" | "i486" | "i586" | "i686");
    built == here
        || here == "aarch64" && is_arm(built)
        || is_arm(here) && is_arm(built)
        || (here == "x86_64" || is_x86(here)) && is_x86(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures() {
        assert!(runs("x86_64", "x86_64"));
        assert!(runs("armv7l", "aarch64"));
        assert!(runs("armv8l", "armv7l"));
        assert!(runs("i686", "x86_64"));
        assert!(!runs("aarch64", "armv7l"));
        assert!(!runs("aarch64", "x86_64"));
    }
}
