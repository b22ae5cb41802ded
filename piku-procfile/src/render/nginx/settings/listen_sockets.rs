//! The sockets on which nginx serves an app, and the certificate for those with TLS.

use indexmap::IndexSet;
use piku_layout::settings::ListenAddress;
use piku_report::diagnostic::quote_word;
use piku_report::user_error::UserError;

use super::HTTPS_ONLY;
use crate::render::app_values::ValuesReader;
use crate::render::nginx::instance::linked_files;
use crate::render::nginx::paths::to_nginx_path;
use crate::render::nginx::{RenderSettings, SiteCertificate, TlsFiles};

/// Returns the arguments of `listen` for HTTP and for HTTPS.
pub(super) fn listen_sockets(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let ipv6 = settings.ipv6 && !read.parse_bool("DISABLE_IPV6");
    let mut chosen = [settings.listen.clone(), settings.listen_tls.clone()];
    // An app can only choose among the operator's addresses: any other would not be available to the other
    // apps.
    for (name, is_v6) in [("NGINX_IPV4_ADDRESS", false), ("NGINX_IPV6_ADDRESS", true)] {
        let Some(text) = read.text(name) else { continue };
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let wanted = match bare.parse::<std::net::IpAddr>() {
            Ok(wanted) if wanted.is_ipv6() == is_v6 => wanted,
            _ => {
                read.add_error(name, format!("{} is not such an address", quote_word(text)), None);
                continue;
            }
        };
        if wanted.is_unspecified() {
            continue;
        }
        if !chosen.iter().flatten().any(|listen| listen.address == Some(wanted)) {
            let what = format!(
                "{} is not one of the addresses that host.yaml names for apps: the variable is ignored",
                quote_word(text)
            );
            // An app of another host brings that host's address along.
            read.add_warning(name, what, None);
            continue;
        }
        for listens in &mut chosen {
            listens.retain(|listen| match listen.address {
                Some(address) if address.is_ipv6() == is_v6 => address == wanted,
                _ => true,
            });
        }
    }
    let [plain, tls] = chosen.map(|listens| unique_sockets(&listens, ipv6));
    if plain.is_empty() && (tls.is_empty() || settings.certificate.is_none()) {
        return Err(UserError::new("there is no address to listen on").hint("add --listen PORT").into());
    }
    Ok((plain, tls))
}

/// Returns the arguments of `listen` for these addresses, each one once.
pub(in crate::render::nginx) fn unique_sockets(listens: &[ListenAddress], ipv6: bool) -> Vec<String> {
    let sockets: IndexSet<String> = listens.iter().flat_map(|listen| listen.sockets(ipv6)).collect();
    sockets.into_iter().collect()
}

/// Returns the certificate of the app's sockets with TLS; `None` if the host serves none.
pub(super) fn tls_files(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<Option<TlsFiles>> {
    let is_required = read.parse_bool(HTTPS_ONLY);
    let (Some(source), Some(listen)) = (&settings.certificate, settings.listen_tls.first()) else {
        if is_required {
            let hint = "HTTPS is off on this host: 'https: 443' below 'nginx:' in host.yaml turns it on (for piku-procfile render: --certificate and --key)";
            read.add_error(HTTPS_ONLY, "there is no certificate for this app", Some(hint));
        }
        return Ok(None);
    };
    let files = match source {
        SiteCertificate::Files { certificate, key } => {
            let certificate = to_nginx_path(Some(certificate), "--certificate")?;
            certificate.zip(to_nginx_path(Some(key), "--key")?)
        }
        SiteCertificate::Linked(links) | SiteCertificate::Inherited(links) => Some(linked_files(links)?),
    };
    let is_inherited = matches!(source, SiteCertificate::Inherited(_));
    let port = listen.port;
    Ok(files.map(|(certificate, key)| TlsFiles { certificate, key, is_inherited, is_required, port }))
}
