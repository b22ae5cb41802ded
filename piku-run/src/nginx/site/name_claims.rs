//! Claims of apps to host names. An app can claim any name that no other app has, but not the names of the machine
//! while another app gets the requests for names that no app has.

use std::net::IpAddr;

use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use crate::nginx::WebServer;
use crate::nginx::site::names::{hostname, name_below};

impl WebServer {
    /// Fails if another app has one of these host names.
    pub(super) fn check_names_free(&self, app: &AppName, names: &[String]) -> anyhow::Result<()> {
        let own = self.dir.read_metadata(app).map(|metadata| metadata.names).unwrap_or_default();
        // While the app has a file, no other app gets its names.
        let has_all = self.dir.has_app_conf(app) && names.iter().all(|name| own.contains(name));
        let others = if has_all { Vec::new() } else { self.dir.list_apps()? };
        for other in others.into_iter().filter(|other| other != app) {
            let Some(metadata) = self.dir.read_metadata(&other) else { continue };
            if let Some(name) = names.iter().find(|name| metadata.names.contains(name)) {
                let what = format!("NGINX_SERVER_NAME: the app '{other}' has the name '{name}' already");
                return Err(UserError::new(what)
                    .hint(format!("remove it from {other} first, or leave it out here"))
                    .into());
            }
        }
        let domain = self.app_domain();
        if let Some(domain) = &domain {
            let mut others = self.root.apps().unwrap_or_default().into_iter().filter(|other| other != app);
            let is_taken = |other: &AppName| {
                name_below(other, domain).is_some_and(|name| names.contains(&name))
                    && self.root.app(other).is_there()
            };
            if let Some(other) = others.find(is_taken) {
                let what = format!(
                    "NGINX_SERVER_NAME: '{other}.{domain}' is the name of the app '{other}' on this host"
                );
                return Err(UserError::new(what).hint("choose another name").into());
            }
        }
        if let Some(name) = self.names_of_page(names).iter().find(|name| !own.contains(name)) {
            let what = format!("NGINX_SERVER_NAME: '{name}' is the name of the status page of this host");
            return Err(UserError::new(what).hint("choose another name").into());
        }
        self.check_not_names_of_machine(app, names, &own, domain.as_deref())
    }

    /// Fails if one of these names stands for the machine, whose requests another app gets. An app that had the
    /// name before that app came keeps it.
    fn check_not_names_of_machine(
        &self,
        app: &AppName,
        names: &[String],
        own: &[String],
        domain: Option<&str>,
    ) -> anyhow::Result<()> {
        let machine = hostname();
        let is_claimed = |name: &&String| !own.contains(name) && is_name_of_machine(name, &machine, domain);
        let Some(name) = names.iter().find(is_claimed) else { return Ok(()) };
        let Some(other) = self.find_other_default_app(app) else { return Ok(()) };
        let what = format!(
            "NGINX_SERVER_NAME: requests for '{name}' go to the app '{other}', which has all names that no app has"
        );
        let hint = format!("choose another name, or give {other} one first: piku domains:add {other} NAME");
        Err(UserError::new(what).hint(hint).into())
    }

    /// Returns the other app that gets the requests for names that no app has.
    fn find_other_default_app(&self, app: &AppName) -> Option<AppName> {
        let is_default = |other: &AppName| {
            other != app
                && self.dir.read_metadata(other).is_some_and(|metadata| metadata.is_default())
                && (self.dir.has_app_conf(other) || self.has_web_release(other))
        };
        self.root.apps().unwrap_or_default().into_iter().find(is_default)
    }

    /// Removes the claims to the names that no app has, of apps without a file. The caller holds the lock.
    pub(in crate::nginx) fn remove_other_claims(&self, app: &AppName) -> anyhow::Result<()> {
        for other in self.root.apps().unwrap_or_default() {
            let claims = || self.dir.read_metadata(&other).is_some_and(|metadata| metadata.is_default());
            if other != *app && !self.dir.has_app_conf(&other) && claims() {
                self.dir.remove_metadata(&other)?;
            }
        }
        Ok(())
    }
}

/// Returns true for an address, the name of the machine, and a pattern for all names below the domain of the
/// apps.
fn is_name_of_machine(name: &str, machine: &str, domain: Option<&str>) -> bool {
    if let Some(base) = name.strip_prefix('*') {
        return domain.is_some_and(|domain| format!(".{domain}").ends_with(base));
    }
    let machine = machine.trim().to_ascii_lowercase();
    let short = machine.split('.').next().unwrap_or_default();
    let is_local = || name.strip_suffix(".local").is_some_and(|name| name == short);
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name == machine || name == short || is_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_the_machine_are_recognised() {
        let is_machine = |name: &str| is_name_of_machine(name, "Pi.lan", Some("apps.example.org"));
        for name in [
            "10.0.0.7",
            "localhost",
            "pi",
            "pi.lan",
            "pi.local",
            "*.apps.example.org",
            "*.example.org",
            "*.org",
        ] {
            assert!(is_machine(name), "{name}");
        }
        for name in [
            "_",
            "blog.pi.lan",
            "blog.local",
            "apps.example.org",
            "*.s.example.org",
            "*.x.apps.example.org",
            "p",
        ] {
            assert!(!is_machine(name), "{name}");
        }
        assert!(!is_name_of_machine("*.example.org", "pi", None));
        assert!(!is_name_of_machine("x", "", None));
    }
}
