//! The layer of gems: what of an app determines it, and how Bundler makes it.

#![expect(clippy::disallowed_methods, reason = "looks for the machine's own Ruby")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, FolderEntry};

use super::super::BuildTarget;
use super::gemfile::Gemfile;
use super::machine::InstalledRuby;
use super::settings;
use crate::app::app_source::AppSource;
use crate::errors::ruby as told;
use crate::plan::build_plan::LayerPlan;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;
use piku_layout::jail::PATH;

/// The layer's name.
const NAME: &str = "gems";
/// The step that installs.
pub(super) const STEP: &str = "bundle";
/// Changed when layers are made in another way: the old ones then do not count.
const FORMAT: u32 = 3;
/// Where `bundle cache` puts gems.
const CACHE: &str = "vendor/cache";
/// What an app does not want on a server unless it says otherwise.
const WITHOUT: &str = "development:test";
/// How deep gems that lie in the app are looked for, and how many of their files count at most.
const DEPTH: usize = 8;
const MOST: usize = 2000;

/// Settings that change how gems are fetched, not which.
const ONLY_FETCHING: [&str; 7] = [
    "BUNDLE_JOBS",
    "BUNDLE_REDIRECT",
    "BUNDLE_RETRY",
    "BUNDLE_SSL_CA_CERT",
    "BUNDLE_TIMEOUT",
    "BUNDLE_USER_AGENT",
    "BUNDLE_VERBOSE",
];

/// Links to the programs that gems are installed for: another machine is asked for them before it takes the layer.
const MACHINE: &str = "machine";
/// Takes out of a finished layer what nobody needs who runs it: downloads, and what compilers leave behind, in which there
/// are names made up for one build.
const TIDY: &str = r#"mkdir -p "$1/gems" && rm -rf "$1/cache" "$1/doc" "$1"/bundler/gems/*/.git && find "$1" \( -name gem_make.out -o -name mkmf.log -o -path "*/ext/*.o" -o -path "*/ext/*Makefile" \) -type f -delete && echo "$2" >"$3" && mkdir -p "$4" && ln -sf "$5/ruby" "$5/bundle" "$4""#;

/// Takes compiled code out of the cache of downloads: from there it comes without its copies beside the Ruby code, where some gems
/// look for it.
const CLEAN: &str = r#"rm -rf "$BUNDLE_USER_CACHE/extensions""#;

/// What each Ruby of a worker reads first: what it prints is in the log at once, and not when there are some kilobytes of it.
const SYNC: &str = "$stdout.sync = true";
const SYNC_FILE: &str = "sync.rb";

/// The gems of an app.
pub(super) struct AppGems {
    pub(super) layer: LayerPlan,
    /// The folder in the layer that Ruby knows as `GEM_HOME`.
    pub(super) home: PathBuf,
    /// What puts the lock file that an installation without one has made into the tree.
    pub(super) lock: Option<BuildStep>,
    /// The app's own settings of Bundler.
    pub(super) settings: BTreeMap<String, String>,
    /// What the app's author should know.
    pub(super) warnings: Vec<String>,
}

impl AppGems {
    pub(super) fn plan(
        source: &AppSource,
        site: &BuildTarget,
        gemfile: &Gemfile,
        ruby: &InstalledRuby,
    ) -> anyhow::Result<Self> {
        let locked = gemfile.lock_text.is_some();
        let vendored = vendored(source)?;
        let missing = missing(gemfile, &vendored);
        let local = !vendored.is_empty() && missing.is_empty();
        let settings = settings::read(source)?;
        let key = key(source, site, gemfile, ruby, &settings)?;
        let mount = site.mount(NAME, &key);
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
        if source.has("vendor/") && source.has_path("vendor/bundle")? {
            warnings.push(told::committed_gems());
        }
        let gems = gemfile.lock.gems.len().max(1) as u64;
        let layer = LayerPlan {
            name: NAME,
            key,
            mount,
            steps,
            need: SpaceNeeded { bytes: 2_000_000 + 1_000_000 * gems, files: 100 + 60 * gems },
            // Bundler writes the lock file that there is not, and puts what it has found beside it.
            writes_app: !locked,
            ..LayerPlan::default()
        };
        let lock = (!locked).then(|| copy(&kept, &gemfile.lock_name));
        Ok(Self { layer, home, lock, settings, warnings })
    }

