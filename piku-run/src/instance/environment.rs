//! The world of a worker: its environment and its command, in the jail or where the release lies.
//!
//! The environment is clean, then the platform's, the runtime's, the app's ENV and the operator's configuration that the
//! release was made with, each over the one before; it reaches the worker through execve only.

#![expect(
    clippy::disallowed_methods,
    reason = "asks whom the data folder itself belongs to; nothing in it is opened"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use indexmap::IndexMap;
use nix::unistd::{getegid, geteuid};
use piku_chroot::jail::JailSpec;
use piku_chroot::profile::BuiltinProfile;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::{AppNetworks, AppUsers, HostSettings, NetworkMode, Protection, SandboxMode};
use piku_nss::UserAccount;
use piku_procfile::command::after_profile;
use piku_procfile::env::{self, EnvFile};
use piku_procfile::procfile::ParseOptions;
use piku_procfile::render::values::AppValues;
use piku_release::manifest::{BuiltRelease, TREE};
use piku_report::user_error::UserError;

use crate::config::{ConfigValues, store};
use crate::desired::network;
use crate::instance::{interpreter_home, ready_socket};

/// Names and values.
pub(crate) type Vars = IndexMap<String, String>;

/// Where workers find programs when their runtime says nothing else.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An app with one of its releases.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseContext {
    pub(crate) app: AppName,
    pub(crate) dir: AppDir,
    pub(crate) release: BuiltRelease,
    /// piku's own folder.
    root: PathBuf,
    /// Which app is which user.
    uids: PathBuf,
}

/// Which of its processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessRole<'a> {
    /// `web.1`.
    pub(crate) ps: &'a str,
    /// `web`.
    pub(crate) kind: &'a str,
    pub(crate) port: Option<u16>,
}

/// What a command gets beside its environment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommandOptions<'a> {
    /// A terminal of its own.
    pub(crate) terminal: bool,
    /// As `piku-chroot --limit` takes them. Without a jail they are the caller's to set.
    pub(crate) limits: &'a str,
    /// The size of `/tmp`, as `piku-chroot --tmp-size` takes it; nothing for the usual one.
    pub(crate) tmp_size: Option<&'a str>,
    /// The folder with its `NOTIFY_SOCKET`.
    pub(crate) notify: Option<&'a Path>,
    /// The TCP ports that it may bind, beside those that the kernel picks, where the kernel can restrict that.
    pub(crate) listen: &'a [u16],
    /// The port at which it is reached, also where it has a network of its own.
    pub(crate) port: Option<u16>,
}

/// The settings of this machine for how apps are kept apart.
#[derive(Debug, Clone)]
pub(crate) struct AppIsolation {
    /// The kind of user that the app runs as: the shared one, or its own.
    pub(crate) users: AppUsers,
    sandbox: SandboxMode,
    network: AppNetworks,
    /// The protections that a jail must have, since the machine had them when they were recorded.
    protections: Vec<Protection>,
}

impl AppIsolation {
    /// Takes it from the settings, but for who the app is.
    pub(crate) fn new(users: AppUsers, settings: HostSettings) -> Self {
        let protections = settings.protections.unwrap_or_default();
        Self { users, sandbox: settings.sandbox, network: settings.network, protections }
    }
}

impl ReleaseContext {
    /// Reads the release with this number.
    pub(crate) fn read(root: &PikuRoot, app: &AppName, number: u64) -> anyhow::Result<Self> {
        let dir = root.app(app);
        let release = BuiltRelease::read(&dir.release(number))?;
        let (uids, root) = (root.uid_ranges(), root.path().to_owned());
        Ok(Self { app: app.clone(), dir, release, root, uids })
    }

    /// Whether its processes run in the jail.
    pub(crate) fn is_jailed(&self) -> bool {
        self.release.jailed
    }

