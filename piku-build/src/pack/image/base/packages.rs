//! Debian's packages that a release needs: those of its interpreters, of the programs that its processes start,
//! and of the shared libraries of its native files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_layout::jail::APP;
use piku_report::progress;

use super::super::OpenedRelease;
use super::libraries::LibrarySearch;
use super::programs::{self, NeededFile, NeededPlace};
use crate::errors::image as errors;

/// Packages of every base: certificates for TLS, time zones, the init that the start script runs.
pub(super) const ALWAYS: [&str; 3] = ["ca-certificates", "tzdata", "dumb-init"];
/// Directory in which packages put no files.
const LOCAL: &str = "/usr/local";

/// Returns the packages of a release's base, sorted; `more` are the caller's.
///
/// # Errors
/// Fails with all programs, and libraries of its programs, that the release needs and no package has.
pub(super) fn find_needed(release: &OpenedRelease, more: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut packages: BTreeSet<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
    packages.extend(more.iter().cloned());
    let mut files = programs::find(release)?;
    files.extend(find_libraries(release)?);
    let places = files.iter().flat_map(|file| &file.places);
    let paths: BTreeSet<&Path> =
        places.flat_map(|place| [place.named.as_path(), place.real.as_path()]).collect();
    let owners = find_owners(&paths)?;
    let mut missing = Vec::new();
    for file in &files {
        let owned = file.places.iter().map(|place| (place, owners_of(place, &owners)));
        let Some((place, found)) = owned.into_iter().find(|(_, found)| !found.is_empty()) else {
            if file.is_optional {
                let what = &file.what;
                progress::warning(&format!(
                    "the image lacks what belongs to no package of this machine: {what}"
                ));
            } else {
                missing.push(file.what.as_str());
            }
            continue;
        };
        if file.places.first() != Some(place) {
            let other = place.named.display();
            progress::warning(&format!("{} belongs to no package: the image has '{other}'", file.what));
        }
        packages.extend(found.into_iter().cloned());
    }
    if !missing.is_empty() {
        return Err(errors::of_no_package(&missing).into());
    }
    remove_essential(&mut packages);
    Ok(packages)
}

fn find_libraries(release: &OpenedRelease) -> anyhow::Result<Vec<NeededFile>> {
    let mut libraries = LibrarySearch::new(&release.release.architecture);
    libraries.add_tree(release.app()?, Path::new(APP))?;
    for layer in &release.release.layers {
        libraries.add_tree(release.layer(&layer.key)?, &layer.mount)?;
    }
    Ok(libraries.of_system())
}

/// Returns the packages that bring a file to its place. Links to files elsewhere, such as those of
/// `update-alternatives`, are made by the package of the file; what is in `/usr/local` is made by none.
fn owners_of<'a>(place: &NeededPlace, owners: &'a BTreeMap<&Path, String>) -> Vec<&'a String> {
    let named = owners.get(place.named.as_path());
    if named.is_none() && place.named.starts_with(LOCAL) {
        return Vec::new();
    }
    named.into_iter().chain(owners.get(place.real.as_path())).collect()
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
    let is_of_package =
        |line: &&str| !["diversion ", "local diversion "].iter().any(|start| line.starts_with(start));
    for line in listed.lines().filter(is_of_package) {
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

    #[test]
    fn local_files_are_made_by_no_package() {
        let owners = BTreeMap::from([(Path::new("/usr/lib/jvm/x/bin/java"), "jre".to_owned())]);
        let owners_of = |named: &str| {
            let place = NeededPlace { named: named.into(), real: "/usr/lib/jvm/x/bin/java".into() };
            owners_of(&place, &owners).len()
        };
        assert_eq!((owners_of("/usr/bin/java"), owners_of("/usr/local/bin/java")), (1, 0));
    }
}
