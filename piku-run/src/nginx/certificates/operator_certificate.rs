//! Certificates that the operator has, such as one for `*.example.org`, which an authority issues by DNS
//! only. `certificates:` in host.yaml names their directories. Each is copied for the apps whose names it
//! covers.

#![expect(clippy::disallowed_methods, reason = "files that host.yaml names, and piku's own copies")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use piku_report::user_error::UserError;

use crate::nginx::certificates::app_certificates::{
    AppCertificates, CertificateMetadata, CertificatePair, openssl_command,
};
use crate::nginx::{WebServer, nginx_dir};
use crate::releases::current;

/// The files of a directory, named as certbot names them.
const CERTIFICATE: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";

/// A certificate of the operator's for an app.
#[derive(Debug)]
pub(in crate::nginx) enum OperatorCertificate {
    /// No certificate covers all names.
    Missing,
    /// The one in use is a copy of it.
    InUse,
    /// A copy that is not in use yet.
    New(CertificatePair),
}

impl WebServer {
    /// Copies the first valid certificate of the operator's that covers all names, unless the app has the
    /// same one already.
    pub(in crate::nginx) fn copy_operator_certificate(
        &self,
        pairs: &AppCertificates,
        names: &BTreeSet<String>,
    ) -> anyhow::Result<OperatorCertificate> {
        if names.is_empty() {
            return Ok(OperatorCertificate::Missing);
        }
        for dir in &self.settings.certificates {
            let covered = read_names(&dir.join(CERTIFICATE))?;
            if !names.iter().all(|name| covers(&covered, name)) {
                continue;
            }
            let files = [CERTIFICATE, KEY].map(|name| dir.join(name));
            let content = |paths: &[PathBuf; 2]| {
                let read = |path: &PathBuf| fs::read(path).map_err(|err| unreadable(path, &err));
                Ok::<_, UserError>([read(&paths[0])?, read(&paths[1])?])
            };
            let wanted = content(&files)?;
            let is_in_use = pairs.read_current().is_some_and(|pair| {
                let own = content(&[pair.certificate(), pair.key()]);
                pair.metadata.names == *names && own.is_ok_and(|own| own == wanted)
            });
            if is_in_use {
                return Ok(OperatorCertificate::InUse);
            }
            check_key(&files)?;
            let metadata =
                CertificateMetadata { names: names.clone(), self_signed: false, at: Timestamp::now() };
            let pair = pairs.create_pair(&metadata, |pair| {
                fs::write(pair.certificate(), &wanted[0]).context("cannot copy the certificate")?;
                nginx_dir::write_private(&pair.key(), &wanted[1])
            })?;
            if pair.is_valid(Timestamp::now()) {
                return Ok(OperatorCertificate::New(pair));
            }
            current::remove_dir(&pair.dir)?;
        }
        Ok(OperatorCertificate::Missing)
    }
}

fn unreadable(path: &Path, err: &std::io::Error) -> UserError {
    UserError::new(format!("host.yaml: nginx: certificates: cannot read '{}': {err}", path.display()))
        .hint(format!("the directory must have {CERTIFICATE} and {KEY}, which the user piku can read"))
}

/// Fails if the key is not that of the certificate.
fn check_key([certificate, key]: &[PathBuf; 2]) -> anyhow::Result<()> {
    if !is_key_of(key, certificate)? {
        let what =
            format!("host.yaml: nginx: certificates: '{}' is not the key of its certificate", key.display());
        return Err(UserError::new(what).into());
    }
    Ok(())
}

/// Returns whether the certificate can be read and the key is its own.
pub(super) fn is_key_of(key: &Path, certificate: &Path) -> anyhow::Result<bool> {
    let public_key = |args: &[&str], path: &Path| -> anyhow::Result<Vec<u8>> {
        let out = openssl_command()?.args(args).arg("-in").arg(path).output();
        Ok(out.context("cannot run openssl")?.stdout)
    };
    let own = public_key(&["x509", "-noout", "-pubkey"], certificate)?;
    Ok(!own.is_empty() && own == public_key(&["pkey", "-pubout", "-passin", "pass:"], key)?)
}

/// Reads the host names of a certificate.
fn read_names(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    fs::File::open(path).map_err(|err| unreadable(path, &err))?;
    let mut openssl = openssl_command()?;
    let out = openssl.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(path).output();
    let out = out.context("cannot run openssl")?;
    if !out.status.success() {
        let what = format!("host.yaml: nginx: certificates: '{}' is not a certificate", path.display());
        return Err(UserError::new(what).into());
    }
    Ok(parse_names(&String::from_utf8_lossy(&out.stdout)))
}

/// Parses the host names and addresses in the output of openssl.
pub(super) fn parse_names(text: &str) -> BTreeSet<String> {
    let items = text.split([',', '\n']).map(str::trim);
    let names = items.filter_map(|item| item.strip_prefix("DNS:").or(item.strip_prefix("IP Address:")));
    names.map(str::to_ascii_lowercase).collect()
}

/// Returns true if a certificate for these names is valid for this one. `*` stands for one label.
fn covers(covered: &BTreeSet<String>, name: &str) -> bool {
    let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    covered.contains(name) || wildcard.is_some_and(|wildcard| covered.contains(&wildcard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let text = "X509v3 Subject Alternative Name: \n    DNS:Example.org, DNS:*.example.org, IP Address:10.0.0.1\n";
        let covered = parse_names(text);
        for name in ["example.org", "*.example.org", "www.example.org", "10.0.0.1"] {
            assert!(covers(&covered, name), "{name}");
        }
        for name in ["a.b.example.org", "*.b.example.org", "org", "example.com", "10.0.0.2"] {
            assert!(!covers(&covered, name), "{name}");
        }
    }
}
