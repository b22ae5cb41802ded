//! piku's own nginx: each app's file is rendered here, tested on a copy of the whole, put in by rename, and nginx is told by
//! a signal. One lock for all apps; the last good file stays.
//!
//! A file that is in is good, and a mark says when nginx may not have been told of one: killed at any instant, whoever comes
//! next finishes it.

mod acme;
mod capacity;
mod certificate;
mod config_test;
mod keeper;
mod master;
mod program;
mod site;
mod sites_folder;

use std::path::PathBuf;

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostSettings as Host, NginxSettings as Settings};
use piku_procfile::render::nginx::VirtualHost;
use piku_report::user_error::UserError;

pub(crate) use acme::renew;
pub(crate) use config_test::check;
pub(crate) use keeper::{NAME, run};
pub(crate) use master::OldWorker;

use certificate::{AppCertificates, CertificatePair};
use master::NginxMaster;
use program::NginxProgram;
use sites_folder::{SiteFacts, SitesFolder};

use crate::instance::environment::ReleaseContext;
use crate::lock::FileLock;
use crate::process;

/// The nginx of one root.
#[derive(Debug, Clone)]
pub(crate) struct WebServer {
    root: PikuRoot,
    folder: SitesFolder,
    settings: Settings,
}

/// How an app is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SiteReach {
    /// It asks for no host name.
    Unnamed,
    /// It does, and nobody serves it under one; why, and what to do.
    Unserved(&'static str, &'static str),
    /// At these addresses.
    Served(Vec<String>),
}

/// What has been done.
#[derive(Debug)]
pub(crate) struct SiteOutcome {
    /// How the app is reached now.
    pub(crate) reach: SiteReach,
    /// What its author should know.
    pub(crate) warnings: Vec<String>,
    /// Workers of nginx that may still send requests to where they went before.
    pub(crate) old: Vec<OldWorker>,
}

/// An app's file that has been found good, before it goes in. Nobody else changes any meanwhile.
pub(crate) struct PreparedSite<'a> {
    web: &'a WebServer,
    app: AppName,
    change: SiteChange,
    reach: SiteReach,
    warnings: Vec<String>,
    /// Held until it is in.
    lock: Option<FileLock>,
}

enum SiteChange {
    /// There is no nginx to be told.
    Nothing,
    /// The app's file goes, if there is one.
    Remove,
    /// It is replaced.
    Replace(Box<SiteFiles>),
}

/// An app's files.
struct SiteFiles {
    text: String,
    about: SiteFacts,
    passwords: Option<(PathBuf, String)>,
    certificate: Option<CertificatePair>,
}

impl WebServer {
    /// As `host.yaml` has it now.
    pub(crate) fn of(root: &PikuRoot) -> anyhow::Result<Self> {
        let settings = Host::read(&root.settings())?.nginx;
        Ok(Self { root: root.clone(), folder: SitesFolder::of(root), settings })
    }

    /// For how many seconds requests that are under way may go on.
    pub(crate) fn drain(&self) -> u32 {
        self.settings.drain
    }

    /// Whether the app's settings are good, with an instance that is yet to come; nothing is changed.
    pub(crate) fn check(&self, world: &ReleaseContext) -> anyhow::Result<()> {
        // It listens on no real port: whatever is sent there meets nobody.
        self.ready(world, &[1]).map(drop)
    }

