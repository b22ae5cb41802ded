//! Checks an app's `NGINX_` settings by themselves, before there is a release that they belong to.

#![expect(clippy::disallowed_methods, reason = "a file named by host.yaml")]

use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::TreeHandle;
use piku_procfile::render::app_values::AppValues;
use piku_procfile::render::nginx::{
    OperatorPages, RenderSettings, SiteCertificate, SiteClosure, VirtualHost,
};

use crate::instance::environment::ReleaseContext;
use crate::nginx::WebServer;
use crate::nginx::nginx_dir::TestSubject;
use crate::nginx::program::NginxProgram;
use crate::nginx::site::procfile;

const INCLUDE_FILE: &str = "NGINX_INCLUDE_FILE";
const HTTPS_ONLY: &str = "NGINX_HTTPS_ONLY";

/// Returns whether the repository has the app's own directives; a build could make them, too.
fn has_include_file(world: &ReleaseContext, values: &AppValues) -> bool {
    let Some(path) = values.value(INCLUDE_FILE) else { return false };
    let below = path.strip_prefix("/app/").unwrap_or(path);
    TreeHandle::open(&world.tree())
        .and_then(|tree| tree.find(Path::new(below)))
        .is_ok_and(|found| found.is_some())
}

impl WebServer {
    /// Checks the values of the settings and that no other app has one of the host names. Changes nothing.
    pub(crate) fn check_values(&self, world: &ReleaseContext, mut values: AppValues) -> anyhow::Result<()> {
        let is_served = self.settings.enabled && VirtualHost::is_configured(&values);
        let Some(nginx) = NginxProgram::find(&self.dir).filter(|_| is_served) else { return Ok(()) };
        let has_include = has_include_file(world, &values);
        if !has_include {
            values.set(INCLUDE_FILE, "", "check");
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
            // Made by the deploy.
            certificate: (!self.settings.https.is_empty())
                .then(|| SiteCertificate::Files { certificate: "/dev/null".into(), key: "/dev/null".into() }),
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
            front: None,
            machines: None,
            shares_settings: true,
        };
        VirtualHost::read(&settings, &procfile(&world.release), &values)?;
        let names: Vec<String> =
            VirtualHost::valid_names(&values).iter().map(|name| name.as_str().to_owned()).collect();
        self.check_names_free(&world.app, &names)?;
        let listens = procfile(&world.release).entries.iter().any(|entry| entry.kind.has_port());
        if !has_include || !listens {
            return Ok(());
        }
        // Only nginx knows all values of the app's own directives.
        values.set(HTTPS_ONLY, "", "check");
        let site = self.build_site(&nginx, world, &values, (Some(&[1]), None), None)?;
        self.dir.create()?;
        let _lock = self.dir.lock()?;
        self.test_app(&nginx, &world.app, TestSubject::Settings, &site.server_file())
    }
}