    /// The environment of workers.
    pub(super) fn env(
        &self,
        site: &BuildTarget,
        gemfile: &Gemfile,
        ruby: &InstalledRuby,
    ) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own = if site.jailed { "/app/bin" } else { "bin" };
        let mut path = vec![own.to_owned(), text(&self.home.join("bin"))];
        if PATH.split(':').find(|folder| Path::new(folder).join("ruby").exists()) != ruby.bin.to_str() {
            path.push(text(&ruby.bin));
        }
        path.push(PATH.to_owned());
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), path.join(":")),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("RACK_ENV".to_owned(), "production".to_owned()),
            // With one arena for each thread the C library keeps several times of what Ruby uses.
            ("MALLOC_ARENA_MAX".to_owned(), "2".to_owned()),
            ("GEM_HOME".to_owned(), text(&self.home)),
            ("BUNDLE_PATH".to_owned(), text(&self.layer.mount)),
            // What the app has in .bundle/config would count before the environment.
            ("BUNDLE_APP_CONFIG".to_owned(), text(&self.layer.mount.join(".bundle"))),
            ("BUNDLE_WITHOUT".to_owned(), WITHOUT.to_owned()),
            ("BUNDLE_DEPLOYMENT".to_owned(), "true".to_owned()),
            // The Bundler that is there, not the one that has written the lock file.
            ("BUNDLE_VERSION".to_owned(), "system".to_owned()),
        ]);
        let sync = text(&self.layer.mount.join(SYNC_FILE));
        if !sync.contains(' ') {
            env.insert("RUBYOPT".to_owned(), format!("-r{sync}"));
        }
        if site.jailed {
            env.insert("BUNDLE_GEMFILE".to_owned(), format!("/app/{}", gemfile.name));
        }
        env.extend(self.settings.clone());
        env
    }
}

/// What Bundler is to know in the build.
pub(super) fn build_env(gemfile: &Gemfile, ruby: &InstalledRuby) -> BTreeMap<String, String> {
    let locked = gemfile.lock_text.is_some();
    [
        // Older ones than know BUNDLE_VERSION: they look for no other when they have been told which they are.
        ("BUNDLER_VERSION", ruby.bundler.as_str()),
        ("BUNDLE_DEPLOYMENT", if locked { "true" } else { "false" }),
        ("BUNDLE_GLOBAL_GEM_CACHE", "true"),
        ("BUNDLE_SILENCE_ROOT_WARNING", "true"),
        ("BUNDLE_IGNORE_FUNDING_REQUESTS", "true"),
        // It breaks its sentences at the edge of a terminal that is none.
        ("THOR_COLUMNS", "1000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Everything that determines the gems.
fn key(
    source: &AppSource,
    site: &BuildTarget,
    gemfile: &Gemfile,
    ruby: &InstalledRuby,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let mut key = site.key(NAME, FORMAT, gemfile.lock_text.is_some());
    for (name, value) in [
        ("ruby", ruby.version.to_string().as_bytes()),
        ("bin", ruby.bin.as_os_str().as_encoded_bytes()),
        ("api", ruby.api.as_bytes()),
        ("arch", ruby.arch.as_bytes()),
        ("mount", site.layers().as_os_str().as_encoded_bytes()),
        ("name", gemfile.name.as_bytes()),
        ("file", &gemfile.text),
        ("lock", gemfile.lock_text.as_deref().unwrap_or_default()),
    ] {
        key.fact(name, value);
    }
    if source.has_path(CACHE)? {
        key.tree(&source.tree, Path::new(CACHE), &|_| true)?;
    }
    if gemfile.local || !gemfile.lock.paths.is_empty() {
        let mut files = BTreeSet::new();
        describing(source, Path::new(""), DEPTH, &mut files)?;
        for file in files {
            key.fact(&format!("file {}", file.display()), &source.text(&file)?.unwrap_or_default());
        }
    }
    // Another source or another policy brings other gems; how they are fetched does not.
    let counts = |name: &&String| {
        (name.starts_with("BUNDLE_") || name.starts_with("GEM_"))
            && !ONLY_FETCHING.contains(&name.as_str())
            && !settings::is_ours(name)
    };
    for (name, value) in settings.iter().filter(|(name, _)| counts(name)) {
        key.fact(&format!("settings {name}"), value.as_bytes());
    }
    for name in source.env.keys().chain(source.config.keys()).filter(counts) {
        key.fact(name, source.variable(name).map_or("", |(value, _)| value).as_bytes());
    }
    for (name, value) in site.build_env.iter().filter(|(name, _)| counts(name)) {
        key.fact(&format!("host {name}"), value.as_bytes());
    }
    Ok(key.finish())
}

/// The files that say what gems that lie in the app are: their gemspecs, and the versions that those read.
fn describing(
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
            describing(source, &path, depth - 1, found)?;
        } else if kind == FileKind::Regular
            && found.len() < MOST
            && (path.extension() == Some(OsStr::new("gemspec")) || name == "version.rb")
        {
            found.insert(path);
        }
    }
    Ok(())
}

/// The gems in `vendor/cache`.
fn vendored(source: &AppSource) -> anyhow::Result<Vec<String>> {
    if !source.has("vendor/") {
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

/// The gems that the lock names and that are not there in any of their builds.
fn missing(gemfile: &Gemfile, vendored: &[String]) -> Vec<String> {
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
