//! Links from host names to the pairs of their apps, by which nginx finds a certificate at a handshake. A pair
//! that nginx reads with its configuration costs each reload a millisecond, so that a push took longer with each
//! app of the host.

#![expect(clippy::disallowed_methods, reason = "links that only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::paths::PikuRoot;
use piku_procfile::render::nginx::certificate_link;

use super::app_certificates::AppCertificates;
use crate::releases::current;

/// Name of a link that has not its own name yet. No host name begins with a dot.
const ASIDE: &str = ".new";

/// Directory with the links.
#[derive(Debug, Clone)]
pub(in crate::nginx) struct CertificateLinks(PathBuf);

impl CertificateLinks {
    pub(in crate::nginx) fn new(root: &PikuRoot) -> Self {
        Self(root.acme().join("names"))
    }

    pub(in crate::nginx) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes these host names lead to the pair in use, also to later ones. The caller holds the lock of nginx's
    /// files, and has checked that the names are free.
    pub(in crate::nginx) fn add(&self, names: &[String], pairs: &AppCertificates) -> anyhow::Result<()> {
        names.iter().try_for_each(|name| self.link(certificate_link(name), pairs))
    }

    /// Makes the link of this name lead to the pair in use.
    pub(in crate::nginx) fn link(&self, name: &str, pairs: &AppCertificates) -> anyhow::Result<()> {
        let (path, target) = (self.0.join(name), self.target(pairs)?);
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            return Ok(());
        }
        current::create_dir(&self.0)?;
        let aside = self.0.join(ASIDE);
        current::remove_dir(&aside)?;
        symlink(target, &aside)
            .and_then(|()| fs::rename(&aside, &path))
            .and_then(|()| atomic_file::sync_parent(&path))
            .with_context(|| format!("cannot create '{}'", path.display()))
    }

    /// Removes the links of these host names that lead to a pair of the app.
    pub(in crate::nginx) fn remove<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        pairs: &AppCertificates,
    ) -> anyhow::Result<()> {
        let target = self.target(pairs)?;
        for name in names {
            let path = self.0.join(certificate_link(name));
            if !fs::read_link(&path).is_ok_and(|found| found == target) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(err) if err.kind() != ErrorKind::NotFound => {
                    return Err(err).with_context(|| format!("cannot remove '{}'", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the relative path of the pair in use.
    fn target(&self, pairs: &AppCertificates) -> anyhow::Result<PathBuf> {
        let top = self.0.parent().context("the links are in a directory")?;
        let current = pairs.current_link();
        let below = current.strip_prefix(top).context("the pairs are beside the links")?;
        Ok(Path::new("..").join(below))
    }
}
