//! Debian's packages that a release needs: those of its interpreters, of the programs that its processes start,
//! and of the shared libraries of its native files.

#![expect(clippy::disallowed_methods, reason = "looks where programs of the machine lead; nothing is read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_procfile::procfile::ProcessKind;
use piku_release::elf;

use super::super::OpenedRelease;
use super::libraries::LibrarySearch;
use crate::app::command_check;
use crate::errors::image as errors;

/// Packages of every base: certificates for TLS, time zones.
pub(super) const ALWAYS: [&str; 2] = ["ca-certificates", "tzdata"];
/// Directories of the system's programs.
const FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// Returns the packages of a release's base, sorted; `more` are the caller's.
pub(super) fn find_needed(release: &OpenedRelease, more: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut packages: BTreeSet<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
    packages.extend(more.iter().cloned());
    let programs = find_programs(release);
    let mut libraries = LibrarySearch::default();
    let machine = elf::machine_number(&release.release.architecture);
    for tree in &release.trees {
        libraries.add_tree(&tree.handle, machine)?;
    }
    let libraries = libraries.of_system();
    let paths: BTreeSet<&Path> = programs.iter().flatten().chain(&libraries).map(PathBuf::as_path).collect();
    let owners = find_owners(&paths)?;
    for program in &programs {
        let found: Vec<&String> = program.iter().filter_map(|path| owners.get(path.as_path())).collect();
        if found.is_empty() {
            return Err(errors::program_of_no_package(&program[0]).into());
        }
        packages.extend(found.into_iter().cloned());
    }
    packages.extend(libraries.iter().filter_map(|library| owners.get(library.as_path()).cloned()));
    remove_essential(&mut packages);
    Ok(packages)
}

/// Returns the paths of each program of the machine that the release needs: as it is named, and where that
/// leads.
fn find_programs(release: &OpenedRelease) -> Vec<Vec<PathBuf>> {
    let needs = &release.head.needs;
    let linked = needs.programs().flat_map(|(link, real)| [vec![link.clone(), real.clone()]]);
    let entries = release.entries.iter().filter(|entry| entry.kind != ProcessKind::Static);
    let words = entries.filter_map(|entry| command_check::split_simple(&entry.command)?.into_iter().next());
    let names: BTreeSet<String> = words.filter(|word| !word.contains('/')).collect();
    let of_processes = names.iter().filter(|name| !release.brings_program(name));
    let commands: BTreeSet<&String> = needs.commands().chain(of_processes).collect();
    let of_path = commands.into_iter().filter_map(|name| {
        let place = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())?;
        let real = fs::canonicalize(&place).unwrap_or_else(|_| place.clone());
        Some(vec![place, real])
    });
    linked.chain(of_path).collect()
}

/// Returns the package of each file that belongs to one.
fn find_owners<'a>(paths: &BTreeSet<&'a Path>) -> anyhow::Result<BTreeMap<&'a Path, String>> {
    let mut spellings: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for path in paths {
        spellings.insert((*path).to_owned(), *path);
        // Lists of packages from before the merge of /bin and /usr/bin.
        if let Ok(below) = path.strip_prefix("/usr") {
            spellings.insert(Path::new("/").join(below), *path);
        } else if let Ok(below) = path.strip_prefix("/") {
            spellings.insert(Path::new("/usr").join(below), *path);
        }
    }
    let mut owners = BTreeMap::new();
    if spellings.is_empty() {
        return Ok(owners);
    }
    // It fails where one file belongs to no package; those of the others are still listed.
    let listed = query(Command::new("dpkg-query").arg("--search").args(spellings.keys()))?;
    for line in listed.lines().filter(|line| !line.starts_with("diversion ")) {
        let Some((names, file)) = line.rsplit_once(": ") else { continue };
        let Some(path) = spellings.get(Path::new(file)) else { continue };
        let first = names.split(", ").next().unwrap_or_default();
        owners.insert(*path, whole_package(first.split(':').next().unwrap_or_default()));
    }
    Ok(owners)
}

/// Removes packages that every system has, so that more apps need the same base.
fn remove_essential(packages: &mut BTreeSet<String>) {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${Package} ${Essential}\\n"]).args(packages.iter());
    let listed = query(&mut command).unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.strip_suffix(" yes")).chain(["libc6"]) {
        packages.remove(name);
    }
}

/// Returns the package that has all of what a minimal one begins: `python3.11` for `python3.11-minimal`.
fn whole_package(name: &str) -> String {
    let is_installed = |name: &str| {
        let listed =
            query(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", name]));
        listed.is_ok_and(|status| status == "installed")
    };
    name.strip_suffix("-minimal").filter(|whole| is_installed(whole)).unwrap_or(name).to_owned()
}

/// Returns what a command prints in the language of no country.
pub(super) fn query(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = match output {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Err(errors::no_debian(&name).into()),
        output => output.with_context(|| format!("cannot run '{name}'"))?,
    };
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_packages() {
        if !Path::new("/usr/bin/dpkg-query").exists() {
            return piku_tests::skip("files of packages: this machine has no dpkg");
        }
        let paths = BTreeSet::from([Path::new("/usr/bin/dash"), Path::new("/nowhere/x")]);
        let owners = find_owners(&paths).unwrap();
        assert_eq!(owners.get(Path::new("/usr/bin/dash")).map(String::as_str), Some("dash"));
        assert_eq!(owners.len(), 1);
        let mut packages = BTreeSet::from(["dash", "libc6", "openssl"].map(str::to_owned));
        remove_essential(&mut packages);
        assert_eq!(packages.into_iter().collect::<Vec<_>>(), ["openssl"]);
    }
}
