//! The machine a release is for.

use anyhow::Context;
use nix::sys::utsname;

/// The architecture, as `uname -m` says in a program of this kind: `x86_64`, `aarch64`, `armv7l`.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn architecture() -> anyhow::Result<String> {
    let uname = utsname::uname().context("cannot ask the kernel for its architecture")?;
    let machine = uname.machine().to_string_lossy();
    // A 32-bit system on a 64-bit kernel, as Raspberry Pi OS may be: what is built here is 32-bit.
    Ok(match (std::env::consts::ARCH, machine.as_ref()) {
        ("arm", "aarch64") => "armv8l".to_owned(),
        ("x86", "x86_64") => "i686".to_owned(),
        _ => machine.into_owned(),
    })
}
