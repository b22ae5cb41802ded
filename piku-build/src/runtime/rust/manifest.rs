//! Cargo.toml of a package or workspace: its programs, and the oldest compiler that it supports.

use std::path::{Path, PathBuf};

use indexmap::IndexSet;
use toml::{Table, Value};

use super::toolchain::parse_version;
use crate::app::app_source::{AppSource, decode, normalize_path};
use crate::errors;

pub(super) const FILE: &str = "Cargo.toml";

/// A program that cargo builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CargoBinary {
    pub(super) name: String,
    /// Package that contains it.
    pub(super) package: String,
    /// Version of that package, if it has one.
    pub(super) version: Option<String>,
    /// Folder of that package in the app.
    pub(super) folder: PathBuf,
    /// cargo builds it by default.
    pub(super) default: bool,
}

/// The combined manifests of an app's packages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CargoManifest {
    /// Programs that need no extra features.
    pub(super) binaries: Vec<CargoBinary>,
    /// The program that `cargo run` starts.
    pub(super) default_run: Option<String>,
    /// The oldest compiler that the packages support: `1.85`.
    pub(super) rust_version: Option<String>,
}

/// Reads the manifests of the app's packages.
///
/// # Errors
/// Fails if one of the files is no TOML.
pub(super) fn read(source: &AppSource) -> anyhow::Result<CargoManifest> {
    let Some(root) = read_table(source, Path::new(""))? else { return Ok(CargoManifest::default()) };
    let mut manifest = CargoManifest::default();
    let workspace = root.get("workspace").and_then(Value::as_table);
    let has_package = root.contains_key("package");
    let shared = workspace.and_then(|workspace| workspace.get("package")).and_then(Value::as_table);
    manifest.add_package(source, Path::new(""), &root, shared, true)?;
    let folders = |key: &str| -> anyhow::Result<IndexSet<PathBuf>> {
        let patterns = workspace.and_then(|workspace| workspace.get(key)).map(strings).unwrap_or_default();
        let mut found = IndexSet::new();
        for pattern in patterns {
            found.extend(expand_pattern(source, &pattern)?);
        }
        Ok(found)
    };
    let (members, excluded, defaults) =
        (folders("members")?, folders("exclude")?, folders("default-members")?);
    for member in
        members.iter().filter(|member| !excluded.contains(*member) && !member.as_os_str().is_empty())
    {
        let Some(package) = read_table(source, member)? else { continue };
        let default = if defaults.is_empty() { !has_package } else { defaults.contains(member) };
        manifest.add_package(source, member, &package, shared, default)?;
    }
    Ok(manifest)
}

impl CargoManifest {
    fn add_package(
        &mut self,
        source: &AppSource,
        dir: &Path,
        table: &Table,
        shared: Option<&Table>,
        default: bool,
    ) -> anyhow::Result<()> {
        let Some(package) = table.get("package").and_then(Value::as_table) else { return Ok(()) };
        let text = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(name) = text("name") else { return Ok(()) };
        let inherited = |key: &str| {
            let inherits = package.get(key).is_some_and(Value::is_table);
            shared.filter(|_| inherits)?.get(key)?.as_str().map(str::to_owned)
        };
        let text_or_inherited = |key: &str| text(key).or_else(|| inherited(key));
        if default {
            self.rust_version = text_or_inherited("rust-version").max_by_version(self.rust_version.take());
            self.default_run = text("default-run").or(self.default_run.take());
        }
        let declared: Vec<&Table> = match table.get("bin") {
            Some(Value::Array(bins)) => bins.iter().filter_map(Value::as_table).collect(),
            _ => Vec::new(),
        };
        let automatic = package.get("autobins").and_then(Value::as_bool).unwrap_or(true);
        let mut names = if automatic { find_binaries(source, dir, &name)? } else { Vec::new() };
        for bin in declared {
            let Some(name) = bin.get("name").and_then(Value::as_str) else { continue };
            // A declared path renames the program that was found there.
            if let Some(path) = bin.get("path").and_then(Value::as_str) {
                names.retain(|(_, place)| *place != dir.join(normalize_path(Path::new(path))));
            }
            names.retain(|(found, _)| found != name);
            if bin.get("required-features").is_none() {
                names.push((name.to_owned(), PathBuf::new()));
            }
        }
        let binary = |(name, _)| CargoBinary {
            name,
            package: text("name").unwrap_or_default(),
            version: text_or_inherited("version"),
            folder: dir.to_owned(),
            default,
        };
        self.binaries.extend(names.into_iter().map(binary));
        Ok(())
    }
}

