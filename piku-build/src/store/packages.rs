//! Lists the packages in a layer with their versions, from the metadata of package managers, to describe how
//! a layer changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use piku_files::{FileKind, TreeHandle};

/// Maximum depth of the metadata in a virtualenv, `node_modules` or Bundler's directory.
const DEPTH: usize = 6;
/// Directory of Node's packages, and name of their layer.
const MODULES: &str = "node_modules";

/// The longest account of one package that is read.
const LONGEST: u64 = 1 << 20;

/// Lists names and versions of the packages in this layer; empty if it has no metadata.
pub(crate) fn list_packages(name: &str, layer: &TreeHandle) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(layer, OsStr::new(""), name == MODULES, DEPTH, &mut found);
    found
}

/// `own` is the folder's name, `of_node` whether it is, or stands for, a `node_modules`.
fn collect(dir: &TreeHandle, own: &OsStr, of_node: bool, depth: usize, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = dir.read_dir("") else { return };
    if own == "specifications" {
        found.extend(entries.iter().filter_map(|entry| gem(&entry.name.to_string_lossy())));
        return;
    }
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::Folder) {
        let Ok(below) = dir.subtree(&entry.name) else { continue };
        let name = entry.name.to_string_lossy();
        if let Some((package, version)) = name.strip_suffix(".dist-info").and_then(|it| it.rsplit_once('-')) {
            found.insert(package.to_owned(), version.to_owned());
        } else if of_node || is_scope(own) {
            found.extend(node_package(&below));
        }
        let inside_a_package = own == "site-packages" || of_node && !name.starts_with('@');
        if depth > 0 && !inside_a_package {
            collect(&below, &entry.name, name == MODULES, depth - 1, found);
        }
    }
}

/// Returns whether the name is a scope in `node_modules`, such as `@types`.
fn is_scope(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"@")
}

fn node_package(dir: &TreeHandle) -> Option<(String, String)> {
    let text = dir.read_bounded("package.json", LONGEST).ok()?;
    let about: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some((about["name"].as_str()?.to_owned(), about["version"].as_str()?.to_owned()))
}

/// `rack-2.2.8.gemspec`, `nokogiri-1.16.0-x86_64-linux.gemspec`.
fn gem(file: &str) -> Option<(String, String)> {
    let full = file.strip_suffix(".gemspec")?;
    let begins = |(at, _): &(usize, &str)| full[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let (at, _) = full.match_indices('-').find(begins)?;
    Some((full[..at].to_owned(), full[at + 1..].to_owned()))
}

/// Describes the changes, sorted by name: `requests 2.31.0 → 2.32.3`, `six 1.16.0 is new`, `idna 3.6 is
/// gone`.
pub(crate) fn list_changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for (name, before) in old {
        match new.get(name) {
            None => drop(lines.insert(name, format!("{name} {before} is gone"))),
            Some(after) if after != before => drop(lines.insert(name, format!("{name} {before} → {after}"))),
            Some(_) => {}
        }
    }
    for (name, version) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        lines.insert(name, format!("{name} {version} is new"));
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn virtualenvs_node_modules_and_gems_keep_accounts() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [
            "lib/python3.11/site-packages/six-1.16.0.dist-info",
            "lib/python3.11/site-packages/a/b-1.dist-info",
        ] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let gems = dir.path().join("ruby/3.1.0/specifications");
        fs::create_dir_all(&gems).unwrap();
        for name in ["rack-protection-3.0.5.gemspec", "nokogiri-1.16.0-x86_64-linux.gemspec", "x.txt"] {
            fs::write(gems.join(name), "").unwrap();
        }
        for (folder, name) in [("express", "express"), ("@types/node", "@types/node")] {
            let folder = dir.path().join("node_modules").join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("package.json"), format!(r#"{{"name": "{name}", "version": "4.1.0"}}"#))
                .unwrap();
        }
        let tree = TreeHandle::open(dir.path()).unwrap();
        let found = list_packages("venv", &tree);
        assert_eq!(found.len(), 5, "{found:?}");
        assert_eq!((found["six"].as_str(), found["@types/node"].as_str()), ("1.16.0", "4.1.0"));
        assert_eq!(found["rack-protection"], "3.0.5");
        assert_eq!(found["nokogiri"], "1.16.0-x86_64-linux");
        assert_eq!(list_packages(MODULES, &tree.subtree(MODULES).unwrap()).len(), 2);
    }

    #[test]
    fn changes_read_as_sentences() {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let (old, new) =
            (map(&[("a", "1"), ("b", "1"), ("c", "1")]), map(&[("b", "2"), ("c", "1"), ("d", "5")]));
        assert_eq!(list_changes(&old, &new), ["a 1 is gone", "b 1 → 2", "d 5 is new"]);
    }
}
