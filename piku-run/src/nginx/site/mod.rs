//! Builds an app's virtual host, and the main configuration, from the release and from `host.yaml`;
//! `piku_procfile` renders them.

#![expect(
    clippy::disallowed_methods,
    reason = "nginx's directory and a file named by host.yaml; files of the app are named, not opened"
)]

pub(super) mod files;
mod name_claims;
pub(super) mod names;
pub(super) mod refresh;
pub(super) mod status;
mod status_page;
pub(super) mod urls;
mod values_check;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::front_key::FrontKey;
use piku_procfile::procfile::{ProcessKind, Procfile, ProcfileEntry};
use piku_procfile::render::app_values::AppValues;
use piku_procfile::render::nginx::{
    NginxInstance, OperatorPages, RenderSettings, SiteCertificate, SiteClosure, StatusSite, UpstreamAddress,
    VirtualHost, check_trusted_proxy,
};
use piku_release::manifest::BuiltRelease;
use piku_report::user_error::UserError;

use crate::instance::environment::ReleaseContext;
use crate::nginx::WebServer;
use crate::nginx::capacity;
use crate::nginx::certificates::app_certificates::{AppCertificates, CertificatePair};
use crate::nginx::certificates::certificate_links::CertificateLinks;
use crate::nginx::front::FrontSite;
use crate::nginx::program::NginxProgram;
use crate::nginx::site::names::is_web_app;

impl WebServer {
    /// Builds the main configuration, which all sites share.
    pub(in crate::nginx) fn build_instance(&self, nginx: &NginxProgram) -> anyhow::Result<NginxInstance> {
        let rejects = nginx.build().rejects_handshakes || self.settings.https.is_empty();
        let stranger = if rejects { None } else { Some(self.unknown_host_pair()?) };
        let links = CertificateLinks::new(&self.root).path().to_owned();
        Ok(NginxInstance {
            dir: self.dir.path().to_owned(),
            listen: self.settings.http.clone(),
            listen_tls: self.settings.https.clone(),
            ipv6: self.listens_on_ipv6(),
            default_certificate: stranger.map(|pair| (pair.certificate(), pair.key())),
            certificate_links: Some(links),
            earlier_tls_sockets: Vec::new(),
            connections: self.worker_connections(),
            unknown_host_page: self.operator_pages().unknown_host,
            // Not the drain time: a reload for one app must not end the websockets of the others. The
            // connections of the app itself end with its old instances.
            shutdown_timeout: self.settings.worker_shutdown_timeout.max(self.settings.drain).max(1),
            status: self
                .status_site()
                .map(|site| StatusSite { limits_attempts: nginx.build().counts_requests, ..site }),
        })
    }

    /// Returns the pages that the operator has put into `pages/` of piku's root.
    fn operator_pages(&self) -> OperatorPages {
        let page = |name: &str| Some(self.root.pages().join(name)).filter(|path| path.is_file());
        OperatorPages {
            maintenance: page("maintenance.html"),
            stopped: page("stopped.html"),
            unavailable: page("unavailable.html"),
            missing: page("not-found.html"),
            unknown_host: page("unknown-host.html"),
        }
    }

    /// Returns the certificate for TLS requests to a host name that no app has.
    fn unknown_host_pair(&self) -> anyhow::Result<CertificatePair> {
        let pairs = AppCertificates::for_unknown_hosts(&self.root);
        let names = ["unknown.invalid".to_owned()];
        let pair = pairs.ensure_for_names("unknown host", &names, Timestamp::now())?;
        // The name of the server for unknown hosts.
        CertificateLinks::new(&self.root).link("_", &pairs)?;
        pairs.remove_unused(&pair.dir)?;
        Ok(pair)
    }

    fn worker_connections(&self) -> u32 {
        self.settings.connections.unwrap_or_else(capacity::worker_connections)
    }

    /// Returns true if nginx listens on IPv6. It would not start on a kernel without IPv6 (`ipv6.disable=1`).
    fn listens_on_ipv6(&self) -> bool {
        let tried = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
        let is_absent = tried.is_err_and(|err| err.raw_os_error() == Some(nix::libc::EAFNOSUPPORT));
        self.settings.ipv6 && !is_absent
    }

