//! An app's site: what its release, its settings and this machine's say, as `piku_procfile` renders it.

#![expect(
    clippy::disallowed_methods,
    reason = "nginx's folder and a file that host.yaml names; files of the app are named in nginx's configuration, not opened"
)]

use std::net::{Ipv6Addr, UdpSocket};

use anyhow::Context;
use jiff::Timestamp;
use piku_build::release::BuiltRelease;
use piku_layout::settings::ListenAddress;
use piku_procfile::procfile::{ProcessKind, Procfile, ProcfileEntry};
use piku_procfile::render::nginx::{HostName, NginxInstance, RenderSettings, UpstreamAddress, VirtualHost};
use piku_procfile::render::values::AppValues;
use piku_report::user_error::UserError;

use super::WebServer;
use super::capacity;
use super::certificate::{AppCertificates, CertificatePair};
use super::program::NginxProgram;
use crate::instance::environment::ReleaseContext;

impl WebServer {
    /// The instance that all sites share.
    pub(super) fn instance(&self, nginx: &NginxProgram) -> anyhow::Result<NginxInstance> {
        let rejects = nginx.build().rejects_handshakes || self.settings.https.is_empty();
        let stranger = if rejects { None } else { Some(self.stranger_pair()?) };
        Ok(NginxInstance {
            dir: self.folder.path().to_owned(),
            listen: self.settings.http.clone(),
            listen_tls: self.settings.https.clone(),
            ipv6: self.listens_on_ipv6(),
            stranger_certificate: stranger.map(|pair| (pair.certificate(), pair.key())),
            connections: self.worker_connections(),
            shutdown_timeout: self.settings.drain.max(1),
        })
    }

    /// Returns the certificate for whoever asks for a host that no app has. No name can be right for them.
    fn stranger_pair(&self) -> anyhow::Result<CertificatePair> {
        let all = AppCertificates::of_strangers(&self.root);
        let pair = all.for_names("unknown host", &["unknown.invalid".to_owned()], Timestamp::now())?;
        all.tidy(&pair.dir)?;
        Ok(pair)
    }

    fn worker_connections(&self) -> u32 {
        self.settings.connections.unwrap_or_else(capacity::worker_connections)
    }

    /// Returns whether nginx is to listen on IPv6: it does not start where the kernel has none (`ipv6.disable=1`).
    fn listens_on_ipv6(&self) -> bool {
        let tried = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
        let is_absent = tried.is_err_and(|err| err.raw_os_error() == Some(nix::libc::EAFNOSUPPORT));
        self.settings.ipv6 && !is_absent
    }

    /// What nginx is told of the app; a list of ports is where its instances listen.
    pub(super) fn site(
        &self,
        nginx: &NginxProgram,
        world: &ReleaseContext,
        values: &AppValues,
        ports: &[u16],
        certificate: Option<&CertificatePair>,
    ) -> anyhow::Result<VirtualHost> {
        let procfile = procfile(&world.release);
        let listens = procfile.entries.iter().any(|entry| entry.kind.listens());
        let files = procfile.entries.iter().any(|entry| entry.kind == ProcessKind::Static);
        if !listens && !files && !values.has("NGINX_STATIC_PATHS") {
            let what = "NGINX_SERVER_NAME is set, and the app has neither a web process nor a folder of files to serve";
            let hint =
                "add a line 'web: …' or 'static: FOLDER' to the Procfile, or leave NGINX_SERVER_NAME out";
            return Err(UserError::new(what).hint(hint).into());
        }
        // Those of whoever only looks whether the settings are good are made up.
        let ports = if listens { ports } else { &[] };
        let upstreams = ports
            .iter()
            .map(|port| UpstreamAddress::from(std::net::SocketAddr::from(([127, 0, 0, 1], *port))))
            .collect();
        let cloudflare = self.settings.cloudflare_ranges.as_ref().map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))
        });
        let build = nginx.build();
        let mut settings = RenderSettings {
            app: world.app.clone(),
            upstreams,
            root: Some(world.tree()),
            data: Some(world.dir.data()),
            listen: self.settings.http.clone(),
            listen_tls: self.settings.https.clone(),
            ipv6: self.listens_on_ipv6(),
            certificate: certificate.map(|pair| (pair.certificate(), pair.key())),
            acme_root: Some(self.root.acme().join("webroot")),
            cache: Some(self.folder.cache()),
            // Where it is in the end is told by what is in it.
            passwords: Some(self.folder.passwords(&world.app, "")),
            cloudflare: cloudflare.transpose()?,
            http2: build.http2,
            // Nothing answers before the first instance has been ready, or when there is to be none.
            maintenance: world.dir.maintenance().exists() || listens && ports.is_empty(),
            connections: build.counts_connections.then(|| self.app_connections()),
        };
        let site = VirtualHost::read(&settings, &procfile, values)?;
        let Some(passwords) = site.password_file() else { return Ok(site) };
        settings.passwords = Some(self.folder.passwords(&world.app, &passwords));
        VirtualHost::read(&settings, &procfile, values)
    }

    /// Returns how many requests to one app may be under way, of those that nginx as it runs has room for.
    fn app_connections(&self) -> u32 {
        let main = std::fs::read_to_string(self.folder.main()).unwrap_or_default();
        capacity::share(capacity::in_file(&main).unwrap_or_else(|| self.worker_connections()))
    }

    /// The addresses that people type.
    pub(super) fn urls(&self, site: &VirtualHost) -> Vec<String> {
        let (https, _) = site.https();
        let (scheme, listens, usual) =
            if https { ("https", &self.settings.https, 443) } else { ("http", &self.settings.http, 80) };
        let port = listens.first().map_or(usual, |listen: &ListenAddress| listen.port);
        let port = if port == usual { String::new() } else { format!(":{port}") };
        let names = site.names().iter().map(HostName::as_str).filter(|name| !name.starts_with("*."));
        names.map(|name| format!("{scheme}://{name}{port}")).collect()
    }
}

/// The process types as the release has them.
fn procfile(release: &BuiltRelease) -> Procfile {
    let entry = |(name, command): (&piku_layout::name::ProcessName, &String)| ProcfileEntry {
        kind: ProcessKind::of(name, command),
        name: name.clone(),
        command: command.clone(),
        schedule: None,
        line: 0,
    };
    Procfile { entries: release.processes.iter().map(entry).collect(), warnings: Vec::new() }
}
