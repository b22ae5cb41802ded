//! Environment and command of an instance, inside a jail or directly in the release.
//!
//! The environment starts empty; the platform's variables, the runtime's, the app's `ENV` and the
//! operator's config follow, each overriding the previous ones. It is passed through execve only.

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
use piku_files::TreeHandle;
use piku_layout::jail::{DATA, HOME, HOME_IN_DATA};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::{AppUsers, NetworkMode, SandboxMode};
use piku_nss::UserAccount;
use piku_procfile::command::argv_with_profile;
use piku_procfile::env::{self, EnvFile};
use piku_procfile::procfile::{ParseOptions, Procfile};
use piku_procfile::render::app_values::AppValues;
use piku_procfile::writable_paths;
use piku_release::manifest::{BuiltRelease, DEPLOY_KEY, TREE};
use piku_report::user_error::UserError;

use crate::config::{ConfigValues, store};
pub(crate) use crate::instance::app_isolation::AppIsolation;
pub(crate) use crate::instance::command_options::CommandOptions;
use crate::instance::network;
use crate::instance::service_process::{ServiceProcess, connect_jail};
use crate::instance::tree_access::TreeAccess;
use crate::instance::{interpreter_home, opt_outs, ready_socket};

/// Environment variables in order.
pub(crate) type Vars = IndexMap<String, String>;

/// Variable with the port of an instance.
const PORT: &str = "PORT";

/// `PATH` unless the runtime sets another.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An app and one of its releases.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseContext {
    pub(crate) app: AppName,
    pub(crate) dir: AppDir,
    pub(crate) release: BuiltRelease,
    root: PathBuf,
    /// Registry of the apps' subordinate user ids.
    uids: PathBuf,
    /// Directory of the app, if it is not built yet.
    source: Option<PathBuf>,
    pub(crate) service: Option<ServiceProcess>,
}

/// Identifies a process of the app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessRole<'a> {
    /// Instance name: `web.1`.
    pub(crate) ps: &'a str,
    /// Process type: `web`.
    pub(crate) kind: &'a str,
    pub(crate) port: Option<u16>,
}

impl ReleaseContext {
    /// Reads release `number` of an app.
    pub(crate) fn read(root: &PikuRoot, app: &AppName, number: u64) -> anyhow::Result<Self> {
        let dir = root.app(app);
        let release = BuiltRelease::read(&dir.release(number))?;
        let service = ServiceProcess::find(root, &dir)?;
        let source = service.as_ref().map(|service| service.folder.clone());
        let (uids, root) = (root.uid_ranges(), root.path().to_owned());
        Ok(Self { app: app.clone(), dir, release, root, uids, source, service })
    }

