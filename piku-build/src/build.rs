//! `build`: the plan carried out. The release is made in a folder beside OUTPUT and put there whole by a rename at the end;
//! until then nothing is there, and what fails leaves nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use piku_procfile::durable;
use piku_procfile::name::AppName;
use piku_procfile::procfile::Kind;
use piku_procfile::remove;
use piku_procfile::settings::{Sandbox, Settings};

use crate::copy::{self, Leave};
use crate::inside::Mount;
use crate::layer::{Store, TOOLS};
use crate::making::{Making, capital};
use crate::plan::Plan;
use crate::release::{Layer, Origin, Release, TREE};
use crate::room::Room;
use crate::runtime::{self, Detected, buildpack};
use crate::site::Site;
use crate::source::Source;
use crate::step::Step;
use crate::whole::Whole;
use crate::work::Work;
use crate::{
    again, caches, disk, environment, explain, interrupt, leftover, machine, manners, ondisk, sandbox,
    secret, share, subfolder, talk,
};

/// What belongs to the machine and not to the app.
pub(crate) struct Place {
    /// Where layers are kept.
    pub(crate) layers: Option<PathBuf>,
    /// Where the tools that make layers are kept.
    pub(crate) tools: Option<PathBuf>,
    /// `host.yaml`.
    pub(crate) settings: Option<PathBuf>,
    /// `config.json`.
    pub(crate) config: Option<PathBuf>,
    /// The operator's buildpacks.
    pub(crate) buildpacks: Option<PathBuf>,
    /// Overrides the settings.
    pub(crate) sandbox: Option<Sandbox>,
}

/// What a release says about itself and a build cannot know.
pub(crate) struct Facts {
    pub(crate) app: Option<AppName>,
    pub(crate) number: u64,
    pub(crate) commit: String,
    pub(crate) subject: String,
    pub(crate) by: String,
}

/// One build.
pub(crate) struct Build {
    pub(crate) place: Place,
    pub(crate) dir: PathBuf,
    /// Whether `dir` is used up.
    pub(crate) take: bool,
    pub(crate) cache: PathBuf,
    /// The release before this one, to share files with.
    pub(crate) before: Option<PathBuf>,
    /// What it takes from builds before it.
    pub(crate) reuse: Reuse,
    pub(crate) output: PathBuf,
    pub(crate) facts: Facts,
}

/// What a build takes from the builds before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Caches, and layers that are the same.
    All,
    /// Caches, and layers that a lock determines. When all has come to what the release before is, there is no release.
    Caches,
    /// Nothing.
    Nothing,
}

impl Place {
    /// The app in this folder, or in the one below it that `APP_DIR` names.
    pub(crate) fn find(&self, dir: &Path) -> anyhow::Result<Source> {
        Ok(self.with_packs(subfolder::find(dir, self.config.as_deref())?))
    }

    /// The app in this folder itself.
    fn read(&self, dir: &Path) -> anyhow::Result<Source> {
        Ok(self.with_packs(Source::read(dir, self.config.as_deref())?))
    }

    fn with_packs(&self, mut source: Source) -> Source {
        source.packs = self.buildpacks.as_deref().map(buildpack::of_host).unwrap_or_default();
        source
    }

    /// The machine's settings, all defaults where there is no file.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.settings.as_deref().map(Settings::read).transpose().map(Option::unwrap_or_default)
    }
}

