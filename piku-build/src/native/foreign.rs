//! Finds native code that a cross build has compiled for the wrong architecture: wheels, gems and Node
//! modules.
//!
//! A package that brings programs for several machines fits each of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::{TreeHandle, WalkStep};

use crate::step::interrupt;
use piku_release::elf::ElfFile;
use piku_release::target::TargetArchitecture;

/// Search for files that run on this machine and not on the target.
pub(crate) struct ForeignSearch {
    /// `e_machine` of this machine's programs.
    here: u16,
    target: u16,
    packages: BTreeMap<String, PackageMachines>,
    files: Vec<PathBuf>,
}

/// The machines that programs of a package run on.
#[derive(Debug, Clone, Copy, Default)]
struct PackageMachines {
    here: bool,
    there: bool,
}

impl ForeignSearch {
    /// Creates a search; `here` is `e_machine` of the build host's programs.
    pub(crate) fn new(here: u16, target: &TargetArchitecture) -> Self {
        Self { here, target: target.elf, packages: BTreeMap::new(), files: Vec::new() }
    }

    /// Searches all files of a tree. Files outside of all packages belong to `package`, or to the app.
    pub(crate) fn add_tree(&mut self, tree: &TreeHandle, package: Option<&str>) -> anyhow::Result<()> {
        tree.walk(|entry| {
            interrupt::check()?;
            if entry.stat().is_file() {
                let file = entry.open_file()?.file;
                let cannot = || format!("cannot read '{}'", entry.path().display());
                self.file(entry.path(), &file, package).with_context(cannot)?;
            }
            Ok::<_, anyhow::Error>(WalkStep::Into)
        })
    }

    fn file(&mut self, path: &Path, file: &File, package: Option<&str>) -> anyhow::Result<()> {
        let Some(elf) = ElfFile::read(file)?.filter(|elf| elf.is_runnable) else { return Ok(()) };
        let runs = PackageMachines { here: elf.machine == self.here, there: elf.machine == self.target };
        match package_of(path).or_else(|| package.map(str::to_owned)) {
            Some(package) => {
                let known = self.packages.entry(package).or_default();
                known.here |= runs.here;
                known.there |= runs.there;
            }
            None if runs.here && !runs.there => self.files.push(path.to_owned()),
            None => {}
        }
        Ok(())
    }

    /// Returns the packages that run here and not on the target.
    pub(crate) fn packages(&self) -> Vec<String> {
        let foreign = self.packages.iter().filter(|(_, runs)| runs.here && !runs.there);
        foreign.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the app's own files for the wrong architecture.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// Returns the package that contains a file, by the folders of package managers.
fn package_of(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let after = |folder: &str| {
        let at = parts.iter().rposition(|part| part == folder)?;
        parts.get(at + 1).map(|name| (at + 1, name.clone().into_owned()))
    };
    if let Some((at, name)) = after("node_modules") {
        let scope = name.starts_with('@');
        return Some(match parts.get(at + 1).filter(|_| scope) {
            Some(inner) => format!("{name}/{inner}"),
            None => name,
        });
    }
    if let Some((_, name)) = after("site-packages") {
        // `_cffi_backend.cpython-311-x86_64-linux-gnu.so`, `numpy.libs`
        return name.split('.').next().map(str::to_owned);
    }
    if let Some((_, name)) = after("gems") {
        return Some(name);
    }
    // `extensions/x86_64-linux/3.1.0/bcrypt-3.1.20/`
    let at = parts.iter().rposition(|part| part == "extensions")?;
    parts.get(at + 3).map(|name| name.clone().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_the_packages_that_brought_them() {
        for (path, package) in [
            ("lib/python3.11/site-packages/numpy/core/x.so", Some("numpy")),
            ("lib/python3.11/site-packages/numpy.libs/libopenblas.so", Some("numpy")),
            (
                "lib/python3.11/site-packages/_cffi_backend.cpython-311-x86_64-linux-gnu.so",
                Some("_cffi_backend"),
            ),
            ("node_modules/@esbuild/linux-x64/bin/esbuild", Some("@esbuild/linux-x64")),
            ("node_modules/a/node_modules/bcrypt/x.node", Some("bcrypt")),
            ("ruby/3.1.0/gems/nokogiri-1.15.4/lib/x.so", Some("nokogiri-1.15.4")),
            ("ruby/3.1.0/extensions/x86_64-linux/3.1.0/bcrypt-3.1.20/x.so", Some("bcrypt-3.1.20")),
            ("bin/tool", None),
        ] {
            assert_eq!(package_of(Path::new(path)).as_deref(), package, "{path}");
        }
    }
}