    /// Builds the app's virtual host, with instances at these ports, or of a front.
    pub(in crate::nginx) fn build_site(
        &self,
        nginx: &NginxProgram,
        world: &ReleaseContext,
        values: &AppValues,
        (ports, front): (Option<&[u16]>, Option<&FrontSite>),
        certificate: Option<SiteCertificate>,
    ) -> anyhow::Result<VirtualHost> {
        if !is_web_app(world, values) {
            let what = "NGINX_SERVER_NAME is set, but the app has neither a web process nor static files";
            let hint =
                "add a line 'web: …' or 'static: FOLDER' to the Procfile, or leave NGINX_SERVER_NAME out";
            return Err(UserError::new(what).hint(hint).into());
        }
        let procfile = procfile(&world.release);
        let listens = procfile.entries.iter().any(|entry| entry.kind.has_port());
        // Without a listening process, the ports are those that `check_site` made up.
        let is_stopped = ports.is_none();
        let ports = ports.filter(|_| listens).unwrap_or_default();
        let upstreams: Vec<SocketAddr> = match front {
            Some(front) => front.upstreams(),
            None => ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect(),
        };
        let cloudflare = self.settings.cloudflare_ranges.as_ref().map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))
        });
        let build = nginx.build();
        let mut settings = RenderSettings {
            app: world.app.clone(),
            upstreams: upstreams.iter().copied().map(UpstreamAddress::from).collect(),
            root: Some(world.tree()),
            data: Some(world.dir.data()),
            listen: self.settings.http.clone(),
            listen_tls: self.settings.https.clone(),
            ipv6: self.listens_on_ipv6(),
            certificate,
            acme_root: Some(self.root.acme().join("webroot")),
            cache: Some(self.dir.cache()),
            // Replaced below: the path depends on the content.
            passwords: Some(self.dir.password_path(&world.app, "")),
            logs: Some(self.dir.logs()),
            cloudflare: cloudflare.transpose()?,
            http2: build.http2,
            closure: match () {
                () if world.dir.maintenance().exists() => Some(SiteClosure::Maintenance),
                () if is_stopped => Some(SiteClosure::Stopped),
                // Nothing answers yet, or no instance is wanted.
                () if listens && upstreams.is_empty() => Some(SiteClosure::Unavailable),
                () => None,
            },
            pages: self.operator_pages(),
            connections: build.counts_connections.then(|| self.app_connections()),
            trusted_proxies: self.trusted_proxies()?,
            front: FrontKey::read(&world.dir).filter(|_| front.is_none()),
            machines: front.map(|front| front.key().clone()),
            shares_settings: true,
        };
        let site = VirtualHost::read(&settings, &procfile, values)?;
        let Some(passwords) = site.password_file() else { return Ok(site) };
        settings.passwords = Some(self.dir.password_path(&world.app, &passwords));
        VirtualHost::read(&settings, &procfile, values)
    }

    /// Returns the proxies that host.yaml trusts.
    fn trusted_proxies(&self) -> anyhow::Result<Vec<String>> {
        for item in &self.settings.trusted_proxies {
            check_trusted_proxy(item).map_err(|message| {
                UserError::new(format!("host.yaml: nginx: trusted_proxies: {message}"))
                    .hint("write addresses such as '10.0.0.7' or '10.0.0.0/8', or 'private'")
            })?;
        }
        Ok(self.settings.trusted_proxies.clone())
    }

    /// Returns the limit on concurrent requests to one app, from the main file of the running nginx.
    fn app_connections(&self) -> u32 {
        let connections = capacity::parse_connections(&self.dir.read_main_conf())
            .unwrap_or_else(|| self.worker_connections());
        capacity::app_connections(connections)
    }
}

/// Iterates over the addresses of the instances, or machines, in a rendered file.
pub(in crate::nginx) fn upstream_addresses(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let server = line.trim_start().strip_prefix("server ")?;
        server.split_once(' ')?.0.parse().ok()
    })
}

/// Iterates over the ports of the instances in a rendered file.
pub(in crate::nginx) fn upstream_ports(text: &str) -> impl Iterator<Item = u16> {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    upstream_addresses(text).filter(move |address| address.ip() == local).map(|address| address.port())
}

/// Iterates over the arguments of `listen` for the sockets with TLS in a rendered file. A line of the app's own
/// never begins with this directive.
pub(in crate::nginx) fn tls_sockets(text: &str) -> impl Iterator<Item = &str> {
    let listens = text.lines().filter_map(|line| line.trim_start().strip_prefix("listen "));
    listens.filter_map(|rest| {
        let (socket, parameters) = rest.trim_end_matches(';').split_once(' ')?;
        parameters.split(' ').any(|parameter| parameter == "ssl").then_some(socket)
    })
}

/// Rebuilds the Procfile from the release's manifest.
pub(in crate::nginx) fn procfile(release: &BuiltRelease) -> Procfile {
    let entry = |(name, command): (&piku_layout::name::ProcessName, &String)| ProcfileEntry {
        kind: ProcessKind::classify(name, command),
        name: name.clone(),
        command: command.clone(),
        schedule: None,
        line: 0,
    };
    Procfile { entries: release.processes.iter().map(entry).collect(), warnings: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_from_a_rendered_file() {
        let text = "upstream a {\n    server 127.0.0.1:5000 max_fails=0;\n    server [fd00::1]:80 max_fails=0;\n\
                    server {\n    server_name a.test;\n";
        let found: Vec<String> = upstream_addresses(text).map(|address| address.to_string()).collect();
        assert_eq!(found, ["127.0.0.1:5000", "[fd00::1]:80"]);
        assert_eq!(upstream_ports(text).collect::<Vec<_>>(), [5000]);
    }
}
