//! The rendered files of an app's site, and the names that no other app may have.

use std::path::PathBuf;

use jiff::Timestamp;
use piku_layout::settings::HostDomain;
use piku_procfile::render::app_values::AppValues;
use piku_procfile::render::nginx::{DEFAULT_NAME, SiteCertificate, VirtualHost};

use crate::instance::environment::ReleaseContext;
use crate::nginx::certificates::acme::is_public;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificatePair};
use crate::nginx::certificates::certificate_links::CertificateLinks;
use crate::nginx::certificates::operator_certificate::OperatorCertificate;
use crate::nginx::front::FrontSite;
use crate::nginx::master::NginxMaster;
use crate::nginx::nginx_dir::SiteMetadata;
use crate::nginx::program::{NginxBuild, NginxProgram};
use crate::nginx::site::tls_sockets;
use crate::nginx::{PreparedSite, SiteReachability, WebServer};

/// The rendered files of an app's site.
pub(in crate::nginx) struct SiteFiles {
    /// The nginx for which they are.
    pub(in crate::nginx) build: NginxBuild,
    pub(in crate::nginx) text: String,
    pub(in crate::nginx) metadata: SiteMetadata,
    pub(in crate::nginx) passwords: Option<(PathBuf, String)>,
    pub(in crate::nginx) certificate: Option<CertificatePair>,
}

impl WebServer {
    /// Renders the files, after making a certificate where one is needed, and notes warnings and the address.
    pub(in crate::nginx) fn render_files(
        &self,
        nginx: &NginxProgram,
        world: &ReleaseContext,
        values: &AppValues,
        (ports, front): (Option<&[u16]>, Option<&FrontSite>),
        prepared: &mut PreparedSite<'_>,
    ) -> anyhow::Result<SiteFiles> {
        let names: Vec<String> =
            VirtualHost::valid_names(values).iter().map(|name| name.as_str().to_owned()).collect();
        // No certificate is for all names.
        let mut certified: Vec<String> = names.iter().filter(|name| *name != DEFAULT_NAME).cloned().collect();
        if certified.is_empty() {
            certified.push(world.app.to_string());
        }
        let mut certificate_error = None;
        // Bad names are reported by `build_site`, which reads all of them.
        // Nobody trusts a certificate for a private name that the host has assigned.
        let is_private = prepared.is_assigned && !self.is_domain_public();
        let certificate = if self.settings.https.is_empty() || names.is_empty() || is_private {
            None
        } else {
            let pairs = AppCertificates::for_app(&self.root, &world.app);
            match self.copy_operator_certificate(&pairs, &certified.iter().cloned().collect()) {
                Ok(OperatorCertificate::New(pair)) => pairs.set_current(&pair)?,
                Ok(OperatorCertificate::InUse | OperatorCertificate::Missing) => {}
                Err(err) => certificate_error = Some(format!("{err:#}")),
            }
            Some(pairs.ensure_for_names(world.app.as_str(), &certified, Timestamp::now())?)
        };
        let source =
            certificate.as_ref().map(|pair| self.certificate_source(nginx, pair, &names)).transpose()?;
        let site = self.build_site(nginx, world, values, (ports, front), source)?;
        self.check_names_free(&world.app, &names)?;
        // An app that had a name of the status page before the page did.
        let lost = self.names_of_page(&names);
        if certificate.is_some() {
            let pairs = AppCertificates::for_app(&self.root, &world.app);
            let served: Vec<String> = names.iter().filter(|name| !lost.contains(name)).cloned().collect();
            CertificateLinks::new(&self.root).add(&served, &pairs)?;
        }
        prepared.warnings = site.warnings.iter().map(ToString::to_string).collect();
        prepared.warnings.extend(lost.iter().map(|name| {
            format!("NGINX_SERVER_NAME: '{name}' leads to the status page of this host and not to the app")
        }));
        prepared.warnings.extend(certificate_error);
        if let Some(pair) = certificate.as_ref().filter(|pair| !pair.metadata.self_signed) {
            let missing = certified.iter().filter(|name| !pair.metadata.names.contains(*name));
            prepared.warnings.extend(missing.map(|name| {
                if name.starts_with('*') {
                    return format!(
                        "the certificate does not cover {name}: list the names that you use instead"
                    );
                }
                format!(
                    "the certificate does not cover {name} yet: 'piku certs:renew {}' gets one that does",
                    world.app
                )
            }));
        }
        prepared.reach = match NginxMaster::find(&self.dir) {
            Some(_) => {
                let is_self_signed = certificate.as_ref().is_some_and(|pair| pair.metadata.self_signed);
                SiteReachability::Served(self.site_urls(
                    &names_of(&site),
                    prepared.is_assigned,
                    site.has_https(),
                    is_self_signed,
                ))
            }
            None => SiteReachability::Unserved(
                "piku's nginx does not run",
                "sudo systemctl start piku-nginx, or: piku-run nginx",
            ),
        };
        let passwords =
            site.password_file().map(|content| (self.dir.password_path(&world.app, &content), content));
        let metadata = SiteMetadata {
            names,
            is_assigned: prepared.is_assigned,
            boot: ports.is_some_and(|ports| !ports.is_empty()).then(piku_procfs::boot_id),
            certificate: certificate.as_ref().map(|pair| pair.dir.clone()),
        };
        Ok(SiteFiles { build: nginx.build(), text: site.server_file(), metadata, passwords, certificate })
    }

    /// Returns how nginx finds the pair. One of an authority is read with the configuration, so that handshakes
    /// take no longer. The app for all names is the default server of its sockets, on which those of other apps
    /// depend.
    fn certificate_source(
        &self,
        nginx: &NginxProgram,
        pair: &CertificatePair,
        names: &[String],
    ) -> anyhow::Result<SiteCertificate> {
        if !pair.metadata.self_signed && names.iter().all(|name| name != DEFAULT_NAME) {
            return Ok(SiteCertificate::Files { certificate: pair.certificate(), key: pair.key() });
        }
        let links = CertificateLinks::new(&self.root).path().to_owned();
        let wanted = self.build_instance(nginx)?.render()?;
        let main = self.dir.read_main_conf();
        // nginx, or an earlier version of piku, may have been started with other settings.
        let names_links = main.contains(&format!("ssl_certificate {}/", links.display()));
        let is_covered = tls_sockets(&wanted).all(|socket| tls_sockets(&main).any(|other| other == socket));
        Ok(if names_links && is_covered {
            SiteCertificate::Inherited(links)
        } else {
            SiteCertificate::Linked(links)
        })
    }

    /// Returns true if the host's domain is one for which an authority issues certificates.
    pub(super) fn is_domain_public(&self) -> bool {
        matches!(&self.domain, HostDomain::Named(domain) if is_public(&format!("app.{domain}")))
    }
}

/// Returns the host names of the server block.
fn names_of(site: &VirtualHost) -> Vec<String> {
    site.names().iter().map(|name| name.as_str().to_owned()).collect()
}
