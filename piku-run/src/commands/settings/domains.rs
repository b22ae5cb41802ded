//! `domains [APP]`: the host names of apps, adding and removing them, and checking that they lead here.

use std::fmt::Write;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostDomain, SettingsKey};
use piku_procfile::render::app_values::split_items;
use piku_procfile::render::nginx::{DEFAULT_NAME, HostName, SERVER_NAME};
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};
use serde::Serialize;

use crate::cli::DomainsCommand;
use crate::config::{ConfigValues, store};
use crate::instance::environment::ReleaseContext;
use crate::known_apps;
use crate::kubernetes;
use crate::nginx::{CertificateState, WebServer, is_announcer_installed};
use crate::process::ssh_session::session_address;
use crate::releases::current;

const DOMAIN: SettingsKey = SettingsKey {
    name: "domain:",
    comment: "# Apps without a name of their own are served below this domain (piku domains:host).",
};

/// A host name as `domains` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct DomainRow {
    app: AppName,
    /// `_` stands for all names that no app has.
    name: String,
    /// `config`, `ENV`, or `host` for a name that the host has assigned.
    source: &'static str,
    /// `None` for a name that stands for others.
    url: Option<String>,
    certificate: Option<CertificateState>,
}

/// The result of the check of a host name. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct DomainCheck {
    app: AppName,
    name: String,
    is_reached: bool,
    addresses: Vec<std::net::IpAddr>,
    error: Option<String>,
}

/// Runs the action, or lists the names of these apps, or of all.
pub(in crate::commands) fn run(
    root: &PikuRoot,
    apps: &[AppName],
    format: OutputFormat,
    action: Option<&DomainsCommand>,
) -> anyhow::Result<bool> {
    match action {
        None => list(root, apps, format).map(|()| true),
        Some(DomainsCommand::Check) => check(root, apps, format),
        Some(DomainsCommand::Add { names, no_restart }) => change(root, apps, names, &[], *no_restart),
        Some(DomainsCommand::Remove { names, no_restart }) => change(root, apps, &[], names, *no_restart),
    }
}

/// The host's domain as `host-domain` prints it.
#[derive(Debug, Serialize)]
struct HostDomainReport {
    domain: String,
}

/// Prints the host's domain.
pub(in crate::commands) fn print_host_domain(root: &PikuRoot, format: OutputFormat) -> anyhow::Result<()> {
    let settings = piku_layout::settings::HostSettings::read(&root.settings())?;
    let report = HostDomainReport { domain: settings.domain.to_string() };
    output::print(format, &report, || format!("{}\n", report.domain))
}

/// Stores the host's domain in host.yaml.
pub(in crate::commands) fn host_domain(root: &PikuRoot, domain: &HostDomain) -> anyhow::Result<()> {
    root.edit_settings(|settings, text| {
        let mut wanted = settings.clone();
        wanted.domain = domain.clone();
        Ok((DOMAIN.replace_in(text, &domain.to_string()), wanted))
    })?;
    progress::step(&format!("Domain of this host: {domain}"));
    if *domain == HostDomain::Local && !is_announcer_installed() {
        progress::detail(
            "to have the names announced on the local network: sudo apt-get install avahi-daemon avahi-utils",
        );
    }
    if !WebServer::load(root)?.ask_to_reload() {
        progress::detail("piku's nginx does not run; apps get their names when it starts");
    }
    Ok(())
}

fn list(root: &PikuRoot, apps: &[AppName], format: OutputFormat) -> anyhow::Result<()> {
    let web = WebServer::load(root)?;
    let mut rows = Vec::new();
    for app in known_apps::list_apps(root, apps)? {
        let stored = || -> anyhow::Result<&str> {
            let is_in_config = store::read(&root.app(&app))?.get(SERVER_NAME).is_some();
            Ok(if is_in_config { "config" } else { "ENV" })
        };
        if let Some(urls) = kubernetes::cluster_urls(root, &app)? {
            let source = stored()?;
            let host = |url: &String| {
                let name = url.split_once("://")?.1.split(['/', ':']).next()?;
                Some(name.to_owned())
            };
            let named = urls.into_iter().filter_map(|url| Some((host(&url)?, url)));
            rows.extend(named.map(|(name, url)| {
                let (app, url) = (app.clone(), Some(url));
                DomainRow { app, name, source, url, certificate: None }
            }));
            continue;
        }
        let Some(site) = web.site_status(&app) else {
            let source = stored()?;
            // A release that cannot be read does not hide the names of the other apps.
            rows.extend(set_names(root, &app).unwrap_or_default().into_iter().map(|name| {
                let app = app.clone();
                DomainRow { app, name, source, url: None, certificate: None }
            }));
            continue;
        };
        let source = if site.is_assigned { "host" } else { stored()? };
        let certificate = site.certificate.as_ref().map(|certificate| certificate.state);
        for name in &site.names {
            let end = format!("://{name}");
            let is_its = |url: &&String| url.contains(&format!("{end}:")) || url.ends_with(&end);
            let mut url = site.urls.named.iter().find(is_its).cloned();
            if name == DEFAULT_NAME {
                url = site.urls.default_url(session_address());
            }
            rows.push(DomainRow { app: app.clone(), name: name.clone(), source, url, certificate });
        }
    }
    if let ([app], true, OutputFormat::Text) = (apps, rows.is_empty(), format) {
        progress::detail(&format!("{app} has no host name: piku domains:add {app} NAME"));
    }
    let is_unserved =
        |row: &DomainRow| row.url.is_none() && !row.name.starts_with('*') && row.name != DEFAULT_NAME;
    if format == OutputFormat::Text && rows.iter().any(is_unserved) {
        progress::detail("this machine does not serve a name without a URL; on the server: sudo piku doctor");
    }
    output::print(format, &rows, || render_table(&rows))
}

