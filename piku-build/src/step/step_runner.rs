//! Where steps run: in the jail, with the app at `/app` and nothing of the host's but its programs, or, where there is no
//! jail, in the real folders.

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
use piku_layout::settings::PortRange;
use piku_procfile::listen_ports::{self, VARIABLE};

use crate::errors;
use crate::step::build_step::{self, BuildStep, StepOutcome};
use crate::step::environment::Variables;
use crate::step::resources;

/// The build caches inside the jail.
const CACHE: &str = "/cache";
/// What of them a step sees: each package manager's own, and not the layers that may lie beside them; and the variables that
/// tell each where, with the folder in it.
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
    ("bundle", &[("BUNDLE_USER_CACHE", "")]),
    ("rails", &[("RAILS_BUILD_CACHE", "")]),
    ("buildpack", &[("BUILDPACK_CACHE", "")]),
];
/// HOME of a step inside the jail, with its temporary files: on the disk, since a compiler's do not fit into memory.
const HOME: &str = "/build";

/// A folder that a step sees.
#[derive(Debug, Clone)]
pub(crate) struct StepMount {
    /// Where it is.
    pub(crate) real: PathBuf,
    /// Where the step sees it; the same where there is no jail.
    pub(crate) inside: PathBuf,
    /// Whether the step may write to it.
    pub(crate) writable: bool,
}

impl StepMount {
    /// A folder of the machine, read-only where it is.
    pub(crate) fn same(folder: &Path) -> Self {
        Self { real: folder.to_owned(), inside: folder.to_owned(), writable: false }
    }
}

/// A place for steps.
pub(crate) struct StepRunner<'a> {
    /// Whether it is a jail.
    pub(crate) jailed: bool,
    /// The app's folder.
    pub(crate) app: &'a Path,
    /// Whether the steps may change it.
    pub(crate) app_writable: bool,
    /// The build caches.
    pub(crate) cache: &'a Path,
    /// A private folder for HOME and temporary files.
    pub(crate) home: PathBuf,
    /// Layers.
    pub(crate) mounts: Vec<StepMount>,
    /// The ports of instances, none of which is a step's.
    pub(crate) ports: PortRange,
    /// The memory that a step may take, where the operator has said it.
    pub(crate) memory: Option<&'a str>,
    /// The steps' environment, but for what depends on the place.
    pub(crate) env: &'a Variables,
}

impl StepRunner<'_> {
    /// Runs a step.
    ///
    /// # Errors
    /// When it cannot be run; a step that fails is no error here.
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
        let command =
            if self.jailed { self.jail()?.command(&env, &step.run) } else { self.plain(&env, &step.run) };
        let mut ended =
            build_step::run(command, step.quiet).with_context(|| format!("step '{}'", step.name))?;
        let mut whole = None;
        if let Some(jail) = self.jailed.then(|| report::read(&self.report())).and_then(|(_, end)| end) {
            ended.out_of_memory |= jail.oom_kills > 0;
            whole = jail.memory_peak_bytes;
            ended.peak = whole.unwrap_or(ended.peak);
        }
        match self.memory.filter(|_| ended.wanted_memory()) {
            Some(memory) => Err(errors::beyond_memory(step.name, whole, memory).into()),
            None => Ok(ended),
        }
    }

    /// Where the jail says how it ended.
    fn report(&self) -> PathBuf {
        self.home.with_extension("report")
    }

    fn jail(&self) -> anyhow::Result<JailSpec> {
        let app = Path::new(APP);
        // A build that is killed leaves no step that runs on, with the app's lock in its hands.
        let mut jail =
            JailSpec::profile(BuiltinProfile::Build).die_with_caller().report(&self.report()).scoped();
        // Of the network that all apps share a step has ports that the kernel picks, for a server that tests or renders pages, and
        // those that the app declares: none that an instance may have.
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

    fn plain(&self, env: &Variables, argv: &[String]) -> Command {
        resources::raise_oom_score();
        let mut command = Command::new(argv.first().map_or("", String::as_str));
        command.args(argv.get(1..).unwrap_or_default()).env_clear().envs(env).current_dir(self.app);
        command
    }
}
