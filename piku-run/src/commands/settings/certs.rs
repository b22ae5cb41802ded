//! `certs list [APP]`: who issued the certificates, until when they are valid, and what failed last. That of the
//! status page is among those of all apps. `certs renew [APP]` requests new ones.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;

use crate::known_apps;
use crate::known_apps::must_be_there;
use crate::kubernetes::{check_not_in_cluster, cluster_urls};
use crate::nginx::{self, CertificateState, CertificateStatus, WebServer};

/// Prints the certificates of these apps, or of all.
pub(in crate::commands) fn list(
    root: &PikuRoot,
    only: &[AppName],
    format: OutputFormat,
) -> anyhow::Result<()> {
    let web = WebServer::load(root)?;
    let apps = known_apps::list_apps(root, only)?;
    let mut rows: Vec<CertificateStatus> = Vec::new();
    let mut hints = Vec::new();
    for app in &apps {
        let Some(site) = web.site_status(app) else { continue };
        if site.urls.is_self_signed {
            let hint = web.certificate_hint(&site.names).replace("APP", app.as_str());
            hints.push(format!("{app}: browsers warn of a self-signed certificate; {hint}"));
        }
        rows.extend(site.certificate);
    }
    if only.is_empty() {
        rows.extend(web.page_certificate_status());
    }
    output::print(format, &rows, || render_table(&rows))?;
    if format == OutputFormat::Text {
        if let ([app], true) = (apps.as_slice(), rows.is_empty()) {
            progress::detail(&match cluster_urls(root, app)? {
                Some(_) => {
                    format!("{app} runs in a cluster: its certificates are those of the ingress there")
                }
                None => format!("{app} is not served by HTTPS: piku domains:add {app} NAME"),
            });
        }
        for hint in &hints {
            progress::detail(hint);
        }
    }
    Ok(())
}

/// Renews the certificates, or those of one app.
pub(in crate::commands) fn renew(root: &PikuRoot, app: Option<&AppName>, force: bool) -> anyhow::Result<()> {
    if let Some(app) = app {
        let hint = "cluster_issuer or traefik_resolver in host.yaml names who issues them";
        must_be_there(root, app)?;
        check_not_in_cluster(root, app, "its certificates are those of the ingress there", hint)?;
    }
    nginx::renew_certificates(root, app, force)
}

fn render_table(rows: &[CertificateStatus]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut notes = String::new();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let owner = row.owner();
            if let Some(at) = row.failed_at {
                let error = row.error.as_deref().unwrap_or("journalctl -u piku-certs shows the reason");
                let next =
                    row.next_attempt.map_or_else(String::new, |next| format!("; next attempt {next:.0}"));
                let at = format!("{at:.0}");
                notes.extend(["Failed ", owner, ": at ", &at, ": ", error, &next, "\n"]);
            }
            if !row.missing.is_empty() && row.state != CertificateState::SelfSigned {
                notes.extend(["Missing ", owner, ": ", &row.missing.join(" "), "\n"]);
            }
            vec![
                owner.to_owned(),
                row.state.as_str().to_owned(),
                row.issuer.clone(),
                row.not_after.map_or_else(|| "-".to_owned(), |end| format!("{end:.0}")),
                row.names.join(" "),
            ]
        })
        .collect();
    output::table(&["APP", "STATE", "ISSUER", "UNTIL", "NAMES"], &cells) + &notes
}
