//! The npm that an app gets: the one beside its Node, or one from the package registry that the app requests
//! or that belongs to its Node. A newer npm does not run under an old Node.

use std::path::Path;

use serde_json::Value;

use super::package_json::PackageJson;
use super::version::ChosenNode;
use super::version_range::parse_exact;
use crate::app::app_source::AppSource;
use crate::errors::node as errors;
use crate::plan::build_target::BuildTarget;
use crate::runtime::semver_range::SemverRange;
use crate::runtime::version::{RequestedVersion, RuntimeVersion};
use piku_files::TreeHandle;

/// Major releases of npm, the newest first, with the Nodes under which they run.
const RUNS_UNDER: [(u32, &str); 8] = [
    (11, "^20.17 || >=22.9"),
    (10, "^18.17 || >=20.5"),
    (9, "^14.17 || ^16.13 || >=18"),
    (8, "^12.13 || ^14.15 || >=16"),
    (7, ">=10"),
    (6, "6 || 8 || >=9.3"),
    (5, ">=4.7"),
    (3, ">=0.10"),
];
/// First major releases of Node that come with a major release of npm, the newest first.
const BELONGS: [(u32, u32); 7] = [(24, 11), (20, 10), (19, 9), (18, 10), (16, 8), (15, 7), (0, 6)];
/// The first npm that installs exactly what package-lock.json says.
pub(super) const READS_LOCK: u32 = 5;
/// The first npm that reads the third format of lock files.
const READS_THIRD: u32 = 7;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ChosenNpm {
    /// Package and range that is fetched from the registry: `npm@8`; `None` for the one beside Node.
    pub(super) fetch: Option<String>,
    /// Its major release, if that is known.
    pub(super) major: Option<u32>,
    pub(super) warnings: Vec<String>,
}

/// Chooses the npm. `named` is the version that `packageManager` names; `lock` is the format of npm's lock
/// file.
pub(super) fn choose(
    package: &PackageJson,
    named: Option<&str>,
    lock: Option<u32>,
    node: &ChosenNode,
    target: &BuildTarget,
) -> anyhow::Result<ChosenNpm> {
    let requested = match (named, package.text("engines.npm")) {
        (Some(version), _) => Some(RequestedVersion::new(version, "packageManager in package.json")),
        (None, engines) => {
            engines.map(|engines| RequestedVersion::new(engines, "engines.npm in package.json"))
        }
    };
    let own = if node.fetch.is_some() { None } else { find_own(node, target) };
    pick(node.first_version(), own, requested.as_ref(), lock)
}

/// Picks the npm for a Node. `own` is the version of the npm beside it.
fn pick(
    node: RuntimeVersion,
    own: Option<RuntimeVersion>,
    requested: Option<&RequestedVersion>,
    lock: Option<u32>,
) -> anyhow::Result<ChosenNpm> {
    let runs: Vec<u32> = RUNS_UNDER
        .iter()
        .filter(|(_, nodes)| SemverRange::parse(nodes).is_ok_and(|nodes| nodes.contains(node)))
        .map(|(major, _)| *major)
        .collect();
    let fetch = |major: u32, spec: &str| ChosenNpm {
        fetch: Some(format!("npm@{spec}")),
        major: Some(major),
        warnings: Vec::new(),
    };
    let mut warnings = Vec::new();
    if let Some(requested) = requested {
        let range = SemverRange::parse(&requested.text)
            .map_err(|err| errors::bad_npm_version(requested, &err.to_string()))?;
        if own.is_some_and(|own| range.contains(own)) {
            return Ok(ChosenNpm { fetch: None, major: own.map(|own| own.0[0]), warnings });
        }
        let found = runs.iter().find_map(|major| Some((*major, range.within_major(*major)?)));
        match found {
            Some((major, spec)) => return Ok(fetch(major, &spec)),
            None => warnings.push(errors::npm_does_not_run(requested, node.0[0])),
        }
    }
    // One that is newer than the table runs under the Node that it came with.
    let newest = RUNS_UNDER[0].0;
    if let Some(own) = own.filter(|own| runs.contains(&own.0[0]) || own.0[0] > newest) {
        return Ok(ChosenNpm { fetch: None, major: Some(own.0[0]), warnings });
    }
    let belongs = BELONGS.iter().find(|(first, _)| *first <= node.0[0]).map_or(newest, |(_, npm)| *npm);
    let reads = |major: &u32| lock.is_none_or(|format| format < 3 || *major >= READS_THIRD);
    let major = runs
        .iter()
        .copied()
        .find(|major| *major <= belongs && reads(major))
        .or_else(|| runs.iter().copied().find(reads))
        .or_else(|| runs.iter().copied().find(|major| *major <= belongs));
    let major = major.ok_or_else(errors::node_without_npm)?;
    if lock.is_some() && major < READS_LOCK {
        warnings.push(errors::npm_reads_no_lock(major));
    }
    Ok(ChosenNpm { warnings, ..fetch(major, &major.to_string()) })
}

