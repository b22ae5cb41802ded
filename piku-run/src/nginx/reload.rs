//! Installs prepared sites and has nginx load them. Several apps share a reload if they change at the same time.

use std::collections::BTreeSet;

use piku_files::FileLock;

use super::certificates::app_certificates::AppCertificates;
use super::certificates::certificate_links::CertificateLinks;
use super::master::NginxMaster;
use super::nginx_dir::SiteMetadata;
use super::{AppliedSite, OldWorker, PreparedSite, SiteChange, nginx_dir, site};
use crate::ports::senders;

/// An app's file before a change, to be restored if nginx does not load the new one.
struct PreviousSite {
    text: Option<String>,
    metadata: Option<SiteMetadata>,
}

impl PreparedSite<'_> {
    /// Installs the site, and returns when nginx has loaded it. If the reload fails, the previous file is
    /// restored.
    pub(crate) fn apply(mut self) -> anyhow::Result<AppliedSite> {
        let (dir, app) = (&self.web.dir, &self.app);
        let Some(mut files_lock) = self.lock.take() else {
            return Ok(AppliedSite { reach: self.reach, warnings: self.warnings, old_workers: Vec::new() });
        };
        let previous = PreviousSite { text: dir.read_app_conf(app), metadata: dir.read_metadata(app) };
        let left_names = self.left_names(previous.metadata.as_ref());
        let changes = match &self.change {
            SiteChange::Nothing => false,
            SiteChange::Remove => previous.text.is_some(),
            SiteChange::Replace(files) => previous.text.as_ref() != Some(&files.text),
        };
        let mut reload_lock = None;
        if changes && matches!(self.change, SiteChange::Remove) {
            // nginx lists the files before it opens them: none may vanish meanwhile.
            drop(files_lock);
            reload_lock = Some(dir.lock_reload()?);
            files_lock = dir.lock()?;
        }
        let master = NginxMaster::find(dir);
        let mut left = BTreeSet::new();
        if changes {
            dir.request_reload()?;
            left = self.left_ports(previous.text.as_deref().unwrap_or_default());
            self.record_senders(&left, &master.map(NginxMaster::workers).unwrap_or_default())?;
        }
        match &self.change {
            SiteChange::Nothing => {}
            SiteChange::Remove => dir.remove_app(app)?,
            SiteChange::Replace(files) => {
                dir.write_metadata(app, &files.metadata)?;
                if changes {
                    dir.write_shared_settings(files.build)?;
                    nginx_dir::write_private(&dir.app_conf(app), files.text.as_bytes())?;
                }
            }
        }
        let old_workers = if dir.pending_change().is_some() {
            // Meanwhile, other apps test and install their changes.
            drop(files_lock);
            let (loaded, relocked) = self.load(&left, previous, reload_lock)?;
            files_lock = relocked;
            loaded
        } else {
            master.map(NginxMaster::leaving_workers).unwrap_or_default()
        };
        self.remove_left_links(&left_names)?;
        if let SiteChange::Replace(files) = &self.change {
            if files.metadata.is_default() {
                self.web.remove_other_claims(app)?;
            }
            self.web.remove_unused_passwords(app);
            if let Some(pair) = &files.certificate {
                AppCertificates::for_app(&self.web.root, app).remove_unused(&pair.dir)?;
            }
        }
        drop(files_lock);
        Ok(AppliedSite { reach: self.reach, warnings: self.warnings, old_workers })
    }

    /// Waits until nginx has loaded the installed site, by an own reload or by one for another app that began
    /// later. Returns the workers that may have an earlier one, and the lock of the files.
    fn load(
        &self,
        left: &BTreeSet<u16>,
        previous: PreviousSite,
        reload_lock: Option<FileLock>,
    ) -> anyhow::Result<(Vec<OldWorker>, FileLock)> {
        let dir = &self.web.dir;
        let _reload_lock = reload_lock.map_or_else(|| dir.lock_reload(), Ok)?;
        // With the lock of the files: who marked the last change has written it, too.
        let files_lock = dir.lock()?;
        let change = dir.pending_change();
        drop(files_lock);
        let (master, mut old) = (NginxMaster::find(dir), Vec::new());
        // Workers may have started since the file was written.
        match master {
            Some(master) if change.is_some() => {
                self.record_senders(left, &master.workers())?;
                match self.web.reload_nginx(master, None) {
                    Ok(workers) => old = workers,
                    Err(err) => {
                        self.restore(previous)?;
                        return Err(err);
                    }
                }
            }
            Some(master) => {
                self.record_senders(left, &master.leaving_pids())?;
                old = master.leaving_workers();
            }
            None => {}
        }
        let files_lock = dir.lock()?;
        if let Some(change) = &change {
            dir.finish_reload(change)?;
        }
        Ok((old, files_lock))
    }

    /// Restores the file from before this change, unless another change has replaced it.
    fn restore(&self, previous: PreviousSite) -> anyhow::Result<()> {
        let (dir, app) = (&self.web.dir, &self.app);
        let _files_lock = dir.lock()?;
        let own = match &self.change {
            SiteChange::Replace(files) => Some(&files.text),
            SiteChange::Nothing | SiteChange::Remove => None,
        };
        if dir.read_app_conf(app).as_ref() != own {
            return Ok(());
        }
        match previous.metadata {
            Some(metadata) => dir.write_metadata(app, &metadata)?,
            None => dir.remove_metadata(app)?,
        }
        match previous.text {
            Some(text) => nginx_dir::write_private(&dir.app_conf(app), text.as_bytes()),
            None => dir.remove_app(app),
        }
    }

    fn record_senders(&self, ports: &BTreeSet<u16>, workers: &[i32]) -> anyhow::Result<()> {
        ports.iter().try_for_each(|port| senders::record(&self.web.root, *port, workers))
    }

    /// Returns the host names of the previous file that the new one lacks.
    fn left_names(&self, previous: Option<&SiteMetadata>) -> Vec<String> {
        let names: &[String] = match &self.change {
            SiteChange::Nothing => return Vec::new(),
            SiteChange::Remove => &[],
            SiteChange::Replace(files) => &files.metadata.names,
        };
        let before = previous.into_iter().flat_map(|metadata| &metadata.names);
        before.filter(|name| !names.contains(name)).cloned().collect()
    }

    /// Removes the links of names that nginx does not serve any more.
    fn remove_left_links(&self, names: &[String]) -> anyhow::Result<()> {
        let root = &self.web.root;
        CertificateLinks::new(root).remove(names, &AppCertificates::for_app(root, &self.app))
    }

    /// Returns the ports of the previous file that the new one lacks.
    fn left_ports(&self, before: &str) -> BTreeSet<u16> {
        let after = match &self.change {
            SiteChange::Replace(files) => site::upstream_ports(&files.text).collect(),
            SiteChange::Nothing | SiteChange::Remove => BTreeSet::new(),
        };
        site::upstream_ports(before).filter(|port| !after.contains(port)).collect()
    }
}