/// Builds.
pub(crate) fn run(build: &Build) -> anyhow::Result<()> {
    interrupt::watch()?;
    let settings = build.place.settings()?;
    interrupt::limit(Duration::from_secs(settings.build_timeout))?;
    manners::observe(&settings)?;
    let output = std::path::absolute(&build.output)
        .with_context(|| format!("cannot find '{}'", build.output.display()))?;
    refuse_existing(&output)?;
    let parent = output.parent().unwrap_or(Path::new("/"));

    // Whether there are jails is found out meanwhile.
    let sandbox = build.place.sandbox.unwrap_or(settings.sandbox);
    sandbox::begin(sandbox);
    // Looked at where it lies, so that an app that fits nothing costs no copy.
    let source = build.place.find(&build.dir)?;
    let Detected { runtimes, because, .. } = runtime::choose(&source)?.detected;
    let names: Vec<_> = runtimes.into_iter().map(capital).collect();
    let place =
        source.below.as_deref().map_or_else(String::new, |below| format!(" in '{}'", below.display()));
    talk::stage(&format!("{} app detected{place}: {because}", names.join(" and ")));
    let jailed = sandbox::decide(sandbox, true)?;
    if !jailed {
        leftover::adopt()?;
    }
    let app = app_name(build, &source.dir)?;

    let cache = make(&build.cache)?;
    let layers = make(build.place.layers.as_deref().unwrap_or(&build.cache.join("layers")))?;
    let mut store = Store::new(&layers)?;
    if build.reuse != Reuse::All {
        store = store.anew(build.reuse == Reuse::Nothing);
    }
    let work = Work::new(parent)?;
    let fresh = work.join("cache");
    let used = if build.reuse == Reuse::Nothing { make(&fresh)? } else { cache.clone() };
    let before = build.before.as_deref().filter(|_| jailed).and_then(share::tree_of);
    let bench =
        Bench { build, settings: &settings, jailed, cache: &used, store: &store, work: &work, before };
    let release = bench.release(&source, app)?;

    if build.reuse == Reuse::Nothing {
        caches::replace(&cache, &fresh, &work.join("old-cache"))?;
    }
    let compared = build.before.as_ref().filter(|_| build.reuse == Reuse::Caches);
    let is_same = |before: &PathBuf| again::is_same(before, &release, &work.join(RELEASE).join(TREE), &store);
    if compared.map_or(Ok(false), is_same)? {
        talk::stage("Nothing has changed");
        return discard(&store, &release, compared);
    }
    if build.reuse != Reuse::All {
        store.keep_edition()?;
    }
    let aside = work.join(RELEASE);
    release.write_unsynced(&aside)?;
    ondisk::put(&aside, bench.before.as_ref().and_then(|tree| tree.parent()))?;
    interrupt::check()?;
    refuse_existing(&output)?;
    fs::rename(&aside, &output).with_context(|| format!("cannot make '{}'", output.display()))?;
    durable::sync_parent(&output).with_context(|| format!("cannot sync '{}'", parent.display()))
}

/// Removes the layers that were built for nothing: those that the release before has not.
fn discard(store: &Store, release: &Release, before: Option<&PathBuf>) -> anyhow::Result<()> {
    let old = before.map(|before| Release::read(before)).transpose()?;
    let is_old = |layer: &&Layer| old.iter().flat_map(|old| &old.layers).any(|old| old.key == layer.key);
    let mut new = release.layers.iter().filter(|layer| !is_old(layer));
    new.try_for_each(|layer| store.discard(&layer.key))
}

/// The release's folder in the work folder.
const RELEASE: &str = "release";

/// A build under way: where it works.
pub(crate) struct Bench<'a> {
    build: &'a Build,
    pub(crate) settings: &'a Settings,
    pub(crate) jailed: bool,
    pub(crate) cache: &'a Path,
    store: &'a Store,
    pub(crate) work: &'a Work,
    /// The tree of the release before, which nobody can write to.
    before: Option<PathBuf>,
}