/// Returns the version of the npm beside an installed Node, else of the machine's.
fn find_own(node: &ChosenNode, target: &BuildTarget) -> Option<RuntimeVersion> {
    let beside = node.bin.as_ref().and_then(|bin| target.find_tool(bin.join("npm").to_str()?));
    let program = beside.or_else(|| target.find_tool("npm"))?.inside;
    read_version(program.parent()?.parent()?)
}

/// Reads the version of the npm in a folder of this machine.
fn read_version(folder: &Path) -> Option<RuntimeVersion> {
    let text = TreeHandle::open_following(folder).ok()?.read_text(super::package_json::FILE, 100_000).ok()?;
    let package: Value = serde_json::from_str(&text).ok()?;
    let version = package.get("version").filter(|_| package.get("name").is_some_and(|name| name == "npm"))?;
    parse_exact(version.as_str()?)
}

/// Returns the format of npm's lock file.
pub(super) fn lock_format(source: &AppSource, lock: &str) -> anyhow::Result<Option<u32>> {
    let lines = super::package_manager::first_lines(source, lock)?;
    let mut values = lines.iter().filter_map(|line| line.split_once("\"lockfileVersion\""));
    let digits =
        values.next().map(|(_, value)| value.trim_start_matches([':', ' ']).trim_end_matches([',', ' ']));
    Ok(digits.and_then(|digits| digits.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(node: &str, own: &str, requested: &str, lock: Option<u32>) -> (Option<String>, usize) {
        let requested = (!requested.is_empty()).then(|| RequestedVersion::new(requested, "engines.npm"));
        let npm = pick(parse_exact(node).unwrap(), parse_exact(own), requested.as_ref(), lock).unwrap();
        (npm.fetch, npm.warnings.len())
    }

    #[test]
    fn each_node_gets_the_npm_that_belongs_to_it() {
        for (node, lock, npm) in [
            ("0.12.18", None, "npm@3"),
            ("4.2.5", None, "npm@3"),
            ("4.9.1", None, "npm@5"),
            ("6.17.1", None, "npm@6"),
            ("6.17.1", Some(3), "npm@6"),
            ("8.17.0", Some(1), "npm@6"),
            ("10.24.1", Some(3), "npm@7"),
            ("12.22.12", None, "npm@6"),
            ("12.22.12", Some(3), "npm@8"),
            ("14.21.3", Some(2), "npm@6"),
            ("14.21.3", Some(3), "npm@9"),
            ("16.20.2", Some(3), "npm@8"),
            ("18.0.0", None, "npm@9"),
            ("18.20.4", None, "npm@10"),
            ("19.9.0", None, "npm@9"),
            ("22.1.0", None, "npm@10"),
            ("24.0.0", None, "npm@11"),
            ("99.0.0", None, "npm@11"),
        ] {
            assert_eq!(picked(node, "", "", lock), (Some(npm.to_owned()), 0), "{node} {lock:?}");
        }
        assert!(pick(RuntimeVersion([0, 8, 28]), None, None, None).is_err());
        assert_eq!(picked("4.2.5", "", "", Some(1)), (Some("npm@3".to_owned()), 1));
    }

    #[test]
    fn a_request_counts_where_it_can() {
        for (node, own, requested, npm, warnings) in [
            ("20.20.2", "11.19.1", "", None, 0),
            ("20.20.2", "11.19.1", ">=8", None, 0),
            ("20.20.2", "11.19.1", "8.1.0", Some("npm@8.1.0"), 0),
            ("20.20.2", "11.19.1", "^9 || ^10.2", Some("npm@>=10.2.0 <11.0.0"), 0),
            ("14.21.3", "", ">=6", Some("npm@9"), 0),
            ("14.21.3", "", ">=10", Some("npm@6"), 1),
            ("16.20.2", "11.19.1", "", Some("npm@8"), 0),
            ("26.0.0", "12.0.0", "", None, 0),
        ] {
            assert_eq!(
                picked(node, own, requested, None),
                (npm.map(str::to_owned), warnings),
                "{node} {requested}"
            );
        }
        let bad = RequestedVersion::new("new", "engines.npm");
        assert!(pick(RuntimeVersion([20, 0, 0]), None, Some(&bad), None).is_err());
    }
}