    /// The built tree.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.release(self.release.number).join(TREE)
    }

    /// The environment of one of its processes, and what its author should know.
    pub(crate) fn vars(&self, role: ProcessRole<'_>) -> anyhow::Result<(Vars, Vec<String>)> {
        let mut warnings = Vec::new();
        let mut vars = self.platform(role);
        vars.extend(self.release.env.clone());
        let (shipped, config) = self.set(&vars)?;
        for (origin, layer) in [("ENV", &shipped.vars), ("the configuration", &config.0)] {
            for (name, value) in layer {
                if name == "PORT" {
                    warnings.push(format!("PORT in {origin} is ignored: each instance has its own"));
                } else {
                    vars.insert(name.clone(), value.clone());
                }
            }
        }
        Ok((vars, warnings))
    }

    /// What the app's ENV and the operator have set, over what is known already.
    fn set(&self, known: &Vars) -> anyhow::Result<(EnvFile, ConfigValues)> {
        let shipped = EnvFile::read(&self.tree().join(env::FILE), known, ParseOptions::default())?;
        let config = match store::of_release(&self.dir, self.release.number)? {
            Some(config) => config,
            // An older piku has made it.
            None => ConfigValues::read(&self.dir.config())?,
        };
        Ok((shipped, config))
    }

    /// The same for other programs than its own, each value with the place where it stands.
    pub(crate) fn values(&self) -> anyhow::Result<AppValues> {
        let mut known = self.platform(ProcessRole { ps: "web.1", kind: "web", port: None });
        known.extend(self.release.env.clone());
        let (shipped, config) = self.set(&known)?;
        let mut values = AppValues::of(&shipped, env::FILE);
        for (name, value) in &config.0 {
            values.set(name, value, "configuration");
        }
        Ok(values)
    }

    fn platform(&self, role: ProcessRole<'_>) -> Vars {
        let (home, data) = if self.release.jailed {
            ("/app".to_owned(), "/data".to_owned())
        } else {
            (self.tree().display().to_string(), self.dir.data().display().to_string())
        };
        let user = UserAccount::of(nix::unistd::geteuid()).ok().flatten();
        let mut vars: Vars = [
            ("PATH", PATH.to_owned()),
            ("HOME", home),
            ("LANG", "C.UTF-8".to_owned()),
            ("USER", user.map_or_else(|| "piku".to_owned(), |user| user.name)),
            ("BIND_ADDRESS", "127.0.0.1".to_owned()),
            ("DATA_DIR", data),
            ("PIKU_APP", self.app.to_string()),
            ("PIKU_RELEASE", self.release.number.to_string()),
            ("PIKU_COMMIT", self.release.commit.clone()),
            ("PS", role.ps.to_owned()),
            ("PROC_TYPE", role.kind.to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if self.release.jailed {
            // HOME cannot be written; programs that want a place for a socket or a cache get the private /tmp.
            vars.insert("XDG_RUNTIME_DIR".to_owned(), "/tmp".to_owned());
            vars.insert("XDG_CACHE_HOME".to_owned(), "/tmp/.cache".to_owned());
            vars.insert("npm_config_cache".to_owned(), "/tmp/.cache/npm".to_owned());
            // SIGUSR1 makes every Node listen for a debugger on the loopback, which all apps share. Here it tries that on
            // an address that no machine has (RFC 5737), says so, and goes on.
            vars.insert("NODE_OPTIONS".to_owned(), "--inspect-port=192.0.2.1:9229".to_owned());
        }
        if let Some(port) = role.port {
            vars.insert("PORT".to_owned(), port.to_string());
        }
        vars
    }

    /// Whether the app was a user of its own, or was about to be, when it last had its data.
    fn data_is_of_an_own_user(&self) -> anyhow::Result<bool> {
        Ok(self.uids.exists() && !is_ours(&self.dir.data())?)
    }

    /// Refuses to run a release without a jail where the machine's settings require one, also one that was built before they did.
    pub(crate) fn check_sandbox(&self, sandbox: SandboxMode) -> anyhow::Result<()> {
        if self.release.jailed || sandbox != SandboxMode::Require {
            return Ok(());
        }
        let what = format!(
            "release {} was built without the jail, and host.yaml says 'sandbox: require'",
            self.release.number
        );
        Err(UserError::new(what).hint(format!("build it again: piku deploy {}", self.app)).into())
    }

    /// The command that runs `argv` in the app's world, as `isolation` says. A jail says in the file `report` what holds and
    /// how it ended.
    pub(crate) fn command(
        &self,
        isolation: &AppIsolation,
        vars: &Vars,
        argv: &[String],
        report: &Path,
        around: CommandOptions<'_>,
    ) -> anyhow::Result<Command> {
        self.check_sandbox(isolation.sandbox)?;
        let own_network = network::of(vars, isolation.network.of(&self.app))?;
        if own_network == NetworkMode::Own {
            network::check(self.release.jailed, true)?;
        }
        let tree = self.tree();
        let with_profile = self.release.profile.then(|| after_profile(argv));
        let argv = with_profile.as_deref().unwrap_or(argv);
        if self.release.jailed {
            let mut jail =
                JailSpec::profile(BuiltinProfile::Run).app(&tree).data(&self.dir.data()).report(report);
            for layer in &self.release.layers {
                jail = jail.ro(&self.dir.layers().join(&layer.key).join("content"), &layer.mount);
            }
            for folder in &self.release.host {
                interpreter_home::check(folder, &self.root)?;
                jail = jail.ro(folder, folder);
            }
            jail = jail.require(&isolation.protections);
            if isolation.users == AppUsers::Own {
                jail = jail.own_user(self.app.as_str(), &self.uids);
            } else if self.data_is_of_an_own_user()? {
                jail = jail.no_own_user(self.app.as_str(), &self.uids);
            }
            if around.terminal {
                jail = jail.tty();
            }
            if !around.limits.is_empty() {
                jail = jail.limit(around.limits);
            }
            if let Some(size) = around.tmp_size {
                jail = jail.tmp_size(size);
            }
            jail = match own_network {
                NetworkMode::Own => jail.own_network(),
                NetworkMode::Shared => {
                    around.listen.iter().fold(jail.listen(0), |jail, port| jail.listen(*port))
                }
            };
            jail = around.port.iter().fold(jail, |jail, port| jail.listen(*port));
            if let Some(folder) = around.notify {
                jail = jail.ro(folder, Path::new(ready_socket::FOLDER_INSIDE));
            }
            return Ok(jail.hostname(self.app.as_str()).command(vars, argv));
        }
        if self.data_is_of_an_own_user()? {
            let data = self.dir.data();
            let what = format!(
                "'{}' belongs to the app's own user, and there is no jail to be that one in",
                data.display()
            );
            let options = format!("--uid-range {} --uid-registry '{}'", self.app, self.uids.display());
            let hint = format!("give it back: piku-chroot {options} --data '{}' --give-back", data.display());
            return Err(UserError::new(what).hint(hint).into());
        }
        let (program, rest) = argv.split_first().context("no command")?;
        let mut command = Command::new(program);
        command.args(rest).env_clear().envs(vars).current_dir(&tree);
        Ok(command)
    }
}

/// Returns whether an app was a user of its own when it last had its data.
pub(crate) fn is_of_own_user(root: &PikuRoot, data: &Path) -> anyhow::Result<bool> {
    Ok(root.uid_ranges().exists() && !is_ours(data)?)
}

fn is_ours(data: &Path) -> anyhow::Result<bool> {
    let about = fs::metadata(data).with_context(|| format!("cannot look at '{}'", data.display()))?;
    Ok(about.uid() == geteuid().as_raw() && about.gid() == getegid().as_raw())
}
