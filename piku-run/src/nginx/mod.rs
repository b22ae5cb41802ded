//! piku's own nginx. The file of each app is rendered here, tested on a copy of the whole configuration and
//! renamed into place; a signal makes nginx reload. One lock covers all apps, and the last good file stays.
//!
//! An installed file has passed the test. A marker file exists while a reload may be outstanding, so after a
//! kill at any instant the next change finishes the work. Changes of several apps at the same time share a
//! reload: while nginx loads one, the others are tested and installed, and the next reload loads all of them.

mod capacity;
mod certificates;
mod config_test;
pub(crate) mod front;
mod local_names;
mod log_rotation;
mod main_conf;
mod master;
mod nginx_dir;
mod old_workers;
mod program;
mod reachability;
mod reload;
mod service;
mod site;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostDomain, HostSettings, NginxSettings, StatusSettings};
use piku_procfile::render::app_values::AppValues;
use piku_procfile::render::nginx::VirtualHost;
use piku_report::user_error::UserError;

pub(crate) use certificates::acme::renew_certificates;
pub(crate) use certificates::app_certificates::openssl_command;
pub(crate) use certificates::imported_certificate::import_certificate;
pub(crate) use config_test::check_config;
pub(crate) use local_names::is_announcer_installed;
pub(crate) use master::OldWorker;
pub(crate) use reachability::SiteReachability;
pub(crate) use service::{NAME, log as log_service, run};
pub(crate) use site::status::{CertificateState, CertificateStatus, SiteStatus, certificate_state};

use certificates::app_certificates::AppCertificates;
use master::NginxMaster;
use nginx_dir::{NginxDir, TestSubject};
use program::NginxProgram;
use site::files::SiteFiles;
use site::names::is_web_app;
use site::upstream_addresses;

use crate::instance::environment::ReleaseContext;
use crate::log::RotationLimits;
use crate::nginx::front::FrontSite;
use crate::releases::current;

/// The nginx that serves the apps of one piku root.
#[derive(Debug, Clone)]
pub(crate) struct WebServer {
    root: PikuRoot,
    dir: NginxDir,
    settings: NginxSettings,
    domain: HostDomain,
    status: StatusSettings,
    log_limits: RotationLimits,
}

/// The result of a change to an app's site.
#[derive(Debug)]
pub(crate) struct AppliedSite {
    pub(crate) reach: SiteReachability,
    /// Warnings for the app's author.
    pub(crate) warnings: Vec<String>,
    /// nginx workers that may still send requests to the previous upstreams.
    pub(crate) old_workers: Vec<OldWorker>,
}

/// A tested change to an app's site that is not installed yet. It holds the lock, so no other site changes
/// meanwhile.
pub(crate) struct PreparedSite<'a> {
    web: &'a WebServer,
    app: AppName,
    change: SiteChange,
    reach: SiteReachability,
    /// The host has assigned the names.
    is_assigned: bool,
    warnings: Vec<String>,
    lock: Option<FileLock>,
}

/// Returns the pids of nginx's worker processes.
pub(crate) fn worker_pids(root: &PikuRoot) -> Vec<i32> {
    NginxMaster::find(&NginxDir::new(root)).map(NginxMaster::workers).unwrap_or_default()
}

/// Returns the upstreams in the installed file of an app, without repetitions and in their order; none if nginx
/// does not serve it, or its site is closed.
pub(crate) fn installed_upstreams(root: &PikuRoot, app: &AppName) -> BTreeSet<SocketAddr> {
    let text = NginxDir::new(root).read_app_conf(app).unwrap_or_default();
    upstream_addresses(&text).collect()
}

/// Variable with the host names of an app.
const SERVER_NAME: &str = "NGINX_SERVER_NAME";

enum SiteChange {
    /// nginx does not serve the app, before or after.
    Nothing,
    /// The app's file is removed if it exists.
    Remove,
    /// The app's file is written or replaced.
    Replace(Box<SiteFiles>),
}

impl WebServer {
    /// Reads the settings from `host.yaml`.
    pub(crate) fn load(root: &PikuRoot) -> anyhow::Result<Self> {
        let settings = HostSettings::read(&root.settings())?;
        let dir = NginxDir::new(root);
        let (domain, status, log_limits) = (settings.domain, settings.status, settings.logs.into());
        Ok(Self { root: root.clone(), dir, settings: settings.nginx, domain, status, log_limits })
    }

    /// Returns the seconds that requests under way get to finish.
    pub(crate) fn drain_seconds(&self) -> u32 {
        self.settings.drain
    }

    /// Checks the release's nginx settings without changing anything.
    pub(crate) fn check_site(&self, world: &ReleaseContext) -> anyhow::Result<()> {
        // No instance runs yet; the port is a placeholder that never gets a request.
        self.prepare_site(world, Some(&[1])).map(drop)
    }

