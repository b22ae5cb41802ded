//! Certificates that an app brings along from another piku, until the next renewal.

#![expect(clippy::disallowed_methods, reason = "piku's own copies")]

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use super::app_certificates::{AppCertificates, CertificateMetadata, openssl_command};
use super::operator_certificate::{is_key_of, parse_names};
use crate::nginx::nginx_dir;
use crate::releases::current;

/// Makes a certificate that an authority issued, with its key, that of the app; returns its names. `None` if it
/// is self-signed, or if the app has one from an authority.
///
/// # Errors
/// Fails if the two are not a certificate and its key, or if it has expired.
pub(crate) fn import_certificate(
    root: &PikuRoot,
    app: &AppName,
    certificate: &[u8],
    key: &[u8],
) -> anyhow::Result<Option<String>> {
    let pairs = AppCertificates::for_app(root, app);
    if pairs.read_current().is_some_and(|pair| !pair.metadata.self_signed) {
        return Ok(None);
    }
    let folder = tempfile::tempdir().context("cannot create a directory")?;
    let path = folder.path().join("certificate.pem");
    fs::write(&path, certificate).context("cannot copy the certificate")?;
    let mut openssl = openssl_command()?;
    openssl.args(["x509", "-noout", "-issuer", "-subject", "-ext", "subjectAltName", "-in"]).arg(&path);
    let out = openssl.output().context("cannot run openssl")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let party = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let (issuer, subject) = (party("issuer="), party("subject="));
    if issuer.is_none() {
        return Err(UserError::new("it cannot be read").into());
    }
    if issuer == subject {
        return Ok(None);
    }
    let names: BTreeSet<String> = parse_names(&text);
    let shown = names.iter().cloned().collect::<Vec<_>>().join(", ");
    let metadata = CertificateMetadata { names, self_signed: false, at: Timestamp::now() };
    let pair = pairs.create_pair(&metadata, |pair| {
        fs::write(pair.certificate(), certificate).context("cannot copy the certificate")?;
        nginx_dir::write_private(&pair.key(), key)?;
        if !is_key_of(&pair.key(), &pair.certificate())? {
            return Err(UserError::new("its key is that of another one").into());
        }
        Ok(())
    })?;
    if !pair.is_valid(Timestamp::now()) {
        current::remove_dir(&pair.dir)?;
        return Err(UserError::new("it has expired").into());
    }
    pairs.set_current(&pair)?;
    Ok(Some(shown))
}
