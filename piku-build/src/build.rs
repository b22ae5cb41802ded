//! `build`: the plan carried out. The release is made in a folder beside OUTPUT and put there whole by a rename at the end;
//! until then nothing is there, and what fails leaves nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::syncfs;
use piku_procfile::durable;
use piku_procfile::failure::Failure;
use piku_procfile::name::AppName;
use piku_procfile::procfile::Kind;
use piku_procfile::settings::{Sandbox, Settings};

use crate::copy::{self, Leave};
use crate::layer::{Store, Taken, Unfinished};
use crate::plan::{LayerPlan, Plan};
use crate::release::{Layer, Origin, Release, TREE};
use crate::room::{APP, Mount, Room};
use crate::runtime::{self, Runtime, Site};
use crate::source::Source;
use crate::step::Step;
use crate::view::View;
use crate::work::Work;
use crate::{
    caches, disk, environment, explain, interrupt, leftover, machine, manners, sandbox, share, startable,
    talk,
};

/// What belongs to the machine and not to the app.
pub(crate) struct Place {
    /// Where layers are kept.
    pub(crate) layers: Option<PathBuf>,
    /// `host.yaml`.
    pub(crate) settings: Option<PathBuf>,
    /// `config.json`.
    pub(crate) config: Option<PathBuf>,
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
    /// Whether it begins with neither caches nor layers.
    pub(crate) anew: bool,
    pub(crate) output: PathBuf,
    pub(crate) facts: Facts,
}

impl Place {
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

    // Looked at where it lies, so that an app that fits nothing costs no copy.
    let source = Source::read(&build.dir, build.place.config.as_deref())?;
    let (_, detected) = runtime::detect(&source)?;
    talk::stage(&format!("{} app detected: {}", capital(detected.runtime), detected.because));
    let jailed = sandbox::decide(build.place.sandbox.unwrap_or(settings.sandbox), true)?;
    if !jailed {
        leftover::adopt()?;
    }
    let app = app_name(build, &source.dir)?;

    let cache = make(&build.cache)?;
    let layers = make(build.place.layers.as_deref().unwrap_or(&build.cache.join("layers")))?;
    let work = Work::new(parent)?;
    let fresh = work.join("cache");
    let used = if build.anew { make(&fresh)? } else { cache.clone() };
    let made = Making { build, settings: &settings, jailed, cache: &used, layers: &layers, work: &work };
    let release = made.release(&source, app)?;
    if build.anew {
        caches::replace(&cache, &fresh, &work.join("old-cache"))?;
    }

    let aside = work.join(RELEASE);
    release.write(&aside)?;
    // One call for the whole tree; a sync for each of 100,000 files would take minutes.
    File::open(work.path())
        .and_then(|dir| Ok(syncfs(dir)?))
        .with_context(|| format!("cannot sync '{}'", work.path().display()))?;
    interrupt::check()?;
    refuse_existing(&output)?;
    fs::rename(&aside, &output).with_context(|| format!("cannot make '{}'", output.display()))?;
    durable::sync_parent(&output).with_context(|| format!("cannot sync '{}'", parent.display()))
}

/// The release's folder in the work folder.
const RELEASE: &str = "release";

/// A build under way.
struct Making<'a> {
    build: &'a Build,
    settings: &'a Settings,
    jailed: bool,
    cache: &'a Path,
    layers: &'a Path,
    work: &'a Work,
}