impl Bench<'_> {
    /// Everything but the last rename.
    fn release(&self, found: &Source, app: AppName) -> anyhow::Result<Release> {
        let tree = self.work.join(RELEASE).join(TREE);
        self.place_tree(found, &tree)?;
        let mut source = self.build.place.read(&tree)?;
        if self.preflight(&source)? {
            source = self.build.place.read(&tree)?;
        }
        source.warnings.iter().for_each(|warning| talk::marked(&warning.to_string()));
        found.notes.iter().for_each(|note| talk::warning(note));
        source.notes.iter().filter(|note| !found.notes.contains(note)).for_each(|note| talk::warning(note));
        let runtimes = runtime::choose(&source)?.runtimes;
        let tools = Store::new(&self.cache.join(TOOLS))?;
        let architecture = machine::architecture()?;
        let site = Site {
            jailed: self.jailed,
            store: Some(self.store),
            tools: Some(&tools),
            architecture: &architecture,
            build_env: &self.settings.build_env,
            commit: &self.build.facts.commit,
        };
        let mut whole = Whole::plan(&runtimes, &source, &site)?;
        let making = Making { at: self, store: self.store, tools: &tools, source: &source, tree: &tree };
        making.all(&mut whole)?;
        secret::supply(&mut whole, self.build.before.as_deref())?;
        let types: Vec<_> = whole.processes.keys().map(AsRef::as_ref).collect();
        let from = if source.procfile.is_some() {
            String::new()
        } else {
            format!(" (by default, from {})", whole.processes_from)
        };
        talk::stage(&format!("Process types: {}{from}", types.join(", ")));
        if let Some(old) = &self.before {
            share::with(old, &tree)?;
        }
        Ok(self.facts(whole, app, architecture))
    }

    fn facts(&self, whole: Whole, app: AppName, architecture: String) -> Release {
        let Facts { number, commit, subject, by, .. } = &self.build.facts;
        let Plan { runtime, version, version_from, .. } = whole.main();
        let trees = whole.plans().flat_map(|plan| &plan.tree_layers);
        let taken_in = trees.filter(|layer| layer.mount.is_none());
        Release {
            app,
            number: *number,
            commit: commit.clone(),
            subject: subject.clone(),
            by: by.clone(),
            origin: Origin::Deploy,
            tree_of: None,
            at: jiff::Timestamp::now(),
            architecture,
            runtime: (*runtime).to_owned(),
            version: version.clone(),
            version_from: version_from.clone(),
            layers: whole.shown().collect(),
            host: whole.host().cloned().collect(),
            profile: has_profile(&self.work.join(RELEASE).join(TREE)),
            kept: taken_in.map(|layer| layer.key.clone()).collect(),
            processes: whole.processes,
            env: whole.env,
            jailed: self.jailed,
        }
    }

    /// Moves or copies the app's folder to where it becomes the release's.
    fn place_tree(&self, source: &Source, tree: &Path) -> anyhow::Result<()> {
        let parent = self.work.join(RELEASE);
        fs::create_dir(&parent).with_context(|| format!("cannot make '{}'", parent.display()))?;
        if !self.build.take || !move_tree(&source.dir, tree)? {
            self.copy(&source.dir, tree, "the app")?;
        }
        // What lies beside a sub-folder that is the app goes too.
        if self.build.take {
            let pushed = &self.build.dir;
            remove::all(pushed).with_context(|| format!("cannot remove '{}'", pushed.display()))?;
        }
        subfolder::settle(tree, &source.shared)
    }

    pub(crate) fn copy(&self, from: &Path, to: &Path, what: &str) -> anyhow::Result<()> {
        let leave = Leave::new([self.cache, self.store.path(), self.work.path()]);
        disk::check(self.work.path(), copy::measure(from, &leave)?, what)?;
        for odd in copy::copy(from, to, &leave)? {
            talk::warning(&format!(
                "'{}' is left out: it is neither a file nor a folder nor a link",
                odd.display()
            ));
        }
        Ok(())
    }

    /// The tree of the release before, where what it has made may be taken from: not when all is to be made anew.
    pub(crate) fn made_before(&self) -> Option<&Path> {
        self.before.as_deref().filter(|_| self.build.reuse == Reuse::All)
    }

    /// Runs what the app wants done before its build. Returns whether there was anything.
    fn preflight(&self, source: &Source) -> anyhow::Result<bool> {
        let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
        let Some(entry) = entries.into_iter().find(|entry| entry.kind == Kind::Preflight) else {
            return Ok(false);
        };
        talk::stage(&format!("Running preflight: {}", entry.command));
        let run = piku_procfile::command::argv(&entry.command).into();
        let step = Step { name: "preflight", run, quiet: false };
        let env = environment::of_preflight(&self.settings.build_env, source);
        let ended = self.room(&source.dir, true, Vec::new(), &env).run(&step)?;
        if ended.succeeded() {
            return Ok(true);
        }
        Err(explain::step_failed(step.name, &ended, &[]).into())
    }

    pub(crate) fn room<'a>(
        &'a self,
        app: &'a Path,
        app_writable: bool,
        mounts: Vec<Mount>,
        env: &'a environment::Variables,
    ) -> Room<'a> {
        Room {
            jailed: self.jailed,
            app,
            app_writable,
            cache: self.cache,
            home: self.work.join("home"),
            mounts,
            memory: self.settings.build_memory.as_deref(),
            env,
        }
    }
}

/// The folder of what a shell reads before each command.
pub(crate) const PROFILE: &str = ".profile.d";

/// Whether a shell is to read files of the tree before each command.
pub(crate) fn has_profile(tree: &Path) -> bool {
    let entries = fs::read_dir(tree.join(PROFILE)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "sh"))
}

/// A release is never written over.
pub(crate) fn refuse_existing(output: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(output) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot look at '{}'", output.display())),
        Ok(_) => Err(explain::output_exists(output).into()),
    }
}

/// The folder, made where it is missing, without links in its path.
pub(crate) fn make(dir: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("cannot make '{}'", dir.display()))
}

/// The name given, or else the folder's where it is one.
fn app_name(build: &Build, dir: &Path) -> anyhow::Result<AppName> {
    if let Some(name) = &build.facts.app {
        return Ok(name.clone());
    }
    let folder = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folder.parse().or_else(|_| "app".parse()).context("cannot name the app")
}

/// Moves a tree where a rename can; else it is to be copied.
fn move_tree(dir: &Path, tree: &Path) -> anyhow::Result<bool> {
    match fs::rename(dir, tree) {
        Ok(()) => {
            // git's own at the top: a folder, or a submodule's file.
            remove::all(&tree.join(".git")).with_context(|| format!("cannot clean '{}'", tree.display()))?;
            Ok(true)
        }
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(err) => {
            Err(err).with_context(|| format!("cannot move '{}' to '{}'", dir.display(), tree.display()))
        }
    }
}