    /// Renders and tests the app's file with its instances at these ports.
    pub(crate) fn ready(&self, world: &ReleaseContext, ports: &[u16]) -> anyhow::Result<PreparedSite<'_>> {
        let mut ready = PreparedSite {
            web: self,
            app: world.app.clone(),
            change: SiteChange::Nothing,
            reach: SiteReach::Unnamed,
            warnings: Vec::new(),
            lock: None,
        };
        let values = world.values()?;
        let wanted = VirtualHost::is_wanted(&values);
        if !self.settings.enabled || !wanted {
            if wanted {
                ready.reach = SiteReach::Unserved(
                    "nginx is off on this machine",
                    "set 'nginx: {enabled: true}' in host.yaml",
                );
            }
            // What an earlier release has put in.
            if self.folder.has_app(&world.app) {
                ready.lock = Some(self.folder.lock()?);
                ready.change = SiteChange::Remove;
            }
            return Ok(ready);
        }
        let Some(nginx) = NginxProgram::find() else {
            ready.reach = SiteReach::Unserved("nginx is not installed", "sudo apt-get install nginx-light");
            return Ok(ready);
        };
        self.folder.make()?;
        ready.lock = Some(self.folder.lock()?);
        let files = self.files(&nginx, world, &values, ports, &mut ready)?;
        // What is in has been tested.
        let is_in = self.folder.app_text(&world.app).is_some_and(|text| text == files.text);
        if !is_in {
            if let Some((path, content)) = &files.passwords {
                sites_folder::write(path, content.as_bytes())?;
            }
            let tested = self.test(&nginx, &world.app, &files.text);
            if tested.is_err() {
                self.drop_passwords(&world.app);
            }
            tested?;
        }
        ready.change = SiteChange::Replace(Box::new(files));
        Ok(ready)
    }

    fn files(
        &self,
        nginx: &NginxProgram,
        world: &ReleaseContext,
        values: &piku_procfile::render::values::AppValues,
        ports: &[u16],
        ready: &mut PreparedSite<'_>,
    ) -> anyhow::Result<SiteFiles> {
        let names: Vec<String> =
            VirtualHost::names_of(values).iter().map(|name| name.as_str().to_owned()).collect();
        // Bad names are told by what reads them all.
        let certificate = if self.settings.https.is_empty() || names.is_empty() {
            None
        } else {
            Some(AppCertificates::of(&self.root, &world.app).for_names(
                world.app.as_str(),
                &names,
                Timestamp::now(),
            )?)
        };
        let site = self.site(nginx, world, values, ports, certificate.as_ref())?;
        self.must_be_free(&world.app, &names)?;
        ready.warnings = site.warnings.iter().map(ToString::to_string).collect();
        if let Some(pair) = certificate.as_ref().filter(|pair| !pair.about.self_signed) {
            let lacking = names.iter().filter(|name| !pair.about.names.contains(*name));
            ready.warnings.extend(lacking.map(|name| {
                format!(
                    "the certificate is not for {name} yet: 'piku-run certs renew {}' gets one that is",
                    world.app
                )
            }));
        }
        ready.reach = match NginxMaster::find(&self.folder) {
            Some(_) => SiteReach::Served(self.urls(&site)),
            None => SiteReach::Unserved(
                "piku's nginx does not run",
                "sudo systemctl start piku-nginx, or: piku-run nginx",
            ),
        };
        let passwords =
            site.password_file().map(|content| (self.folder.passwords(&world.app, &content), content));
        let about = SiteFacts {
            names,
            boot: (!ports.is_empty()).then(process::boot_id),
            certificate: certificate.as_ref().map(|pair| pair.dir.clone()),
        };
        Ok(SiteFiles { text: site.server_file(), about, passwords, certificate })
    }

    /// No other app has one of these names.
    fn must_be_free(&self, app: &AppName, names: &[String]) -> anyhow::Result<()> {
        for (other, _) in self.folder.apps()? {
            let Some(about) = self.folder.about(&other).filter(|_| other != *app) else { continue };
            if let Some(name) = names.iter().find(|name| about.names.contains(name)) {
                let what = format!("NGINX_SERVER_NAME: '{name}' is served for the app '{other}' already");
                return Err(UserError::new(what)
                    .hint(format!("take it from {other} first, or leave it out here"))
                    .into());
            }
        }
        Ok(())
    }

    /// Takes the app out, if it is in.
    pub(crate) fn take_out(&self, app: &AppName) -> anyhow::Result<SiteOutcome> {
        let change = if self.folder.has_app(app) { SiteChange::Remove } else { SiteChange::Nothing };
        let lock = if matches!(change, SiteChange::Remove) { Some(self.folder.lock()?) } else { None };
        let ready = PreparedSite {
            web: self,
            app: app.clone(),
            change,
            reach: SiteReach::Unnamed,
            warnings: Vec::new(),
            lock,
        };
        ready.put()
    }

    /// Removes all that is kept of an app that is no more.
    pub(crate) fn forget(&self, app: &AppName) -> anyhow::Result<()> {
        self.take_out(app)?;
        crate::releases::current::remove(&self.folder.cache().join(app.as_str()))?;
        AppCertificates::of(&self.root, app).remove()
    }

    fn drop_passwords(&self, app: &AppName) {
        let text = self.folder.app_text(app).unwrap_or_default();
        // Those that the file in use names stay.
        let used = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("auth_basic_user_file ")?.strip_suffix(';'));
        let used = used.map(|path| PathBuf::from(path.trim_matches('"')));
        // What stays is removed the next time.
        let _ = self.folder.tidy_passwords(app, used.as_deref());
    }
}

impl PreparedSite<'_> {
    /// Puts it in and tells nginx. When nginx does not take it up, what was in before is in again.
    pub(crate) fn put(self) -> anyhow::Result<SiteOutcome> {
        let (folder, app) = (&self.web.folder, &self.app);
        if self.lock.is_none() {
            return Ok(SiteOutcome { reach: self.reach, warnings: self.warnings, old: Vec::new() });
        }
        let path = folder.app(app);
        let before = folder.app_text(app);
        let about = folder.about(app);
        let changes = match &self.change {
            SiteChange::Nothing => false,
            SiteChange::Remove => before.is_some(),
            SiteChange::Replace(files) => before.as_ref() != Some(&files.text),
        };
        if changes {
            folder.set_untold(true)?;
        }
        match &self.change {
            SiteChange::Nothing => {}
            SiteChange::Remove => folder.remove(app)?,
            SiteChange::Replace(files) => {
                folder.write_about(app, &files.about)?;
                if changes {
                    sites_folder::write(&path, files.text.as_bytes())?;
                }
            }
        }
        let master = NginxMaster::find(folder);
        let old = match master {
            Some(master) if folder.is_untold() => match master.reload(folder) {
                Ok(old) => old,
                Err(err) => {
                    if let (Some(text), Some(about)) = (before, about) {
                        folder.write_about(app, &about)?;
                        sites_folder::write(&path, text.as_bytes())?;
                    } else {
                        folder.remove(app)?;
                    }
                    return Err(err);
                }
            },
            Some(master) => master.leaving(),
            None => Vec::new(),
        };
        folder.set_untold(false)?;
        if let SiteChange::Replace(files) = &self.change {
            folder.tidy_passwords(app, files.passwords.as_ref().map(|(path, _)| path.as_path()))?;
            if let Some(pair) = &files.certificate {
                AppCertificates::of(&self.web.root, app).tidy(&pair.dir)?;
            }
        }
        Ok(SiteOutcome { reach: self.reach, warnings: self.warnings, old })
    }
}