fn render_table(rows: &[DomainRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |row: &DomainRow| {
        vec![
            row.app.to_string(),
            row.name.clone(),
            row.source.to_owned(),
            row.certificate.map_or("-", CertificateState::as_str).to_owned(),
            row.url.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["APP", "NAME", "FROM", "CERTIFICATE", "URL"], &rows)
}

/// Checks each name. Returns whether all lead here.
fn check(root: &PikuRoot, apps: &[AppName], format: OutputFormat) -> anyhow::Result<bool> {
    let web = WebServer::load(root)?;
    let mut rows = Vec::new();
    for app in known_apps::list_apps(root, apps)? {
        let Some(site) = web.site_status(&app) else {
            let why = match kubernetes::cluster_urls(root, &app)? {
                Some(_) => "it runs in a cluster, and its names must lead to the ingress there",
                None => "nginx does not serve it, or does not run",
            };
            progress::detail(&format!("{app}: {why}"));
            continue;
        };
        let is_checked = |name: &&String| *name != DEFAULT_NAME && !name.starts_with('*');
        if !site.names.iter().any(|name| is_checked(&name)) {
            progress::detail(&format!("{app} has no name to check: piku domains:add {app} NAME"));
        }
        for name in site.names.iter().filter(is_checked) {
            let (addresses, error) = match web.check_name(name) {
                Ok(addresses) => (addresses, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            let is_reached = error.is_none();
            rows.push(DomainCheck { app: app.clone(), name: name.clone(), is_reached, addresses, error });
        }
    }
    let render = || {
        let mut text = String::new();
        for row in &rows {
            let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
            // Writing to a string cannot fail.
            let _ = match &row.error {
                None => writeln!(text, "{}: leads here ({})", row.name, addresses.join(", ")),
                Some(error) => writeln!(text, "{}: {error}", row.name),
            };
        }
        text
    };
    output::print(format, &rows, render)?;
    Ok(!rows.is_empty() && rows.iter().all(|row| row.is_reached))
}

/// Returns the names in the live release's ENV.
fn shipped_names(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<String>> {
    match current::live_release(&root.app(app))? {
        Some(number) => ReleaseContext::read(root, app, number)?.shipped(SERVER_NAME),
        None => Ok(None),
    }
}

/// Returns the names that the app sets, whether they are served or not.
fn set_names(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<String>> {
    let stored = store::read(&root.app(app))?;
    let shipped = shipped_names(root, app)?;
    let names = stored.get(SERVER_NAME).or(shipped.as_deref()).unwrap_or_default();
    Ok(split_items(names).map(str::to_ascii_lowercase).collect())
}

/// Changes the names that the app sets, as a change of its config.
fn change(
    root: &PikuRoot,
    apps: &[AppName],
    added: &[String],
    removed: &[String],
    no_restart: bool,
) -> anyhow::Result<bool> {
    let [app] = apps else { return Err(UserError::new("one app is needed").code(USAGE).into()) };
    let parse = |names: &[String]| -> Result<Vec<HostName>, UserError> {
        let wrong = |why: String| UserError::new(why).code(USAGE);
        names.iter().map(|name| name.parse().map_err(wrong)).collect()
    };
    let (added, removed) = (parse(added)?, parse(removed)?);
    if added.is_empty() {
        known_apps::must_be_there(root, app)?;
    }
    crate::commands::create_if_missing(root, app)?;
    let edit = |stored: &ConfigValues| {
        let shipped = shipped_names(root, app)?;
        let names = edit_names(app, stored.get(SERVER_NAME).or(shipped.as_deref()), &added, &removed)?;
        let mut edited = stored.clone();
        if names.is_empty() && shipped.is_none() {
            edited.unset(SERVER_NAME);
        } else {
            edited.set(SERVER_NAME, &names.join(" "))?;
        }
        Ok((edited, Vec::new()))
    };
    crate::commands::config::change_config(root, app, no_restart, &edit)?;
    Ok(true)
}

/// Returns the names that are set, with these added and removed.
fn edit_names(
    app: &AppName,
    set: Option<&str>,
    added: &[HostName],
    removed: &[HostName],
) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = split_items(set.unwrap_or_default()).map(str::to_ascii_lowercase).collect();
    for name in removed.iter().map(HostName::as_str) {
        let before = names.len();
        names.retain(|own| *own != name);
        if names.len() == before {
            let what = format!("{app} has no name '{name}' of its own");
            return Err(UserError::new(what).hint(format!("'piku domains {app}' lists them")).into());
        }
    }
    for name in added.iter().map(HostName::as_str) {
        if !names.iter().any(|own| own == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