trait MaxByVersion {
    fn max_by_version(self, other: Self) -> Self;
}

impl MaxByVersion for Option<String> {
    /// Returns the newer version.
    fn max_by_version(self, other: Self) -> Self {
        let key = |text: &String| parse_version(text);
        [self, other].into_iter().flatten().max_by_key(key)
    }
}

/// Finds the programs by their paths: `src/main.rs`, `src/bin/x.rs`, `src/bin/x/main.rs`.
fn find_binaries(source: &AppSource, dir: &Path, package: &str) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut names = Vec::new();
    let main = dir.join("src/main.rs");
    if source.has_path(&main)? {
        names.push((package.to_owned(), main));
    }
    let folder = dir.join("src/bin");
    for name in list_names(source, &folder)? {
        let path = folder.join(&name);
        if path.extension().is_some_and(|extension| extension == "rs") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            names.push((stem, path));
        } else if source.has_path(path.join("main.rs"))? {
            names.push((name, path.join("main.rs")));
        }
    }
    Ok(names)
}

/// Expands a pattern such as `crates/*` to folders.
fn expand_pattern(source: &AppSource, pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let pattern = normalize_path(Path::new(pattern));
    let mut folders = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy().into_owned();
        let mut next = Vec::new();
        for folder in folders {
            if let Some((front, back)) = part.split_once('*') {
                let names = list_names(source, &folder)?;
                let fits = |name: &String| name.starts_with(front) && name.ends_with(back);
                next.extend(names.iter().filter(|name| fits(name)).map(|name| folder.join(name)));
            } else {
                next.push(folder.join(&part));
            }
        }
        folders = next;
    }
    folders.retain(|folder| source.tree.is_file(folder.join(FILE)));
    Ok(folders)
}

/// Lists the names in a folder, sorted; empty if it does not exist.
fn list_names(source: &AppSource, dir: &Path) -> anyhow::Result<Vec<String>> {
    if !source.find(dir)?.is_some_and(|stat| stat.is_dir()) {
        return Ok(Vec::new());
    }
    Ok(source.list(dir)?.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
}

fn read_table(source: &AppSource, dir: &Path) -> anyhow::Result<Option<Table>> {
    let file = dir.join(FILE);
    let Some(text) = source.read_bytes(&file)? else { return Ok(None) };
    let parsed: Result<Table, _> = toml::from_str(&decode(&text));
    Ok(Some(parsed.map_err(|err| errors::rust::bad_file(&file, &err.to_string()))?))
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[(&str, &str)]) -> CargoManifest {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(&AppSource::read(dir.path(), None).unwrap()).unwrap()
    }

    fn names(manifest: &CargoManifest) -> Vec<(&str, bool)> {
        manifest.binaries.iter().map(|binary| (binary.name.as_str(), binary.default)).collect()
    }

    #[test]
    fn programs_of_a_package() {
        let found = manifest(&[
            (
                "Cargo.toml",
                "[package]\nname = \"shop\"\nrust-version = \"1.70\"\ndefault-run = \"web\"\n[[bin]]\nname = \"site\"\npath = \"src/main.rs\"\n\
                 [[bin]]\nname = \"gpu\"\nrequired-features = [\"gpu\"]\n",
            ),
            ("src/main.rs", ""),
            ("src/bin/web.rs", ""),
            ("src/bin/gpu.rs", ""),
            ("src/bin/tool/main.rs", ""),
            ("src/bin/notes/x.txt", ""),
        ]);
        assert_eq!(names(&found), [("tool", true), ("web", true), ("site", true)]);
        assert_eq!(
            (found.default_run.as_deref(), found.rust_version.as_deref()),
            (Some("web"), Some("1.70"))
        );
    }

    #[test]
    fn programs_of_a_workspace() {
        let root = "[workspace]\nmembers = [\"crates/*\", \"xtask\"]\nexclude = [\"crates/old\"]\ndefault-members = [\"crates/web\"]\n\
                    [workspace.package]\nrust-version = \"1.9.1\"\n";
        let found = manifest(&[
            ("Cargo.toml", root),
            ("crates/web/Cargo.toml", "[package]\nname = \"web\"\nrust-version.workspace = true\n"),
            ("crates/web/src/main.rs", ""),
            ("crates/old/Cargo.toml", "[package]\nname = \"old\"\n"),
            ("crates/old/src/main.rs", ""),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n"),
            ("xtask/src/main.rs", ""),
        ]);
        assert_eq!(names(&found), [("web", true), ("xtask", false)]);
        assert_eq!(found.rust_version.as_deref(), Some("1.9.1"));
    }
}
