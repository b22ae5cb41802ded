//! Bill of materials of an image, in the JSON form of `CycloneDX`: the packages of its base and of its dependency
//! layers and those that lock files name, with their package URLs.

mod lock_files;

use std::collections::BTreeSet;
use std::fmt::Write;

use piku_files::TreeHandle;
use piku_release::manifest::BuiltRelease;
use serde_json::{Value, json};

use super::base::BasePackage;
use crate::store::packages::list_packages;

/// Path of the document in the image.
pub(super) const PATH: &str = "/usr/lib/piku/sbom.cdx.json";

/// Returns the document; the same for the same release and base.
pub(super) fn render(
    release: &BuiltRelease,
    app_tree: &TreeHandle,
    layers: &[(&str, &TreeHandle)],
    base: &[BasePackage],
) -> anyhow::Result<Vec<u8>> {
    let mut components: Vec<Value> = base.iter().map(system_package).collect();
    for (name, tree) in layers {
        let kind = ecosystem(name);
        let packages = list_packages(name, tree);
        components.extend(packages.iter().map(|(package, version)| library(kind, package, version)));
    }
    for package in lock_files::read(app_tree) {
        components.push(library(package.kind, &package.name, &package.version));
    }
    let mut known = BTreeSet::new();
    components.retain(|component| known.insert(component["purl"].to_string()));
    let tool = json!({ "type": "application", "name": "piku", "version": env!("CARGO_PKG_VERSION") });
    let mut app = json!({ "type": "application", "bom-ref": "app", "name": release.app.as_str(), "version": release.number.to_string() });
    if !release.commit.is_empty() {
        app["properties"] = json!([{ "name": "commit", "value": release.commit }]);
    }
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "timestamp": release.at.to_string(), "tools": { "components": [tool] }, "component": app },
        "components": components,
    });
    Ok(serde_json::to_vec_pretty(&document)?)
}

fn system_package(package: &BasePackage) -> Value {
    let BasePackage { name, version, architecture } = package;
    let url = format!("pkg:deb/debian/{}@{}?arch={}", encode(name), encode(version), encode(architecture));
    json!({ "type": "library", "bom-ref": url, "name": name, "version": version, "purl": url })
}

/// Returns the type of the package URLs of a layer's packages.
fn ecosystem(layer: &str) -> &'static str {
    match layer {
        "node_modules" => "npm",
        "gems" => "gem",
        _ => "pypi",
    }
}

fn library(kind: &str, name: &str, version: &str) -> Value {
    let path = match kind {
        "pypi" => encode(&name.to_ascii_lowercase().replace('_', "-")),
        _ => name.split('/').map(encode).collect::<Vec<_>>().join("/"),
    };
    let url = format!("pkg:{kind}/{path}@{}", encode(version));
    json!({ "type": "library", "bom-ref": url, "name": name, "version": version, "purl": url })
}

/// Returns the text with a percent sign and two digits for each byte that a package URL does not take.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_those_of_their_ecosystem() {
        let url = |value: Value| value["purl"].as_str().unwrap().to_owned();
        assert_eq!(url(library("pypi", "Typing_Extensions", "4.1")), "pkg:pypi/typing-extensions@4.1");
        assert_eq!(url(library("npm", "@types/node", "20.1.0")), "pkg:npm/%40types/node@20.1.0");
        let package = BasePackage {
            name: "libstdc++6".into(),
            version: "1:12-1+b1".into(),
            architecture: "arm64".into(),
        };
        assert_eq!(url(system_package(&package)), "pkg:deb/debian/libstdc%2B%2B6@1%3A12-1%2Bb1?arch=arm64");
    }
}
