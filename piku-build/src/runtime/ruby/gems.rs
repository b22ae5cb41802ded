//! The layer with an app's gems: its cache key and its steps.

#![expect(clippy::disallowed_methods, reason = "looks for the machine's own Ruby")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, FolderEntry};

use super::super::BuildTarget;
use super::bundler_config;
use super::gemfile::Gemfile;
use super::installed_rubies::InstalledRuby;
use crate::app::app_source::AppSource;
use crate::errors::ruby as told;
use crate::plan::build_plan::LayerPlan;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;
use piku_layout::jail::PATH;

const NAME: &str = "gems";
/// Name of the step that installs the gems.
pub(super) const STEP: &str = "bundle";
/// Increased when layers are made in another way, which invalidates old ones.
const FORMAT: u32 = 3;
/// Folder of `bundle cache`.
const CACHE: &str = "vendor/cache";
/// Groups that are not installed unless the app says otherwise.
const WITHOUT: &str = "development:test";
/// The largest depth at which gems in the app are searched, and the largest number of their files.
const DEPTH: usize = 8;
const MOST: usize = 2000;

/// Settings that change how gems are fetched, but not which.
const ONLY_FETCHING: [&str; 7] = [
    "BUNDLE_JOBS",
    "BUNDLE_REDIRECT",
    "BUNDLE_RETRY",
    "BUNDLE_SSL_CA_CERT",
    "BUNDLE_TIMEOUT",
    "BUNDLE_USER_AGENT",
    "BUNDLE_VERBOSE",
];

/// Folder in the layer with links to the Ruby it is made for; another machine must have that before it
/// accepts the layer.
const MACHINE: &str = "machine";
/// Removes downloads and the logs and objects of compilers from a finished layer: they are not needed, and
/// contain temporary names.
const TIDY: &str = r#"mkdir -p "$1/gems" && rm -rf "$1/cache" "$1/doc" "$1"/bundler/gems/*/.git && find "$1" \( -name gem_make.out -o -name mkmf.log -o -path "*/ext/*.o" -o -path "*/ext/*Makefile" \) -type f -delete && echo "$2" >"$3" && mkdir -p "$4" && ln -sf "$5/ruby" "$5/bundle" "$4""#;

/// Removes compiled code from the cache: Bundler would install it without the copies beside the Ruby code,
/// where some gems expect it.
const CLEAN: &str = r#"rm -rf "$BUNDLE_USER_CACHE/extensions""#;

/// Code that each Ruby process loads first, so that its output is in the log at once.
const SYNC: &str = "$stdout.sync = true";
const SYNC_FILE: &str = "sync.rb";

pub(super) struct AppGems {
    pub(super) layer: LayerPlan,
    /// `GEM_HOME`, a folder in the layer.
    pub(super) home: PathBuf,
    /// Step that copies the lock file into the tree, if the installation made it.
    pub(super) lock: Option<BuildStep>,
    /// The app's settings of Bundler.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

impl AppGems {
    pub(super) fn plan(
        source: &AppSource,
        target: &BuildTarget,
        gemfile: &Gemfile,
        ruby: &InstalledRuby,
    ) -> anyhow::Result<Self> {
        let locked = gemfile.lock_text.is_some();
        let vendored = list_vendored(source)?;
        let missing = list_missing(gemfile, &vendored);
        let local = !vendored.is_empty() && missing.is_empty();
        let settings = bundler_config::read(source)?;
        let key = cache_key(source, target, gemfile, ruby, &settings)?;
        let mount = target.mount(NAME, &key);
        let home = mount.join("ruby").join(&ruby.api);

        let bundle = ruby.bin.join("bundle").to_string_lossy().into_owned();
        let mut run = vec![bundle, "install".to_owned()];
        run.extend(local.then(|| "--local".to_owned()));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let tidy = [
            "/bin/sh",
            "-c",
            TIDY,
            "sh",
            &text(&home),
            SYNC,
            &text(&mount.join(SYNC_FILE)),
            &text(&mount.join(MACHINE)),
            &text(&ruby.bin),
        ];
        let mut steps = vec![
            BuildStep::new("clean", &["/bin/sh", "-c", CLEAN], true),
            BuildStep { name: STEP, run, quiet: false },
            BuildStep::new("tidy", &tidy, true),
        ];
        let kept = mount.join("Gemfile.lock").to_string_lossy().into_owned();
        let copy = |from: &str, to: &str| BuildStep::new("lock", &["cp", from, to], true);
        if !locked {
            steps.push(copy(&gemfile.lock_name, &kept));
        }
        let mut warnings = Vec::new();
        if !locked {
            warnings.push(told::no_lock(&gemfile.name, &gemfile.lock_name));
        }
        if !vendored.is_empty() && !missing.is_empty() {
            warnings.push(told::incomplete_cache(&missing));
        }
        if source.has_entry("vendor/") && source.has_path("vendor/bundle")? {
            warnings.push(told::committed_gems());
        }
        let gems = gemfile.lock.gems.len().max(1) as u64;
        let layer = LayerPlan {
            name: NAME,
            key,
            mount,
            steps,
            need: SpaceNeeded { bytes: 2_000_000 + 1_000_000 * gems, files: 100 + 60 * gems },
            // Bundler writes a lock file if there is none.
            writes_app: !locked,
            ..LayerPlan::default()
        };
        let lock = (!locked).then(|| copy(&kept, &gemfile.lock_name));
        Ok(Self { layer, home, lock, settings, warnings })
    }

