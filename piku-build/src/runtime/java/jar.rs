//! Search for the jar that is the program.

use std::io::Read;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, TreeHandle};

/// The largest archive that is opened, in bytes: the search for its index may read all of it.
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;
/// The largest manifest that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;
/// Suffixes of jars that are not the program.
const BESIDE: [&str; 6] = ["-sources", "-javadoc", "-plain", "-tests", "-test", "-test-fixtures"];
/// Suffixes of jars that contain all dependencies.
const WHOLE: [&str; 8] =
    ["-jar-with-dependencies", "-all", "-shaded", "-runner", "-fat", "-uber", "-exec", "-standalone"];
/// The part of the names of jars with all dependencies that sbt makes.
const ASSEMBLY: &str = "-assembly";

/// The framework that packed a jar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JarKind {
    Quarkus,
    Spring,
    Plain,
}

/// A jar that `java -jar` starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunnableJar {
    pub(super) path: PathBuf,
    pub(super) kind: JarKind,
}

/// Finds the jar that is the program: one of a framework, else one with its dependencies inside, else the
/// only one.
///
/// # Errors
/// Returns all candidates if there are several, and an empty list if there are none.
pub(super) fn find_program(tree: &TreeHandle, folders: &[PathBuf]) -> Result<RunnableJar, Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders {
        found.extend(in_folder(tree, folder));
    }
    for is_better in [
        |one: &RunnableJar| one.kind == JarKind::Quarkus,
        |one: &RunnableJar| one.kind == JarKind::Spring,
        |one: &RunnableJar| {
            let stem = stem(&one.path);
            WHOLE.iter().any(|end| stem.ends_with(end)) || stem.contains(ASSEMBLY)
        },
    ] {
        if found.iter().filter(|one| is_better(one)).count() == 1 {
            found.retain(is_better);
        }
    }
    if found.len() == 1 { Ok(found.remove(0)) } else { Err(found.into_iter().map(|one| one.path).collect()) }
}

/// Returns whether a jar is not the program by its name.
pub(super) fn is_secondary(path: &Path) -> bool {
    let stem = stem(path);
    stem.starts_with("original-") || BESIDE.iter().any(|end| stem.ends_with(end))
}

