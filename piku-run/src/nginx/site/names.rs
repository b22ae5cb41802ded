//! Host names of an app that sets none: its name below the host's domain, and all names that no app has if it
//! is the only web app of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use piku_layout::name::AppName;
use piku_layout::settings::HostDomain;
use piku_release::manifest::BuiltRelease;

use crate::instance::environment::ReleaseContext;
use crate::nginx::WebServer;
use crate::nginx::front::FrontSite;
use crate::nginx::site::procfile;
use piku_procfile::procfile::ProcessKind;
use piku_procfile::render::app_values::AppValues;
use piku_procfile::render::nginx::DEFAULT_NAME;

impl WebServer {
    /// Returns the names for an app that sets none, [`DEFAULT_NAME`] for all names that no app has; nothing if
    /// it is reached on its ports only. The caller holds the lock.
    pub(in crate::nginx) fn assigned_names(&self, app: &AppName) -> anyhow::Result<Vec<String>> {
        if self.domain == HostDomain::Off || self.settings.http.is_empty() {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        for other in self.dir.list_apps()?.iter().filter(|other| *other != app) {
            taken.extend(self.dir.read_metadata(other).map(|metadata| metadata.names).unwrap_or_default());
        }
        let mut names: Vec<String> = self.domain_name(app).into_iter().collect();
        if self.is_default_app(app, &taken) {
            names.push(DEFAULT_NAME.to_owned());
        }
        taken.extend(self.status_names());
        names.retain(|name| !taken.contains(name));
        Ok(names)
    }

    /// Returns the app's name below the host's domain.
    pub(crate) fn domain_name(&self, app: &AppName) -> Option<String> {
        self.app_domain().and_then(|domain| name_below(app, &domain))
    }

    /// Returns the domain below which the host names the apps.
    pub(super) fn app_domain(&self) -> Option<String> {
        self.domain.app_domain(&hostname(), machine_address)
    }

    /// Returns true if the app gets the requests for names that no app has: it has them already, or no other
    /// app of this host serves anything.
    fn is_default_app(&self, app: &AppName, taken: &[String]) -> bool {
        if taken.iter().any(|name| name == DEFAULT_NAME) {
            return false;
        }
        // Its file may be gone: after a boot, or because nginx did not run.
        if self.dir.read_metadata(app).is_some_and(|metadata| metadata.is_default()) {
            return true;
        }
        let mut apps = self.root.apps().unwrap_or_default().into_iter();
        !apps.any(|other| other != *app && self.has_web_release(&other))
    }

    /// Returns true if requests can be answered by the live release of the app.
    pub(super) fn has_web_release(&self, app: &AppName) -> bool {
        if matches!(FrontSite::find(&self.root, app), Ok(Some(_))) {
            return true;
        }
        let dir = self.root.app(app);
        dir.current_number().is_some_and(|number| {
            BuiltRelease::read(&dir.release(number)).is_ok_and(|release| has_web_type(&release))
        })
    }
}

/// Returns the app's name below a domain, unless it is too long for a host name.
pub(super) fn name_below(app: &AppName, domain: &str) -> Option<String> {
    Some(format!("{app}.{domain}")).filter(|name| name.len() <= 253)
}

/// Returns true if requests can be answered: by a process, or from files.
pub(in crate::nginx) fn is_web_app(world: &ReleaseContext, values: &AppValues) -> bool {
    has_web_type(&world.release) || values.has("NGINX_STATIC_PATHS")
}

fn has_web_type(release: &BuiltRelease) -> bool {
    let entries = procfile(release).entries;
    entries.iter().any(|entry| entry.kind.has_port() || entry.kind == ProcessKind::Static)
}

/// Returns the name of the machine.
pub(in crate::nginx) fn hostname() -> String {
    piku_nss::host_name().unwrap_or_default()
}

/// Returns the address from which this machine reaches others. Nothing is sent.
pub(in crate::nginx) fn machine_address() -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): any route outwards will do.
    let outside: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let find_source = |(from, to): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind(SocketAddr::from((from, 0))).ok()?;
        socket.connect(SocketAddr::from((to, 9))).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
    };
    outside.into_iter().find_map(find_source)
}