    /// Returns the environment of the app's processes.
    pub(super) fn env(
        &self,
        target: &BuildTarget,
        gemfile: &Gemfile,
        ruby: &InstalledRuby,
    ) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own = if target.jailed { "/app/bin" } else { "bin" };
        let mut path = vec![own.to_owned(), text(&self.home.join("bin"))];
        if PATH.split(':').find(|folder| Path::new(folder).join("ruby").exists()) != ruby.bin.to_str() {
            path.push(text(&ruby.bin));
        }
        path.push(PATH.to_owned());
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), path.join(":")),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("RACK_ENV".to_owned(), "production".to_owned()),
            // With an arena for each thread the C library would keep several times the memory that Ruby
            // uses.
            ("MALLOC_ARENA_MAX".to_owned(), "2".to_owned()),
            ("GEM_HOME".to_owned(), text(&self.home)),
            ("BUNDLE_PATH".to_owned(), text(&self.layer.mount)),
            // The app's .bundle/config would override the environment.
            ("BUNDLE_APP_CONFIG".to_owned(), text(&self.layer.mount.join(".bundle"))),
            ("BUNDLE_WITHOUT".to_owned(), WITHOUT.to_owned()),
            ("BUNDLE_DEPLOYMENT".to_owned(), "true".to_owned()),
            // The installed Bundler, not the one that wrote the lock file.
            ("BUNDLE_VERSION".to_owned(), "system".to_owned()),
        ]);
        let sync = text(&self.layer.mount.join(SYNC_FILE));
        if !sync.contains(' ') {
            env.insert("RUBYOPT".to_owned(), format!("-r{sync}"));
        }
        if target.jailed {
            env.insert("BUNDLE_GEMFILE".to_owned(), format!("/app/{}", gemfile.name));
        }
        env.extend(self.settings.clone());
        env
    }
}