fn in_folder(tree: &TreeHandle, folder: &Path) -> Vec<RunnableJar> {
    let quarkus = folder.join("quarkus-app/quarkus-run.jar");
    if tree.is_file(&quarkus) {
        return vec![RunnableJar { path: quarkus, kind: JarKind::Quarkus }];
    }
    let mut found = Vec::new();
    for below in [folder.to_owned(), folder.join("libs")].into_iter().chain(scala_folders(tree, folder)) {
        let entries = tree.read_dir(&below).unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::Regular) {
            let path = below.join(entry.name);
            let is_jar = path.extension().is_some_and(|end| end == "jar" || end == "war");
            if is_jar && !is_secondary(&path) {
                found.extend(inspect_jar(tree, path));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Returns the folders in which sbt puts jars: `target/scala-2.13`.
pub(super) fn scala_folders(tree: &TreeHandle, folder: &Path) -> Vec<PathBuf> {
    let entries = tree.read_dir(folder).unwrap_or_default().into_iter();
    let names = entries.map(|entry| entry.name).filter(|name| name.to_string_lossy().starts_with("scala-"));
    names.map(|name| folder.join(name)).collect()
}

/// Reads the manifest of a jar; `None` if it names no main class.
pub(super) fn inspect_jar(tree: &TreeHandle, path: PathBuf) -> Option<RunnableJar> {
    let JarManifest { kind, .. } = JarManifest::parse(&read_manifest(tree, &path)?)?;
    Some(RunnableJar { path, kind })
}

/// The manifest of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JarManifest {
    /// The class that is started.
    pub(super) main: String,
    pub(super) kind: JarKind,
    /// Further jars and folders with classes.
    pub(super) class_path: Vec<String>,
}

impl JarManifest {
    /// Parses the text of a manifest; `None` if it names no main class.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // A line has at most 72 bytes; the next one continues it after a blank.
        let text = text.replace("\r\n", "\n").replace("\n ", "");
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let main = value("Main-Class:")?.to_owned();
        let spring = main.contains("springframework.boot.loader") || value("Spring-Boot-Version:").is_some();
        let kind = if spring {
            JarKind::Spring
        } else if main.starts_with("io.quarkus.") {
            JarKind::Quarkus
        } else {
            JarKind::Plain
        };
        let paths = value("Class-Path:").unwrap_or_default().split_whitespace();
        Some(Self { main, kind, class_path: paths.map(str::to_owned).collect() })
    }
}

fn read_manifest(tree: &TreeHandle, jar: &Path) -> Option<String> {
    let jar = tree.open_file(jar).ok().filter(|jar| jar.stat.len <= LARGEST)?;
    let mut archive = zip::ZipArchive::new(jar.file).ok()?;
    let file = archive.by_name("META-INF/MANIFEST.MF").ok()?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;

    fn jar(tree: &Path, name: &str, manifest: &str) {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        archive.start_file("META-INF/MANIFEST.MF", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(format!("Manifest-Version: 1.0\r\n{manifest}").as_bytes()).unwrap();
        archive.finish().unwrap();
    }

    #[test]
    fn long_lines_of_a_manifest_are_continued() {
        let text =
            "Main-Class: org.example.a.very.long\r\n .name.Main\r\nClass-Path: lib/a.jar lib\r\n /b.jar\r\n";
        let manifest = JarManifest::parse(text).unwrap();
        assert_eq!(manifest.main, "org.example.a.very.long.name.Main");
        assert_eq!(manifest.class_path, ["lib/a.jar", "lib/b.jar"]);
        assert_eq!(JarManifest::parse("Manifest-Version: 1.0\n"), None);
    }

    #[test]
    fn the_program_among_jars() {
        let dir = tempfile::tempdir().unwrap();
        let target = [PathBuf::from("target")];
        let find = |folders: &[PathBuf]| find_program(&TreeHandle::open(dir.path()).unwrap(), folders);
        jar(dir.path(), "target/x-1.jar", "Created-By: x\r\n");
        assert_eq!(find(&target), Err(Vec::new()), "a library");
        jar(dir.path(), "target/app-1.jar", "Main-Class: app.Main\r\n");
        jar(dir.path(), "target/original-app-1.jar", "Main-Class: app.Main\r\n");
        jar(dir.path(), "target/app-1-sources.jar", "Main-Class: app.Main\r\n");
        assert_eq!(find(&target).unwrap().path, Path::new("target/app-1.jar"));
        jar(dir.path(), "target/app-1-jar-with-dependencies.jar", "Main-Class: app.Main\r\n");
        assert!(find(&target).unwrap().path.ends_with("app-1-jar-with-dependencies.jar"));
        jar(
            dir.path(),
            "build/libs/boot.jar",
            "Main-Class: org.springframework.boot.loader.launch.JarLauncher\r\n",
        );
        jar(dir.path(), "build/libs/boot-plain.jar", "Created-By: x\r\n");
        let boot = find(&[PathBuf::from("build")]).unwrap();
        assert_eq!((boot.path.as_path(), boot.kind), (Path::new("build/libs/boot.jar"), JarKind::Spring));
        jar(dir.path(), "one/app-runner.jar", "Main-Class: io.quarkus.runner.GeneratedMain\r\n");
        assert_eq!(find(&[PathBuf::from("one")]).unwrap().kind, JarKind::Quarkus);
        jar(dir.path(), "target/two.jar", "Main-Class: app.Two\r\n");
        jar(dir.path(), "target/three-all.jar", "Main-Class: app.Three\r\n");
        assert_eq!(find(&target).unwrap_err().len(), 4);
    }
}
