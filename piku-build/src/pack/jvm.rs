//! Javas of the machine. Debian's directories are named after the architecture: an app built with
//! `java-17-openjdk-amd64` runs with `java-17-openjdk-arm64` on another machine.

#![expect(clippy::disallowed_methods, reason = "looks which Javas this machine has; nothing is read")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

/// Directory in which systems install several Javas.
pub(super) const JAVAS: &str = "/usr/lib/jvm";
/// Debian's names of architectures.
const ARCHITECTURES: [&str; 9] =
    ["amd64", "arm64", "armhf", "armel", "i386", "loong64", "ppc64el", "riscv64", "s390x"];
/// Variables that name the folder.
const VARIABLES: [&str; 2] = ["JAVA_HOME", "PATH"];

/// Replaces the Java of another architecture in a path by this machine's; returns other paths unchanged.
pub(super) fn localize_path(path: &Path) -> PathBuf {
    find(Path::new(JAVAS), path).unwrap_or_else(|| path.to_owned())
}

/// Replaces Javas of another machine in an environment by this machine's.
pub(super) fn localize_env(env: &mut BTreeMap<String, String>) {
    for (_, value) in env.iter_mut().filter(|(name, _)| VARIABLES.contains(&name.as_str())) {
        let folders = value.split(':').map(|folder| localize_path(Path::new(folder)));
        *value = folders.map(|folder| folder.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":");
    }
}

/// Replaces Javas of other architectures in an image's environment by those of `architecture`, by Debian's name.
pub(super) fn rename_env(env: &mut IndexMap<String, String>, architecture: &str) {
    for (_, value) in env.iter_mut().filter(|(name, _)| VARIABLES.contains(&name.as_str())) {
        let rename = |folder: &str| {
            let below = Path::new(folder).strip_prefix(JAVAS).ok()?;
            let mut below = below.components();
            let stem = stem(below.next()?.as_os_str().to_str()?)?;
            let java = Path::new(JAVAS).join(format!("{stem}-{architecture}"));
            Some(java.components().chain(below).collect::<PathBuf>().to_string_lossy().into_owned())
        };
        let folders = value.split(':').map(|folder| rename(folder).unwrap_or_else(|| folder.to_owned()));
        *value = folders.collect::<Vec<_>>().join(":");
    }
}

fn find(javas: &Path, path: &Path) -> Option<PathBuf> {
    let mut below = path.strip_prefix(javas).ok()?.components();
    let name = below.next()?.as_os_str().to_str()?;
    if javas.join(name).exists() {
        return None;
    }
    let version = stem(name)?;
    let entries = fs::read_dir(javas).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let here = names.filter(|name| stem(name) == Some(version)).min()?;
    Some(javas.join(here).components().chain(below).collect())
}

/// Returns a name without the architecture at its end.
fn stem(name: &str) -> Option<&str> {
    name.rsplit_once('-').filter(|(_, last)| ARCHITECTURES.contains(last)).map(|(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_java_of_the_same_version_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["java-17-openjdk-arm64", "java-21-openjdk-arm64", "openjdk-17", "java-1.17.0-openjdk-arm64"]
        {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let find = |path: &str| {
            let found = find(dir.path(), &dir.path().join(path))?;
            Some(found.strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(find("java-17-openjdk-amd64/bin/java"), Some("java-17-openjdk-arm64/bin/java".to_owned()));
        assert_eq!(find("java-21-openjdk-amd64"), Some("java-21-openjdk-arm64".to_owned()));
        // As it is written, without a slash at its end.
        let home = super::find(dir.path(), &dir.path().join("java-21-openjdk-amd64")).unwrap();
        assert!(home.as_os_str().to_str().unwrap().ends_with("arm64"));
        for other in
            ["java-11-openjdk-amd64/bin", "java-17-openjdk-arm64/bin", "openjdk-11", "openjdk-17-x/bin"]
        {
            assert_eq!(find(other), None, "{other}");
        }
        let mut env = BTreeMap::from([("PATH".to_owned(), "/layers/venv/bin:/usr/bin:".to_owned())]);
        let before = env.clone();
        localize_env(&mut env);
        assert_eq!(env, before);
    }

    #[test]
    fn javas_of_an_image_are_those_of_its_architecture() {
        let home = "/usr/lib/jvm/java-17-openjdk-amd64";
        let mut env = IndexMap::from([
            ("JAVA_HOME".to_owned(), home.to_owned()),
            ("PATH".to_owned(), format!("{home}/bin:/usr/lib/jvm/openjdk-17:/bin")),
            ("OTHER".to_owned(), home.to_owned()),
        ]);
        rename_env(&mut env, "arm64");
        assert_eq!(env["JAVA_HOME"], "/usr/lib/jvm/java-17-openjdk-arm64");
        assert_eq!(env["PATH"], "/usr/lib/jvm/java-17-openjdk-arm64/bin:/usr/lib/jvm/openjdk-17:/bin");
        assert_eq!(env["OTHER"], home);
    }
}
