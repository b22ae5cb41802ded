//! Rails: its assets, which are made in the release's own tree, and what it wants to know at run time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use anyhow::Context;

use super::gemfile::Gemfile;
use crate::copy::{self, Leave};
use crate::explain::{self, ruby as told};
use crate::source::{Source, decode};
use crate::step::{Ended, Step};
use piku_procfile::remove;

/// What every Rails app has.
pub(super) const APPLICATION: &str = "config/application.rb";
/// The step that makes the assets.
pub(super) const ASSETS: &str = "assets";
/// Gems that bring the task `assets:precompile`.
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
/// Those of them that call a package manager of Node.
const BY_NODE: [&str; 6] =
    ["cssbundling-rails", "jsbundling-rails", "shakapacker", "vite_rails", "vite_ruby", "webpacker"];
/// By these an app says that its assets are its own business.
const OFF: [&str; 2] = ["DISABLE_ASSETS_PRECOMPILE", "DISABLE_ASSET_PRECOMPILE"];
/// By this it knows where it runs.
pub(super) const ENVIRONMENT: &str = "RAILS_ENV";
/// Where it keeps what it can do without.
const TMP: &str = "tmp";
/// By PIDFILE servers know where they say which process they are: not in a folder of `tmp` that nobody has made.
pub(super) const PID_FILE: &str = "/tmp/server.pid";
/// What Sprockets has compiled, by the hashes of the sources, stays from build to build.
const COMPILED: &str = "tmp/cache/assets";
const CACHE: &str =
    r#"mkdir -p tmp/cache && rm -rf tmp/cache/assets && ln -s "$RAILS_BUILD_CACHE" tmp/cache/assets"#;
/// With this it signs cookies.
pub(super) const SECRET: &str = "SECRET_KEY_BASE";
/// With this it decrypts the file in which the other one may be.
const MASTER: &str = "RAILS_MASTER_KEY";

/// Whether it is a Rails app: not every app that has a part of Rails among its gems is one.
pub(super) fn is_one(source: &Source, gemfile: &Gemfile) -> anyhow::Result<bool> {
    Ok((gemfile.has("rails") || gemfile.has("railties"))
        && source.has("config/")
        && source.inside(Path::new(APPLICATION))?.is_some())
}

/// What makes the assets; nothing where there is no pipeline, or the app does not want it.
pub(super) fn assets(source: &Source, gemfile: &Gemfile, bundle: &str) -> anyhow::Result<Vec<Step>> {
    let off = OFF.iter().any(|name| {
        source.variable(name).is_some_and(|(value, _)| !matches!(value.trim(), "" | "0" | "false"))
    });
    if off || !is_one(source, gemfile)? || !PIPELINES.iter().any(|gem| gemfile.has(gem)) {
        return Ok(Vec::new());
    }
    // Compiled and committed by the author: to be served as they are.
    for manifest in ["public/assets/.manifest.json", "public/assets/manifest.json"] {
        if source.inside(Path::new(manifest))?.is_some() {
            return Ok(Vec::new());
        }
    }
    let mut run = vec!["/usr/bin/env".to_owned()];
    if source.variable(SECRET).is_none() {
        // Rails does not start without one; nothing is signed here.
        run.extend(["SECRET_KEY_BASE_DUMMY=1".to_owned(), format!("{SECRET}=not-used-in-builds")]);
    }
    run.extend([bundle, "exec", "rake", "assets:precompile"].map(str::to_owned));
    let cache = ["/bin/sh", "-c", CACHE].map(str::to_owned).into();
    Ok(vec![Step { name: "assets-cache", run: cache, quiet: true }, Step { name: ASSETS, run, quiet: false }])
}

/// Why that failed.
pub(super) fn assets_failed(ended: &Ended) -> anyhow::Error {
    told::assets(ended).unwrap_or_else(|| explain::step_failed(ASSETS, ended, &[])).into()
}

/// Whether it has no secret of its own to sign with.
pub(super) fn wants_secret(source: &Source, gemfile: &Gemfile) -> anyhow::Result<bool> {
    let has = |name| source.variable(name).is_some_and(|(value, _)| !value.trim().is_empty());
    Ok(is_one(source, gemfile)?
        && !has(SECRET)
        && !has(MASTER)
        && source.inside(Path::new("config/master.key"))?.is_none())
}

/// Leaves the cache behind, and takes the times out of compressed assets: they are those of this build's copies of the sources,
/// and the same files would never be the same twice. RFC 1952: the four bytes behind the first four of a gzip file.
pub(super) fn settle_assets(tree: &Path) -> anyhow::Result<()> {
    let compiled = tree.join(COMPILED);
    if compiled.is_symlink() {
        fs::remove_file(&compiled).with_context(|| format!("cannot remove '{}'", compiled.display()))?;
    }
    let folder = tree.join("public/assets");
    if !folder.is_dir() {
        return Ok(());
    }
    copy::walk(&folder, &Leave::new([]), &mut |path, meta| {
        if !meta.is_file() || path.extension() != Some(OsStr::new("gz")) {
            return Ok(());
        }
        let cannot = || format!("cannot settle '{}'", path.display());
        let file = File::options().read(true).write(true).open(path).with_context(cannot)?;
        let mut head = [0; 4];
        let is_gzip = file.read_exact_at(&mut head, 0).is_ok() && head.starts_with(b"\x1f\x8b");
        if is_gzip { file.write_all_at(&[0; 4], 4).with_context(cannot) } else { Ok(()) }
    })
}

/// Makes the app's folder for passing things, in which Rails wants to write before it serves, each worker's own.
pub(super) fn give_tmp(tree: &Path) -> anyhow::Result<()> {
    let tmp = tree.join(TMP);
    let cannot = || format!("cannot make '{}' a link to '/tmp'", tmp.display());
    remove::all(&tmp).and_then(|()| symlink("/tmp", &tmp)).with_context(cannot)
}

/// What its author should know.
pub(super) fn warnings(source: &Source, gemfile: &Gemfile) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if !is_one(source, gemfile)? {
        return Ok(warnings);
    }
    let encrypted = source.inside(Path::new("config/credentials.yml.enc"))?.is_some();
    if encrypted && wants_secret(source, gemfile)? {
        warnings.push(told::no_master_key());
    }
    let builds_node = BY_NODE.iter().find(|gem| gemfile.has(gem));
    let named = crate::runtime::choice::VARIABLES.iter().any(|name| source.variable(name).is_some());
    if let Some(gem) = builds_node.filter(|_| source.has("package.json") && !named) {
        warnings.push(told::wants_node(gem));
    }
    let database = source.text("config/database.yml")?.map(|text| decode(&text)).unwrap_or_default();
    if database.contains("sqlite3")
        && source.variable("DATABASE_URL").is_none()
        && !database.contains("DATA_DIR")
    {
        warnings.push(told::sqlite());
    }
    Ok(warnings)
}