    /// Returns the settings of an app that is not built yet, with the config that its next release will have.
    pub(crate) fn of_source(root: &PikuRoot, app: &AppName, source: PathBuf) -> anyhow::Result<Self> {
        let procfile = source.join("Procfile");
        let processes = if procfile.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            let entries = Procfile::read(&procfile, ParseOptions::default())?.entries;
            entries.into_iter().map(|entry| (entry.name, entry.command)).collect()
        } else {
            IndexMap::new()
        };
        let release = BuiltRelease::without_build(app.clone(), processes);
        let (uids, dir, root) = (root.uid_ranges(), root.app(app), root.path().to_owned());
        Ok(Self { app: app.clone(), dir, release, root, uids, source: Some(source), service: None })
    }

    /// Returns the context of an app that runs on other machines: it has a web process, and nothing here.
    pub(crate) fn of_front(root: &PikuRoot, app: &AppName) -> Self {
        let web = "web".parse().map(|web: ProcessName| (web, String::new()));
        let release = BuiltRelease::without_build(app.clone(), web.into_iter().collect());
        let (uids, dir, root) = (root.uid_ranges(), root.app(app), root.path().to_owned());
        Self { app: app.clone(), dir, release, root, uids, source: None, service: None }
    }

    /// Returns whether its processes run in a jail.
    pub(crate) fn is_jailed(&self) -> bool {
        self.release.jailed
    }

    /// Returns the path of the built app tree.
    pub(crate) fn tree(&self) -> PathBuf {
        self.source.clone().unwrap_or_else(|| self.dir.release(self.release.number).join(TREE))
    }

    /// Returns the environment of one process.
    pub(crate) fn vars(&self, role: ProcessRole<'_>) -> anyhow::Result<Vars> {
        let mut vars = self.platform(role);
        vars.extend(self.release.env.clone());
        let (shipped, config) = self.set(&vars)?;
        // The instance has been given the port that they pin; other processes have none.
        let set =
            shipped.vars.iter().chain(&config.0).filter(|(name, _)| *name != PORT && *name != DEPLOY_KEY);
        vars.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        let of_service = self.service.iter().flat_map(|service| &service.vars);
        vars.extend(of_service.map(|(name, value)| ((*name).to_owned(), value.clone())));
        opt_outs::remove_overridden(&mut vars);
        Ok(vars)
    }

    /// Returns the value of `PORT` in the config or in `ENV`, unless it only repeats what it is given, as
    /// `PORT=${PORT:-5000}` does.
    pub(crate) fn port_setting(&self) -> anyhow::Result<Option<String>> {
        const GIVEN: u16 = 0;
        let mut known = self.platform(ProcessRole { ps: "web.1", kind: "web", port: Some(GIVEN) });
        known.extend(self.release.env.clone());
        let (shipped, config) = self.set(&known)?;
        let shipped = shipped.vars.get(PORT).filter(|value| **value != GIVEN.to_string());
        let value = config.0.get(PORT).or(shipped).filter(|value| !value.trim().is_empty());
        Ok(value.cloned())
    }

    /// Reads the app's `ENV` and the operator's config.
    fn set(&self, known: &Vars) -> anyhow::Result<(EnvFile, ConfigValues)> {
        let shipped = EnvFile::read(&self.tree().join(env::FILE), known, ParseOptions::default())?;
        let config = match store::of_release(&self.dir, self.release.number)? {
            Some(config) => config,
            // Releases of older versions have no copy of the config.
            None => ConfigValues::read(&self.dir.config())?,
        };
        Ok((shipped, config))
    }

    /// Returns the settings for programs other than the app's own, each with its origin.
    pub(crate) fn values(&self) -> anyhow::Result<AppValues> {
        let mut known = self.platform(ProcessRole { ps: "web.1", kind: "web", port: None });
        known.extend(self.release.env.clone());
        let (shipped, config) = self.set(&known)?;
        let mut values = AppValues::from_env(&shipped, env::FILE);
        for (name, value) in &config.0 {
            values.set(name, value, "configuration");
        }
        Ok(values)
    }

    /// Returns the value of a variable in the app's `ENV`.
    pub(crate) fn shipped(&self, name: &str) -> anyhow::Result<Option<String>> {
        let mut known = self.platform(ProcessRole { ps: "web.1", kind: "web", port: None });
        known.extend(self.release.env.clone());
        let (shipped, _) = self.set(&known)?;
        Ok(shipped.vars.get(name).filter(|value| !value.trim().is_empty()).cloned())
    }

    fn platform(&self, role: ProcessRole<'_>) -> Vars {
        let (home, data) = if self.release.jailed {
            (HOME.to_owned(), DATA.to_owned())
        } else {
            let data = self.dir.data();
            (data.join(HOME_IN_DATA).display().to_string(), data.display().to_string())
        };
        let user = UserAccount::find_by_uid(nix::unistd::geteuid()).ok().flatten();
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
        .chain(opt_outs::variables())
        .collect();
        if self.release.jailed {
            // All instances share HOME; sockets go to the private /tmp.
            vars.insert("XDG_RUNTIME_DIR".to_owned(), "/tmp".to_owned());
            vars.insert("npm_config_cache".to_owned(), "/tmp/.cache/npm".to_owned());
            // SIGUSR1 makes Node listen for a debugger on loopback, which all apps share. Node fails to
            // bind this documentation address (RFC 5737), prints a warning and goes on.
            vars.insert("NODE_OPTIONS".to_owned(), "--inspect-port=192.0.2.1:9229".to_owned());
        }
        if let Some(port) = role.port {
            vars.insert(PORT.to_owned(), port.to_string());
        }
        vars
    }

    /// Returns whether the app's data belongs to its own user range, now or after a change in progress.
    fn data_is_of_an_own_user(&self) -> anyhow::Result<bool> {
        Ok(self.uids.exists() && !is_ours(&self.data())?)
    }

    /// Fails if the host settings require a jail and the release was built without one.
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

    /// Returns the command that runs `argv` in the app's environment, isolated as `isolation` says. The
    /// jail writes its protections and its end to the file `report`.
    pub(crate) fn command(
        &self,
        isolation: &AppIsolation,
        vars: &Vars,
        argv: &[String],
        report: &Path,
        around: CommandOptions<'_>,
    ) -> anyhow::Result<Command> {
        let jail = self.jail(isolation, vars, report, around)?;
        self.command_in(jail.as_ref(), vars, argv)
    }

    /// Returns the jail of such a command; `None` if the release has none.
    pub(crate) fn jail(
        &self,
        isolation: &AppIsolation,
        vars: &Vars,
        report: &Path,
        around: CommandOptions<'_>,
    ) -> anyhow::Result<Option<JailSpec>> {
        self.check_sandbox(isolation.sandbox)?;
        let own_network = self.network_mode(vars, isolation.network.of(&self.app))?;
        if own_network == NetworkMode::Own {
            network::check(self.release.jailed, true)?;
        }
        if !self.release.jailed {
            return Ok(None);
        }
        let jail = JailSpec::profile(BuiltinProfile::Run).app(&self.tree()).data(&self.data()).report(report);
        let mut jail = self.mount_release(jail, vars, around.gated)?.require(&isolation.protections);
        if isolation.users == AppUsers::Own {
            jail = jail.own_user(self.app.as_str(), &self.uids);
        } else if self.data_is_of_an_own_user()? {
            jail = jail.no_own_user(self.app.as_str(), &self.uids);
        }
        jail = around.add_to(jail);
        jail = match own_network {
            NetworkMode::Own => connect_jail(jail.own_network(), &self.root, &self.app)?,
            NetworkMode::Shared => around.listen.iter().fold(jail.listen(0), |jail, port| jail.listen(*port)),
        };
        jail = around.port.iter().fold(jail, |jail, port| jail.listen(*port));
        for grant in around.grants {
            jail = grant.add_to(jail);
            let groups = grant.lent_groups(isolation.users);
            jail = groups.fold(jail, |jail, group| jail.group(group.gid.as_raw()));
        }
        let notify = Path::new(ready_socket::FOLDER_INSIDE);
        jail = around.notify.iter().fold(jail.place(notify), |jail, folder| jail.ro_at_place(folder, notify));
        Ok(Some(jail.hostname(self.app.as_str())))
    }

    /// Adds the changes that the process may make in its tree, and what the release needs beside that.
    fn mount_release(&self, mut jail: JailSpec, vars: &Vars, gated: bool) -> anyhow::Result<JailSpec> {
        let access = TreeAccess::of(vars)?;
        if !access.is_read_only || !access.kept.is_empty() {
            jail =
                jail.scratch(&self.dir.scratch()).keep(&access.kept).tell_discarded(writable_paths::VARIABLE);
            if gated {
                // Its supervisor starts the next process meanwhile.
                jail = jail.remove_in_background();
            }
        }
        if access.is_read_only && !access.kept.is_empty() {
            jail = jail.keep_only();
        }
        for layer in &self.release.layers {
            jail = jail.ro(&self.dir.layers().join(&layer.key).join("content"), &layer.mount);
        }
        for folder in &self.release.host {
            interpreter_home::check(folder, &self.root)?;
            jail = jail.ro(folder, folder);
        }
        Ok(jail)
    }

    /// Returns the command that runs `argv` in this jail of [`Self::jail`], or without one.
    pub(crate) fn command_in(
        &self,
        jail: Option<&JailSpec>,
        vars: &Vars,
        argv: &[String],
    ) -> anyhow::Result<Command> {
        let with_profile = self.release.profile.then(|| argv_with_profile(argv));
        let argv = with_profile.as_deref().unwrap_or(argv);
        if let Some(jail) = jail {
            return Ok(jail.command(vars, argv));
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
        make_home(&self.dir.data())?;
        let (program, rest) = argv.split_first().context("no command")?;
        let mut command = Command::new(program);
        command.args(rest).env_clear().envs(vars).current_dir(self.tree());
        Ok(command)
    }
}

/// Makes the home directory of an app without a jail.
fn make_home(data: &Path) -> anyhow::Result<()> {
    let data = TreeHandle::open(data)?;
    if data.find(HOME_IN_DATA)?.is_none() {
        data.create_dir(HOME_IN_DATA)?;
    }
    Ok(())
}

/// Returns whether the app's data belongs to its own user range.
pub(crate) fn is_of_own_user(root: &PikuRoot, data: &Path) -> anyhow::Result<bool> {
    Ok(root.uid_ranges().exists() && !is_ours(data)?)
}

fn is_ours(data: &Path) -> anyhow::Result<bool> {
    let about = fs::metadata(data).with_context(|| format!("cannot look at '{}'", data.display()))?;
    Ok(about.uid() == geteuid().as_raw() && about.gid() == getegid().as_raw())
}
