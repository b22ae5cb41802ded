//! Rails: assets, which are made in the release's tree, secrets and warnings.

use std::ffi::OsStr;

use anyhow::Context;
use piku_files::{TreeHandle, WalkStep};

use super::failures;
use super::gemfile::Gemfile;
use crate::app::app_source::{AppSource, decode};
use crate::errors::{self, ruby as told};
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::step::interrupt;

/// A file that every Rails app has.
pub(super) const APPLICATION: &str = "config/application.rb";
/// Name of the step that makes the assets.
pub(super) const ASSETS: &str = "assets";
/// Gems with the task `assets:precompile`.
const PIPELINES: [&str; 10] = [
    "cssbundling-rails",
    "jsbundling-rails",
    "propshaft",
    "shakapacker",
    "sprockets",
    "sprockets-rails",
    "tailwindcss-rails",
    "vite_rails",
    "vite_ruby",
    "webpacker",
];
/// Those that call a package manager of Node.
const BY_NODE: [&str; 6] =
    ["cssbundling-rails", "jsbundling-rails", "shakapacker", "vite_rails", "vite_ruby", "webpacker"];
/// Variables that turn the assets off.
const OFF: [&str; 2] = ["DISABLE_ASSETS_PRECOMPILE", "DISABLE_ASSET_PRECOMPILE"];
/// Variable with the name of the environment.
pub(super) const ENVIRONMENT: &str = "RAILS_ENV";
/// Folder for temporary files.
const TMP: &str = "tmp";
/// Value of `PIDFILE`: the default, `tmp/pids`, does not exist.
pub(super) const PID_FILE: &str = "/tmp/server.pid";
/// Sprockets' cache of compiled assets, which is linked to the build cache.
const COMPILED: &str = "tmp/cache/assets";
const CACHE: &str =
    r#"mkdir -p tmp/cache && rm -rf tmp/cache/assets && ln -s "$RAILS_BUILD_CACHE" tmp/cache/assets"#;
/// The largest compressed asset that is rewritten, in bytes.
const LARGEST_ASSET: u64 = 256 * 1024 * 1024;
/// Variable with the key that signs cookies.
pub(super) const SECRET: &str = "SECRET_KEY_BASE";
/// Variable with the key for the credentials file, which may contain the other one.
const MASTER: &str = "RAILS_MASTER_KEY";

/// Returns whether the app uses Rails. A gem of Rails alone does not make it one.
pub(super) fn uses_rails(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<bool> {
    Ok((gemfile.uses_gem("rails") || gemfile.uses_gem("railties"))
        && source.has_entry("config/")
        && source.has_path(APPLICATION)?)
}

/// Returns the steps that make the assets; none without a pipeline, or if the app turns it off.
pub(super) fn asset_steps(
    source: &AppSource,
    gemfile: &Gemfile,
    bundle: &str,
) -> anyhow::Result<Vec<BuildStep>> {
    let off = OFF.iter().any(|name| {
        source.variable(name).is_some_and(|(value, _)| !matches!(value.trim(), "" | "0" | "false"))
    });
    if off || !uses_rails(source, gemfile)? || !PIPELINES.iter().any(|gem| gemfile.uses_gem(gem)) {
        return Ok(Vec::new());
    }
    // The author committed compiled assets.
    for manifest in ["public/assets/.manifest.json", "public/assets/manifest.json"] {
        if source.has_path(manifest)? {
            return Ok(Vec::new());
        }
    }
    let mut run = vec!["/usr/bin/env".to_owned()];
    if source.variable(SECRET).is_none() {
        // Rails does not start without one. Nothing is signed in a build.
        run.extend(["SECRET_KEY_BASE_DUMMY=1".to_owned(), format!("{SECRET}=not-used-in-builds")]);
    }
    run.extend([bundle, "exec", "rake", "assets:precompile"].map(str::to_owned));
    let cache = ["/bin/sh", "-c", CACHE].map(str::to_owned).into();
    Ok(vec![
        BuildStep { name: "assets-cache", run: cache, quiet: true },
        BuildStep { name: ASSETS, run, quiet: false },
    ])
}

pub(super) fn explain_assets(ended: &StepOutcome) -> anyhow::Error {
    failures::explain_assets(ended).unwrap_or_else(|| errors::step_failed(ASSETS, ended, &[])).into()
}

/// Returns whether the app lacks a key that signs cookies.
pub(super) fn needs_secret(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<bool> {
    let has = |name| source.variable(name).is_some_and(|(value, _)| !value.trim().is_empty());
    Ok(uses_rails(source, gemfile)?
        && !has(SECRET)
        && !has(MASTER)
        && !source.has_path("config/master.key")?)
}

/// Removes the link to the cache, and clears the times in compressed assets, which differ in each build
/// although the content does not. RFC 1952: bytes 4 to 7 of a gzip file.
pub(super) fn normalize_assets(tree: &TreeHandle) -> anyhow::Result<()> {
    if tree.find(COMPILED).is_ok_and(|found| found.is_some_and(|stat| stat.is_symlink())) {
        tree.remove_file(COMPILED)?;
    }
    // The task may leave anything there; only a folder of the tree is processed.
    let Ok(folder) = tree.subtree("public/assets") else { return Ok(()) };
    folder.walk(|entry| {
        interrupt::check()?;
        let is_small = entry.stat().is_file() && entry.stat().len <= LARGEST_ASSET;
        if is_small && entry.path().extension() == Some(OsStr::new("gz")) {
            let mut content = entry
                .open_file()?
                .read_bounded(LARGEST_ASSET)
                .with_context(|| format!("cannot read '{}'", entry.path().display()))?;
            if content.len() > 8 && content.starts_with(b"\x1f\x8b") && content[4..8] != [0; 4] {
                content[4..8].fill(0);
                folder.write(entry.path(), content, entry.stat().mode)?;
            }
        }
        Ok(WalkStep::Into)
    })
}

/// Replaces the app's `tmp` by a link to the private `/tmp` of each instance. Rails writes to it before it
/// serves.
pub(super) fn link_tmp(tree: &TreeHandle) -> anyhow::Result<()> {
    tree.remove_all(TMP)?;
    Ok(tree.symlink("/tmp", TMP)?)
}

pub(super) fn collect_warnings(source: &AppSource, gemfile: &Gemfile) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if !uses_rails(source, gemfile)? {
        return Ok(warnings);
    }
    let encrypted = source.has_path("config/credentials.yml.enc")?;
    if encrypted && needs_secret(source, gemfile)? {
        warnings.push(told::no_master_key());
    }
    let builds_node = BY_NODE.iter().find(|gem| gemfile.uses_gem(gem));
    let named = crate::runtime::detection::VARIABLES.iter().any(|name| source.variable(name).is_some());
    if let Some(gem) = builds_node.filter(|_| source.has_entry("package.json") && !named) {
        warnings.push(told::wants_node(gem));
    }
    let database = source.read_bytes("config/database.yml")?.map(|text| decode(&text)).unwrap_or_default();
    if database.contains("sqlite3")
        && source.variable("DATABASE_URL").is_none()
        && !database.contains("DATA_DIR")
    {
        warnings.push(told::sqlite());
    }
    Ok(warnings)
}
