//! Packages that lock files name, for languages whose programs contain their packages.

use piku_files::TreeHandle;

/// Rust's list of packages.
const CARGO: &str = "Cargo.lock";
/// Go's list of modules.
const GO: &str = "go.mod";
/// No such file is longer, in bytes.
const LONGEST: u64 = 8 << 20;

/// A package that is compiled into a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockedPackage {
    /// Type of its package URL.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) version: String,
}

/// Reads the lock files at the top of an app's tree. One that is missing or malformed names no packages: it does not
/// decide what is in the image.
pub(super) fn read(app: &TreeHandle) -> Vec<LockedPackage> {
    let text = |name: &str| app.read_text(name, LONGEST).unwrap_or_default();
    let mut packages = parse_cargo(&text(CARGO));
    packages.extend(parse_go(&text(GO)));
    packages
}

/// Returns the packages that come from elsewhere, not those of the workspace.
fn parse_cargo(text: &str) -> Vec<LockedPackage> {
    let document: toml::Table = text.parse().unwrap_or_default();
    let packages = document.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let parse = |package: &toml::Value| {
        let field = |name: &str| package.get(name)?.as_str().map(str::to_owned);
        field("source")?;
        Some(LockedPackage { kind: "cargo", name: field("name")?, version: field("version")? })
    };
    packages.filter_map(parse).collect()
}

fn parse_go(text: &str) -> Vec<LockedPackage> {
    let mut packages = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let required = match (in_block, line.strip_prefix("require")) {
            (true, _) if line == ")" => {
                in_block = false;
                continue;
            }
            (true, _) => line,
            (false, Some(rest)) if rest.trim() == "(" => {
                in_block = true;
                continue;
            }
            (false, Some(rest)) if rest.starts_with(char::is_whitespace) => rest,
            _ => continue,
        };
        let mut words = required.split_whitespace();
        if let (Some(name), Some(version), None) = (words.next(), words.next(), words.next()) {
            packages.push(LockedPackage {
                kind: "golang",
                name: name.trim_matches('"').to_owned(),
                version: version.to_owned(),
            });
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(packages: &[LockedPackage]) -> Vec<String> {
        packages.iter().map(|one| format!("{} {} {}", one.kind, one.name, one.version)).collect()
    }

    #[test]
    fn packages_of_rust_and_go() {
        let cargo = "version = 4\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n\n\
                     [[package]]\nname = \"serde\"\nversion = \"1.0.1\"\nsource = \"registry+x\"\n";
        assert_eq!(shown(&parse_cargo(cargo)), ["cargo serde 1.0.1"]);
        assert!(parse_cargo("[[package").is_empty());
        let go = "module example.org/shop\n\ngo 1.21\n\nrequire github.com/a/b v1.2.0 // indirect\n\
                  require (\n\tgolang.org/x/net v0.1.0\n\tgithub.com/c/d/v2 v2.0.0 // indirect\n)\n\
                  replace golang.org/x/net => ./net\n";
        assert_eq!(
            shown(&parse_go(go)),
            [
                "golang github.com/a/b v1.2.0",
                "golang golang.org/x/net v0.1.0",
                "golang github.com/c/d/v2 v2.0.0"
            ]
        );
    }
}