/// Returns the environment of Bundler in the build.
pub(super) fn build_env(gemfile: &Gemfile, ruby: &InstalledRuby) -> BTreeMap<String, String> {
    let locked = gemfile.lock_text.is_some();
    [
        // Bundlers that do not know BUNDLE_VERSION do not look for another version if this is set.
        ("BUNDLER_VERSION", ruby.bundler.as_str()),
        ("BUNDLE_DEPLOYMENT", if locked { "true" } else { "false" }),
        ("BUNDLE_GLOBAL_GEM_CACHE", "true"),
        ("BUNDLE_SILENCE_ROOT_WARNING", "true"),
        ("BUNDLE_IGNORE_FUNDING_REQUESTS", "true"),
        // Bundler wraps lines even without a terminal.
        ("THOR_COLUMNS", "1000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Returns the cache key, which covers everything that determines the gems.
fn cache_key(
    source: &AppSource,
    target: &BuildTarget,
    gemfile: &Gemfile,
    ruby: &InstalledRuby,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let mut key = target.key(NAME, FORMAT, gemfile.lock_text.is_some());
    for (name, value) in [
        ("ruby", ruby.version.to_string().as_bytes()),
        ("bin", ruby.bin.as_os_str().as_encoded_bytes()),
        ("api", ruby.api.as_bytes()),
        ("arch", ruby.arch.as_bytes()),
        ("mount", target.layers().as_os_str().as_encoded_bytes()),
        ("name", gemfile.name.as_bytes()),
        ("file", &gemfile.text),
        ("lock", gemfile.lock_text.as_deref().unwrap_or_default()),
    ] {
        key.field(name, value);
    }
    if source.has_path(CACHE)? {
        key.add_tree(&source.tree, Path::new(CACHE), &|_| true)?;
    }
    if gemfile.local || !gemfile.lock.paths.is_empty() {
        let mut files = BTreeSet::new();
        find_metadata(source, Path::new(""), DEPTH, &mut files)?;
        for file in files {
            key.field(&format!("file {}", file.display()), &source.read_bytes(&file)?.unwrap_or_default());
        }
    }
    // Another source or policy installs other gems.
    let counts = |name: &&String| {
        (name.starts_with("BUNDLE_") || name.starts_with("GEM_"))
            && !ONLY_FETCHING.contains(&name.as_str())
            && !bundler_config::is_reserved(name)
    };
    for (name, value) in settings.iter().filter(|(name, _)| counts(name)) {
        key.field(&format!("settings {name}"), value.as_bytes());
    }
    for name in source.env.keys().chain(source.config.keys()).filter(counts) {
        key.field(name, source.variable(name).map_or("", |(value, _)| value).as_bytes());
    }
    for (name, value) in target.operator_env.iter().filter(|(name, _)| counts(name)) {
        key.field(&format!("host {name}"), value.as_bytes());
    }
    Ok(key.finish())
}

/// Finds the metadata of gems in the app: their gemspecs, and the version files that those read.
fn find_metadata(
    source: &AppSource,
    below: &Path,
    depth: usize,
    found: &mut BTreeSet<PathBuf>,
) -> anyhow::Result<()> {
    for FolderEntry { name, kind } in source.list(below)? {
        let path = below.join(&name);
        let skipped =
            [".git", "node_modules", "cache", "bundle", "tmp"].iter().any(|skipped| name == *skipped);
        if kind == FileKind::Folder && depth > 0 && !skipped {
            find_metadata(source, &path, depth - 1, found)?;
        } else if kind == FileKind::Regular
            && found.len() < MOST
            && (path.extension() == Some(OsStr::new("gemspec")) || name == "version.rb")
        {
            found.insert(path);
        }
    }
    Ok(())
}

/// Lists the gems in `vendor/cache`.
fn list_vendored(source: &AppSource) -> anyhow::Result<Vec<String>> {
    if !source.has_entry("vendor/") {
        return Ok(Vec::new());
    }
    if !source.find(CACHE)?.is_some_and(|stat| stat.is_dir()) {
        return Ok(Vec::new());
    }
    let gem = |entry: &FolderEntry| entry.name.to_string_lossy().strip_suffix(".gem").map(str::to_owned);
    let mut names: Vec<String> = source.list(CACHE)?.iter().filter_map(gem).collect();
    names.sort();
    Ok(names)
}

/// Returns the locked gems that `vendor/cache` lacks for every platform.
fn list_missing(gemfile: &Gemfile, vendored: &[String]) -> Vec<String> {
    let is_there = |full: &String| vendored.binary_search(full).is_ok();
    let there: BTreeSet<&str> = gemfile
        .lock
        .served
        .iter()
        .filter(|(_, full)| is_there(full))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut missing: Vec<String> = gemfile
        .lock
        .served
        .iter()
        .filter(|(name, _)| !there.contains(name.as_str()))
        .map(|(_, full)| full.clone())
        .collect();
    missing.dedup();
    missing
}
