//! Checks an app's `NGINX_` settings by themselves, before there is a release that they belong to.

#![expect(clippy::disallowed_methods, reason = "a file named by host.yaml")]

use std::path::PathBuf;

use anyhow::Context;
use piku_procfile::render::nginx::{OperatorPages, RenderSettings, SiteClosure, VirtualHost};

use super::WebServer;
use super::program::NginxProgram;
use super::site::procfile;
use crate::instance::environment::ReleaseContext;

/// Settings that need what only a build or a deploy makes: a file, a certificate.
const LATER: [&str; 2] = ["NGINX_INCLUDE_FILE", "NGINX_HTTPS_ONLY"];

impl WebServer {
    /// Checks the values of the settings and that no other app has one of the host names. Changes nothing.
    pub(crate) fn check_values(&self, world: &ReleaseContext) -> anyhow::Result<()> {
        let mut values = world.values()?;
        let is_served = self.settings.enabled && VirtualHost::is_configured(&values);
        let Some(nginx) = NginxProgram::find().filter(|_| is_served) else { return Ok(()) };
        for name in LATER {
            values.set(name, "", "check");
        }
        let cloudflare = self.settings.cloudflare_ranges.as_ref().map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))
        });
        let settings = RenderSettings {
            app: world.app.clone(),
            upstreams: Vec::new(),
            root: Some(world.tree()),
            data: Some(world.dir.data()),
            listen: self.settings.http.clone(),
            listen_tls: self.settings.https.clone(),
            ipv6: self.settings.ipv6,
            certificate: None,
            acme_root: None,
            cache: Some(self.dir.cache()),
            passwords: Some(PathBuf::from("/dev/null")),
            logs: None,
            cloudflare: cloudflare.transpose()?,
            http2: nginx.build().http2,
            // The process types may be known only after the build.
            closure: Some(SiteClosure::Maintenance),
            pages: OperatorPages::default(),
            connections: None,
            trusted_proxies: Vec::new(),
        };
        let site = VirtualHost::read(&settings, &procfile(&world.release), &values)?;
        let names: Vec<String> = site.names().iter().map(|name| name.as_str().to_owned()).collect();
        self.check_names_free(&world.app, &names)
    }
}