    /// Renders and tests the app's file with instances at these ports; `None` for an app that is stopped.
    pub(crate) fn prepare_site(
        &self,
        world: &ReleaseContext,
        ports: Option<&[u16]>,
    ) -> anyhow::Result<PreparedSite<'_>> {
        match FrontSite::find(&self.root, &world.app)? {
            // Of an app with a front, no release here gets requests.
            Some(front) => self.prepare_front(&front),
            None => self.prepare_values(world, world.values()?, ports, None),
        }
    }

    /// Renders and tests the file of a front.
    pub(crate) fn prepare_front(&self, front: &FrontSite) -> anyhow::Result<PreparedSite<'_>> {
        self.prepare_values(&front.context(), front.values()?, Some(&[]), Some(front))
    }

    fn prepare_values(
        &self,
        world: &ReleaseContext,
        mut values: AppValues,
        ports: Option<&[u16]>,
        front: Option<&FrontSite>,
    ) -> anyhow::Result<PreparedSite<'_>> {
        let mut prepared = PreparedSite {
            web: self,
            app: world.app.clone(),
            change: SiteChange::Nothing,
            reach: SiteReachability::Unnamed,
            is_assigned: false,
            warnings: Vec::new(),
            lock: None,
        };
        let is_named = VirtualHost::is_configured(&values);
        if !is_named {
            // A misspelt name is why it has none.
            prepared.warnings =
                VirtualHost::unknown_settings(&values).iter().map(ToString::to_string).collect();
        }
        // Names of the host's choice are no reason to prepare what nobody serves.
        let may_assign = || is_web_app(world, &values) && NginxMaster::find(&self.dir).is_some();
        if !self.settings.enabled || !(is_named || may_assign()) {
            if is_named {
                prepared.reach = SiteReachability::Unserved(
                    "nginx is off on this machine",
                    "set 'nginx: {enabled: true}' in host.yaml",
                );
            }
            // An earlier release may have been served.
            if self.dir.has_app_conf(&world.app) {
                prepared.lock = Some(self.dir.lock()?);
                prepared.change = SiteChange::Remove;
            }
            return Ok(prepared);
        }
        let Some(nginx) = NginxProgram::find(&self.dir) else {
            if is_named {
                prepared.reach =
                    SiteReachability::Unserved("nginx is not installed", "sudo apt-get install nginx-light");
            }
            return Ok(prepared);
        };
        self.dir.create()?;
        prepared.lock = Some(self.dir.lock()?);
        if !is_named {
            let names = self.assigned_names(&world.app)?;
            if names.is_empty() {
                prepared.change = SiteChange::Remove;
                if self.domain != HostDomain::Off {
                    prepared.reach = SiteReachability::Nameless;
                }
                return Ok(prepared);
            }
            values.set(SERVER_NAME, &names.join(" "), "host.yaml");
            prepared.is_assigned = true;
        }
        let files = self.render_files(&nginx, world, &values, (ports, front), &mut prepared)?;
        // The installed file has been tested already.
        if self.dir.read_app_conf(&world.app).is_none_or(|text| text != files.text) {
            if let Some((path, content)) = &files.passwords {
                nginx_dir::write_private(path, content.as_bytes())?;
            }
            let tested = self.test_app(&nginx, &world.app, TestSubject::Site, &files.text);
            if tested.is_err() {
                self.remove_unused_passwords(&world.app);
            }
            tested?;
        }
        prepared.change = SiteChange::Replace(Box::new(files));
        Ok(prepared)
    }

    /// Removes the app's site if nginx serves it.
    pub(crate) fn remove_site(&self, app: &AppName) -> anyhow::Result<AppliedSite> {
        let (change, lock) = if self.dir.has_app_conf(app) {
            (SiteChange::Remove, Some(self.dir.lock()?))
        } else {
            (SiteChange::Nothing, None)
        };
        let (reach, warnings) = (SiteReachability::Unnamed, Vec::new());
        let is_assigned = false;
        PreparedSite { web: self, app: app.clone(), change, reach, is_assigned, warnings, lock }.apply()
    }

    /// Removes the site, the cache and the certificates of an app that is being destroyed.
    pub(crate) fn purge_app(&self, app: &AppName) -> anyhow::Result<()> {
        self.remove_site(app)?;
        current::remove_dir(&self.dir.cache().join(app.as_str()))?;
        self.dir.remove_records(|name| name == app.as_str())?;
        AppCertificates::for_app(&self.root, app).remove()
    }

    /// Gives the certificates and logs of an app to its new name, and removes the site of the old one. Can be
    /// repeated if it was interrupted.
    pub(crate) fn rename_app(&self, from: &AppName, to: &AppName) -> anyhow::Result<()> {
        AppCertificates::for_app(&self.root, from).rename(&AppCertificates::for_app(&self.root, to))?;
        self.dir.rename_logs(from, to)?;
        self.remove_site(from)?;
        current::remove_dir(&self.dir.cache().join(from.as_str()))?;
        self.dir.remove_records(|name| name == from.as_str())
    }

    /// Reloads nginx after a change of an app's file, which has passed a test of its own. The caller holds the
    /// lock of reloads, and perhaps that of the files.
    fn reload_nginx(&self, master: NginxMaster, files: Option<&FileLock>) -> anyhow::Result<Vec<OldWorker>> {
        master.reload(&self.dir, || {
            let _files = files.is_none().then(|| self.dir.lock()).transpose()?;
            let Err(reason) = self.test_installed()? else { return Ok(()) };
            let what = "nginx rejects the app's settings together with those of the other apps";
            Err(UserError::new(format!("{what}: {reason}"))
                .hint("push or restart the app that it names")
                .into())
        })
    }

    /// Removes the app's password files that its installed file does not name.
    fn remove_unused_passwords(&self, app: &AppName) {
        let text = self.dir.read_app_conf(app).unwrap_or_default();
        let used = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("auth_basic_user_file ")?.strip_suffix(';'));
        let used = used.map(|path| PathBuf::from(path.trim_matches('"')));
        // The next change tries again to remove the others.
        let _ = self.dir.remove_passwords_except(app, used.as_deref());
    }
}
