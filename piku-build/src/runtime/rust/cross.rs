//! Cross-compilation of Rust: needs the target's standard library, Debian's or rustup's, and a linker:
//! Debian's cross compiler, or for musl the one of rustup.

#![expect(clippy::disallowed_methods, reason = "toolchains of the machine")]

use std::fs;
use std::path::Path;

use super::toolchain::InstalledRust;
use crate::errors;
use crate::plan::build_target::BuildTarget;
use piku_release::target::TargetArchitecture;

/// The linker in rustup's toolchains.
const OWN_LINKER: &str = "rust-lld";

/// A target that this machine can build for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RustTarget {
    /// The value of `--target`.
    pub(super) triple: &'static str,
    /// The linker: a program on PATH or in rustc's toolchain.
    linker: String,
}

impl RustTarget {
    /// Finds the standard library and the linker for the target.
    ///
    /// # Errors
    /// Fails if the standard library or the linker is missing; the hint installs it.
    pub(super) fn find(
        installed: &InstalledRust,
        build_target: &BuildTarget,
        target: &'static TargetArchitecture,
    ) -> anyhow::Result<Self> {
        let compiler = build_target.cross_compiler();
        let there: Vec<_> =
            target.rust.iter().copied().filter(|triple| has_std(&installed.root, triple)).collect();
        for triple in &there {
            let linker = if is_musl(triple) {
                has_own_linker(&installed.root).then(|| OWN_LINKER.to_owned()).or_else(|| compiler.clone())
            } else {
                compiler.clone()
            };
            if let Some(linker) = linker {
                return Ok(Self { triple, linker });
            }
        }
        if there.is_empty() {
            return Err(errors::rust::no_std(target, toolchain_name(installed).as_deref()).into());
        }
        Err(errors::rust::no_cross_linker(target).into())
    }

    /// Returns the variable that names the linker to cargo.
    pub(super) fn linker_variable(&self) -> (String, String) {
        let name = self.triple.to_uppercase().replace('-', "_");
        (format!("CARGO_TARGET_{name}_LINKER"), self.linker.clone())
    }
}

/// Returns whether the toolchain has a standard library for the target.
pub(super) fn builds_for(root: &Path, target: &TargetArchitecture) -> bool {
    target.rust.iter().any(|triple| has_std(root, triple))
}

fn is_musl(triple: &str) -> bool {
    triple.contains("-musl")
}

fn has_std(root: &Path, triple: &str) -> bool {
    let libraries = root.join("lib/rustlib").join(triple).join("lib");
    let is_std = |name: &str| name.starts_with("libstd-");
    let entries = fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_std(&entry.file_name().to_string_lossy()))
}

fn has_own_linker(root: &Path) -> bool {
    let entries = fs::read_dir(root.join("lib/rustlib")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join("bin").join(OWN_LINKER).is_file())
}

/// Returns the name of rustup's toolchain; `None` for Debian's.
fn toolchain_name(installed: &InstalledRust) -> Option<String> {
    let name = installed.root.file_name()?.to_string_lossy().into_owned();
    (!installed.shown).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::version::RuntimeVersion;
    use crate::store::tools::ToolStores;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_missing_is_named_with_what_brings_it() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let empty = BTreeMap::new();
        let of = |target: &str, shown: bool| {
            let target = TargetArchitecture::parse(target).unwrap();
            let installed = InstalledRust {
                root: dir.path().to_owned(),
                version: RuntimeVersion([1, 85, 0]),
                nightly: false,
                shown,
            };
            let build_target = BuildTarget {
                jailed: false,
                store: None,
                tools: ToolStores::default(),
                architecture: "sparc64",
                cross: Some(target),
                operator_env: &empty,
                commit: "",
            };
            RustTarget::find(&installed, &build_target, target).map_err(|err| {
                let (hints, _) = piku_report::user_error::advice(&err);
                format!("{err:#} {}", hints.join(" "))
            })
        };
        let refused = of("armhf", true).unwrap_err();
        assert!(
            refused.contains("for armv7l") && refused.contains("apt install libstd-rust-dev:armhf"),
            "{refused}"
        );
        let refused = of("armv6l", false).unwrap_err();
        assert!(refused.contains("rustup target add arm-unknown-linux-musleabihf --toolchain "), "{refused}");
        let refused = of("armv6l", true).unwrap_err();
        assert!(refused.contains("rustup target add arm-unknown-linux-musleabihf"), "{refused}");

        put("lib/rustlib/arm-unknown-linux-musleabihf/lib/libstd-1.rlib");
        let refused = of("armv6l", false).unwrap_err();
        assert!(refused.contains("no linker for armv6l"), "{refused}");
        put("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        let found = of("armv6l", false).unwrap();
        assert_eq!(
            found.linker_variable(),
            ("CARGO_TARGET_ARM_UNKNOWN_LINUX_MUSLEABIHF_LINKER".to_owned(), OWN_LINKER.to_owned())
        );
        assert!(builds_for(dir.path(), TargetArchitecture::parse("armv6").unwrap()));
        assert!(!builds_for(dir.path(), TargetArchitecture::parse("armv7").unwrap()));
    }
}