impl Making<'_> {
    /// Everything but the last rename.
    fn release(&self, source: &Source, app: AppName) -> anyhow::Result<Release> {
        let tree = self.work.join(RELEASE).join(TREE);
        self.place_tree(&source.dir, &tree)?;
        let config = self.build.place.config.as_deref();
        let mut source = Source::read(&tree, config)?;
        if self.preflight(&source)? {
            source = Source::read(&tree, config)?;
        }
        for warning in &source.warnings {
            talk::marked(&warning.to_string());
        }
        let (runtime, _) = runtime::detect(&source)?;
        let mut store = Store::new(self.layers)?;
        if self.build.anew {
            store = store.anew();
        }
        let architecture = machine::architecture()?;
        let site = Site {
            jailed: self.jailed,
            store: Some(&store),
            architecture: &architecture,
            build_env: &self.settings.build_env,
        };
        let plan = runtime.plan(&source, &site)?;
        if let (Some(version), Some(from)) = (&plan.version, &plan.version_from) {
            talk::stage(&format!("{} {version} ({from})", capital(plan.runtime)));
        }
        for warning in &plan.warnings {
            talk::warning(warning);
        }
        let view = self.view(&plan, &store, &source, &tree);
        for layer in &plan.layers {
            self.layer(runtime, &plan, layer, &store, &source, &view)?;
        }
        self.steps(runtime, &plan, &store, &source, &view)?;
        for warning in startable::check(&plan.processes, &view)? {
            talk::warning(&warning);
        }
        runtime.check(&plan, &view)?;
        let types: Vec<_> = plan.processes.keys().map(AsRef::as_ref).collect();
        talk::stage(&format!("Process types: {}", types.join(", ")));
        if let Some(before) = self.build.before.as_deref().filter(|_| self.jailed) {
            share::with(before, &tree)?;
        }
        if self.build.anew {
            store.keep_edition()?;
        }
        Ok(self.facts(plan, app, architecture))
    }

    fn facts(&self, plan: Plan, app: AppName, architecture: String) -> Release {
        let Facts { number, commit, subject, by, .. } = &self.build.facts;
        let layer = |layer: &LayerPlan| Layer {
            name: layer.name.to_owned(),
            key: layer.key.clone(),
            mount: layer.mount.clone(),
        };
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
            runtime: plan.runtime.to_owned(),
            version: plan.version,
            version_from: plan.version_from,
            layers: plan.layers.iter().map(layer).collect(),
            processes: plan.processes,
            env: plan.env,
            jailed: self.jailed,
        }
    }

    /// Moves or copies the app's folder to where it becomes the release's.
    fn place_tree(&self, dir: &Path, tree: &Path) -> anyhow::Result<()> {
        let parent = self.work.join(RELEASE);
        fs::create_dir(&parent).with_context(|| format!("cannot make '{}'", parent.display()))?;
        if self.build.take {
            match fs::rename(dir, tree) {
                Ok(()) => {
                    return remove_git(tree).with_context(|| format!("cannot clean '{}'", tree.display()));
                }
                Err(err) if err.kind() == io::ErrorKind::CrossesDevices => {}
                Err(err) => {
                    return Err(err)
                        .with_context(|| format!("cannot move '{}' to '{}'", dir.display(), tree.display()));
                }
            }
        }
        self.copy(dir, tree, "the app")?;
        if self.build.take {
            copy::remove(dir).with_context(|| format!("cannot remove '{}'", dir.display()))?;
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path, what: &str) -> anyhow::Result<()> {
        let leave = Leave::new([self.cache, self.layers, self.work.path()]);
        disk::check(self.work.path(), copy::measure(from, &leave)?, what)?;
        for odd in copy::copy(from, to, &leave)? {
            talk::warning(&format!(
                "'{}' is left out: it is neither a file nor a folder nor a link",
                odd.display()
            ));
        }
        Ok(())
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

    /// Finds a layer, or builds it.
    fn layer(
        &self,
        runtime: &dyn Runtime,
        plan: &Plan,
        layer: &LayerPlan,
        store: &Store,
        source: &Source,
        view: &View,
    ) -> anyhow::Result<()> {
        let short = &layer.key[..12];
        let unfinished = match store.take(&layer.key)? {
            Taken::There => {
                talk::stage(&format!("Dependencies are unchanged: layer {} {short}", layer.name));
                return Ok(());
            }
            Taken::Build(unfinished) => unfinished,
        };
        talk::stage(&format!("Installing dependencies: layer {} {short}", layer.name));
        disk::check(store.path(), layer.need, "the layer of dependencies")?;
        let scratch = self.work.join("scratch");
        let app = if layer.writes_app {
            self.copy(&view.tree, &scratch, "a copy of the app to install from")?;
            scratch.as_path()
        } else {
            view.tree.as_path()
        };
        let env = environment::of_steps(plan, &self.settings.build_env, source);
        let mount = Mount { real: unfinished.content(), inside: layer.mount.clone(), writable: true };
        let room = self.room(app, layer.writes_app, vec![mount], &env);
        for step in &layer.steps {
            let ended = room.run(step)?;
            runtime.judge(step, &ended, plan, view)?;
        }
        copy::remove(&scratch).with_context(|| format!("cannot remove '{}'", scratch.display()))?;
        finish(unfinished, layer, plan)
    }

    /// Runs what is to be done in the app's own tree.
    fn steps(
        &self,
        runtime: &dyn Runtime,
        plan: &Plan,
        store: &Store,
        source: &Source,
        view: &View,
    ) -> anyhow::Result<()> {
        let env = environment::of_steps(plan, &self.settings.build_env, source);
        let mount = |layer: &LayerPlan| Mount {
            real: store.content(&layer.key),
            inside: layer.mount.clone(),
            writable: false,
        };
        let room = self.room(&view.tree, true, plan.layers.iter().map(mount).collect(), &env);
        for step in &plan.steps {
            let ended = room.run(step)?;
            runtime.judge(step, &ended, plan, view)?;
        }
        Ok(())
    }

    fn room<'a>(
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

    /// The finished release as its processes will see it.
    fn view(&self, plan: &Plan, store: &Store, source: &Source, tree: &Path) -> View {
        let path = source.variable("PATH").map(|(path, _)| path).or(plan.env.get("PATH").map(String::as_str));
        View {
            jailed: self.jailed,
            app: if self.jailed { APP.into() } else { tree.to_owned() },
            tree: tree.to_owned(),
            mounts: plan
                .layers
                .iter()
                .map(|layer| (layer.mount.clone(), store.content(&layer.key)))
                .collect(),
            path: std::env::split_paths(path.unwrap_or(environment::PATH)).collect(),
        }
    }
}

/// Marks a layer as whole once there is something in it: a tool's exit code 0 alone is not enough.
fn finish(unfinished: Unfinished, layer: &LayerPlan, plan: &Plan) -> anyhow::Result<()> {
    let content = unfinished.content();
    let filled = fs::read_dir(&content).is_ok_and(|mut entries| entries.next().is_some());
    if !filled {
        return Err(Failure::new(format!("the layer '{}' is empty after its steps", layer.name)).into());
    }
    let version = plan.version.as_deref().unwrap_or_default();
    unfinished.finish(&format!("{} {} {version}\n", layer.name, plan.runtime))
}

/// A release is never written over.
fn refuse_existing(output: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(output) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot look at '{}'", output.display())),
        Ok(_) => Err(explain::output_exists(output).into()),
    }
}

/// The folder, made where it is missing, without links in its path.
fn make(dir: &Path) -> anyhow::Result<PathBuf> {
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

/// git's own at the top of a tree that was moved here: a folder, or a submodule's file.
fn remove_git(tree: &Path) -> io::Result<()> {
    let git = tree.join(".git");
    match fs::symlink_metadata(&git) {
        Ok(meta) if meta.is_dir() => copy::remove(&git),
        Ok(_) => fs::remove_file(&git),
        Err(_) => Ok(()),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
