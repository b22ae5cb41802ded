//! The layer `node_modules`. It is made from the files that determine it alone, without the app's code, so
//! equal files give the same layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, FolderEntry};

use super::manager::{ManagerKind, NodeManager};
use super::package::{FILE, PackageJson};
use super::version::ChosenNode;
use crate::app::app_source::AppSource;
use crate::plan::build_plan::{LayerPlan, TreeLayer};
use crate::plan::build_target::BuildTarget;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;
use piku_layout::jail::APP;

/// Increased when layers are made in another way, which invalidates old ones.
const FORMAT: u32 = 2;
pub(super) const MODULES: &str = "node_modules";
/// The largest number of packages in a repository.
const MOST_PACKAGES: usize = 5000;

/// Files that package managers read beside package.json and the lock file.
const SETTINGS: [&str; 7] =
    [".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".yarn/plugins", "patches"];
/// Programs among them, which do not determine what is installed.
const PROGRAMS: [&str; 2] = [".yarn/releases", ".yarn/patches"];

/// Settings of npm that change how packages are fetched, but not which.
const ONLY_FETCHING: [&str; 8] =
    ["cache", "cafile", "fetch_retries", "fetch_timeout", "https_proxy", "loglevel", "progress", "proxy"];

/// Plans the layer of a tool that npm installs: a package manager, or another Node.
pub(super) fn tool(site: &BuildTarget, name: &'static str, package: &str, npm: &str) -> LayerPlan {
    let mut key = site.key(name, FORMAT, false);
    key.fact("package", package.as_bytes());
    key.fact("mount", site.layers().as_os_str().as_encoded_bytes());
    let key = key.finish();
    let mount = site.mount(name, &key);
    let prefix = mount.to_string_lossy().into_owned();
    let words = [
        "/usr/bin/env",
        "-u",
        "NODE_ENV",
        npm,
        "install",
        "--prefix",
        &prefix,
        "--no-audit",
        "--no-fund",
        "--no-progress",
        package,
    ];
    let run = words.iter().map(ToString::to_string).collect();
    LayerPlan {
        name,
        key,
        mount,
        steps: vec![BuildStep { name: "npm", run, quiet: false }],
        need: SpaceNeeded { bytes: 20_000_000, files: 1000 },
        ..LayerPlan::default()
    }
}

/// Returns whether the app has dependencies.
pub(super) fn needed(package: &PackageJson) -> bool {
    !package.dependencies(&["dependencies", "devDependencies", "optionalDependencies"]).is_empty()
        || package.has_workspaces()
}

/// Plans the layer. `dev` includes development dependencies; `read` means that no step writes to it.
pub(super) fn layer(
    source: &AppSource,
    site: &BuildTarget,
    package: &PackageJson,
    node: &ChosenNode,
    manager: &NodeManager,
    dev: bool,
    read: bool,
) -> anyhow::Result<TreeLayer> {
    let files = files(source, package, manager)?;
    // Workspace packages have their own `node_modules`.
    let alone = files.keys().filter(|path| path.ends_with(FILE)).count() == 1;
    let mount = (read && alone).then(|| Path::new(APP).join(MODULES));
    let mut key = site.key(MODULES, FORMAT, manager.lock.is_some());
    key.fact("node", node.version.as_bytes());
    key.fact("manager", manager.fetch.as_deref().unwrap_or("npm").as_bytes());
    key.fact("dev", &[u8::from(dev)]);
    key.fact("shown", &[u8::from(mount.is_some())]);
    for (path, content) in &files {
        if !PROGRAMS.iter().any(|program| path.starts_with(program)) {
            key.fact(&format!("file {}", path.display()), content);
        }
    }
    // Another registry or policy installs other packages.
    let counts = |name: &&String| {
        let lower = name.to_ascii_lowercase();
        ["npm_config_", "yarn_"]
            .iter()
            .any(|front| lower.strip_prefix(front).is_some_and(|rest| !ONLY_FETCHING.contains(&rest)))
    };
    for name in source.env.keys().chain(source.config.keys()).filter(counts) {
        key.fact(name, source.variable(name).map_or("", |(value, _)| value).as_bytes());
    }
    for (name, value) in site.build_env.iter().filter(|(name, _)| counts(name)) {
        key.fact(&format!("host {name}"), value.as_bytes());
    }
    let packages =
        package.dependencies(&["dependencies", "devDependencies", "optionalDependencies"]).len() as u64;
    let need = SpaceNeeded { bytes: 5_000_000 + 2_000_000 * packages, files: 200 + 200 * packages };
    let mut run = without_node_env();
    run.extend(manager.install(dev).into_iter().map(str::to_owned));
    Ok(TreeLayer {
        name: MODULES,
        key: key.finish(),
        files,
        steps: vec![BuildStep { name: manager.kind.program(), run, quiet: false }],
        need,
        folder: MODULES,
        mount,
    })
}

/// `NODE_ENV=production` would leave out the packages that compile the others.
fn without_node_env() -> Vec<String> {
    ["/usr/bin/env", "-u", "NODE_ENV"].map(str::to_owned).into()
}

/// Reads the files that determine an installation, by their paths in the app.
fn files(
    source: &AppSource,
    package: &PackageJson,
    manager: &NodeManager,
) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut below = Vec::new();
    if package.has_workspaces() || source.has("pnpm-workspace.yaml") {
        packages(source, Path::new(""), &mut below)?;
    }
    below.push(FILE.into());
    let names = below.into_iter().chain(manager.lock.map(PathBuf::from));
    for path in names.chain(SETTINGS.iter().chain(&PROGRAMS).map(PathBuf::from)) {
        add(source, &path, &mut files)?;
    }
    // Local packages: npm links to them, the others copy them.
    let kinds = ["dependencies", "devDependencies", "optionalDependencies"];
    for range in package.dependencies(&kinds).values() {
        let local = ["file:", "portal:", "link:"].iter().find_map(|front| range.strip_prefix(front));
        let local = local.or(Some(*range).filter(|range| range.starts_with("./")));
        let Some(local) = local.map(Path::new) else { continue };
        let folder = source.find(local)?.is_some_and(|stat| stat.is_dir());
        let path =
            if folder && manager.kind == ManagerKind::Npm { local.join(FILE) } else { local.to_owned() };
        add(source, &path, &mut files)?;
    }
    Ok(files)
}

/// Adds a file, or all files of a folder.
fn add(source: &AppSource, path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    let path = crate::app::app_source::tidy(path);
    let Some(stat) = source.find(&path)? else { return Ok(()) };
    if stat.is_dir() {
        for FolderEntry { name, .. } in source.list(&path)? {
            if name != MODULES && name != ".git" {
                add(source, &path.join(name), files)?;
            }
        }
    } else if let Some(mut text) = source.text(&path)? {
        if path.ends_with(FILE) {
            if let Some(package) = PackageJson::parse(&text) {
                text = package.reduced()?;
            }
        }
        files.insert(path, text);
    }
    Ok(())
}

/// Finds every package.json below the top.
fn packages(source: &AppSource, below: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for FolderEntry { name, kind } in source.list(below)? {
        if found.len() >= MOST_PACKAGES || name == MODULES || name == ".git" {
            continue;
        }
        if kind == FileKind::Folder {
            packages(source, &below.join(name), found)?;
        } else if name == FILE {
            found.push(below.join(name));
        }
    }
    Ok(())
}
