//! Runs steps in the jail, with the app at `/app` and only the programs of the host, or without a jail in the
//! real directories.

#![expect(
    clippy::disallowed_methods,
    reason = "makes the folders of the caches, in which steps see only what is below each"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;
use piku_chroot::report;
use piku_layout::jail::APP;
use piku_layout::settings::ReservedPorts;
use piku_procfile::listen_ports::{self, VARIABLE};

use crate::errors;
use crate::step::build_step::{self, BuildStep, StepOutcome};
use crate::step::deploy_key::KeyFile;
use crate::step::environment::Variables;
use crate::step::resources;

/// The build caches inside the jail.
const CACHE: &str = "/cache";
/// Caches that a step sees, not the layers that may lie beside them: the directory of each package manager,
/// with the variables that name it and their paths below it.
const CACHES: &[(&str, &[(&str, &str)])] = &[
    ("pip", &[("PIP_CACHE_DIR", "")]),
    ("uv", &[("UV_CACHE_DIR", "")]),
    ("go", &[("GOMODCACHE", "mod"), ("GOCACHE", "build")]),
    ("cargo", &[("CARGO_HOME", "")]),
    ("npm", &[("npm_config_cache", "")]),
    ("yarn", &[("YARN_CACHE_FOLDER", "")]),
    ("pnpm", &[("PNPM_HOME", "")]),
    ("m2", &[("MAVEN_USER_HOME", "")]),
    ("gradle", &[("GRADLE_USER_HOME", "")]),
    ("sbt", &[("SBT_CACHE", ""), ("COURSIER_CACHE", "coursier")]),
    ("bundle", &[("BUNDLE_USER_CACHE", "")]),
    ("rails", &[("RAILS_BUILD_CACHE", "")]),
    ("buildpack", &[("BUILDPACK_CACHE", "")]),
];
/// HOME of a step inside the jail, with its temporary files: on the disk, since a compiler's do not fit into
/// memory.
const HOME: &str = "/build";

/// A directory that a step sees.
#[derive(Debug, Clone)]
pub(crate) struct StepMount {
    /// Path on the host.
    pub(crate) real: PathBuf,
    /// Path that the step sees; the same as `real` if there is no jail.
    pub(crate) inside: PathBuf,
    /// True if the step may write to it.
    pub(crate) writable: bool,
}

impl StepMount {
    /// Returns a mount of a folder of the machine, read-only, at the same path.
    pub(crate) fn read_only(folder: &Path) -> Self {
        Self { real: folder.to_owned(), inside: folder.to_owned(), writable: false }
    }
}

/// Runs the steps of one build.
pub(crate) struct StepRunner<'a> {
    /// True if the steps run in the jail.
    pub(crate) jailed: bool,
    /// Directory of the app tree.
    pub(crate) app: &'a Path,
    /// True if the steps may change the app tree.
    pub(crate) app_writable: bool,
    /// Directory of the build caches.
    pub(crate) cache: &'a Path,
    /// A private folder for HOME and temporary files.
    pub(crate) home: PathBuf,
    /// Layers and other directories that the steps see.
    pub(crate) mounts: Vec<StepMount>,
    /// Ports of instances and services, which steps must not use.
    pub(crate) ports: ReservedPorts,
    /// Memory limit of a step, if the operator has set one.
    pub(crate) memory: Option<&'a str>,
    /// Environment of the steps without the variables that depend on their directories.
    pub(crate) env: &'a Variables,
}

impl StepRunner<'_> {
    /// Runs a step.
    ///
    /// # Errors
    /// Fails if it cannot be run; a step that fails is not an error here.
    pub(crate) fn run(&self, step: &BuildStep) -> anyhow::Result<StepOutcome> {
        let tmp = self.home.join("tmp");
        for dir in CACHES.iter().map(|(name, _)| self.cache.join(name)).chain([tmp]) {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make '{}'", dir.display()))?;
        }
        let (home, cache) =
            if self.jailed { (Path::new(HOME), Path::new(CACHE)) } else { (self.home.as_path(), self.cache) };
        let mut env = self.env.clone();
        let tmp = home.join("tmp");
        let mut place = |name: &str, dir: &Path| {
            env.insert(name.to_owned(), dir.to_string_lossy().into_owned());
        };
        place("HOME", home);
        place("TMPDIR", &tmp);
        for (folder, variables) in CACHES {
            for (name, below) in *variables {
                place(name, &cache.join(folder).join(below));
            }
        }
        let key = KeyFile::take(&mut env)?;
        if let Some(key) = &key {
            key.install(&self.home, home, &mut env)?;
        }
        let command = if self.jailed {
            self.jail()?.command(&env, &step.run)
        } else {
            self.unjailed_command(&env, &step.run)
        };
        let mut ended = build_step::run_command(step.name, command, step.quiet)
            .with_context(|| format!("step '{}'", step.name))?;
        if key.is_some() {
            KeyFile::remove(&self.home)?;
        }
        let mut whole = None;
        if let Some(jail) = self.jailed.then(|| report::read(&self.report())).and_then(|(_, end)| end) {
            ended.out_of_memory |= jail.oom_kills > 0;
            whole = jail.memory_peak_bytes;
            ended.peak = whole.unwrap_or(ended.peak);
        }
        match self.memory.filter(|_| ended.is_out_of_memory()) {
            Some(memory) if whole.is_some_and(|peak| resources::is_machine_short(peak, memory)) => {
                Err(errors::out_of_memory(step.name, ended.peak).into())
            }
            Some(memory) => Err(errors::beyond_memory(step.name, whole, memory).into()),
            None => Ok(ended),
        }
    }

    /// Returns the path of the file in which the jail reports how it ended.
    fn report(&self) -> PathBuf {
        self.home.with_extension("report")
    }

    fn jail(&self) -> anyhow::Result<JailSpec> {
        let app = Path::new(APP);
        // A build that is killed leaves no step that runs on, with the app's lock in its hands.
        let mut jail =
            JailSpec::profile(BuiltinProfile::Build).die_with_caller().report(&self.report()).scoped();
        // In the shared network a step may listen on ports that the kernel picks, for a server that tests or
        // renders pages, and on ports that the app declares, but not on the ports of instances.
        let declared =
            listen_ports::parse_listen_ports(self.env.get(VARIABLE).map(String::as_str), self.ports)?;
        jail = declared.into_iter().fold(jail.listen(0), JailSpec::listen);
        if let Some(memory) = self.memory {
            jail = jail.limit(&format!("memory={memory}"));
        }
        jail = if self.app_writable { jail.bind(self.app, app) } else { jail.ro(self.app, app) };
        jail = jail.bind(&self.home, Path::new(HOME));
        for (name, _) in CACHES {
            jail = jail.bind(&self.cache.join(name), &Path::new(CACHE).join(name));
        }
        for mount in &self.mounts {
            jail = if mount.writable {
                jail.bind(&mount.real, &mount.inside)
            } else {
                jail.ro(&mount.real, &mount.inside)
            };
        }
        Ok(jail)
    }

    fn unjailed_command(&self, env: &Variables, argv: &[String]) -> Command {
        resources::raise_oom_score();
        let mut command = Command::new(argv.first().map_or("", String::as_str));
        command.args(argv.get(1..).unwrap_or_default()).env_clear().envs(env).current_dir(self.app);
        command
    }
}
