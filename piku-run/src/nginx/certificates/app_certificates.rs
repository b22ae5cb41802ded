//! Certificates and their keys. A pair is a directory that is written once and never changed; a symlink names
//! the pair in use. An app without a certificate gets a self-signed one at once.

#![expect(clippy::disallowed_methods, reason = "certificates, which only piku and its ACME client write")]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp, ToSpan};
use piku_files::atomic_file;
use piku_layout::clock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::process::installed_program::find_program;
use crate::releases::current;

/// Validity of a self-signed certificate in days; it is replaced after half of them.
const SELF_SIGNED_DAYS: i64 = 3650;
/// Arguments of openssl for a new key and a self-signed certificate.
const SELF_SIGN: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// Arguments of openssl that print what [`CertificateDetails`] holds.
const READ_DETAILS: &str =
    "x509 -noout -startdate -enddate -dateopt iso_8601 -issuer -nameopt multiline,utf8";

/// A certificate from an authority is renewed at most this many days before it expires.
const RENEWAL_DAYS: i64 = 30;

/// Symlink to the pair in use.
const CURRENT: &str = "current";
/// File with the metadata of a pair.
const METADATA: &str = "about.json";

/// Directory with the pairs of one app.
#[derive(Debug, Clone)]
pub(in crate::nginx) struct AppCertificates(PathBuf);

/// A certificate with its chain, and its key.
#[derive(Debug, Clone)]
pub(in crate::nginx) struct CertificatePair {
    pub(in crate::nginx) dir: PathBuf,
    pub(in crate::nginx) metadata: CertificateMetadata,
}

/// Facts about a pair, stored beside it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::nginx) struct CertificateMetadata {
    pub(in crate::nginx) names: BTreeSet<String>,
    pub(in crate::nginx) self_signed: bool,
    /// Time of creation or issuance.
    pub(in crate::nginx) at: Timestamp,
}

/// Facts about a certificate that it contains itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::nginx) struct CertificateDetails {
    /// Begin of its validity.
    pub(in crate::nginx) begin: Timestamp,
    /// End of its validity.
    pub(in crate::nginx) end: Timestamp,
    /// Name of the authority that issued it; may be empty.
    pub(in crate::nginx) issuer: String,
}

impl CertificateMetadata {
    /// Returns true if a self-signed pair stays in use. A pair made before the clock was set, or made in the
    /// future, is replaced, but not while the clock is unset.
    fn is_fresh(&self, now: Timestamp) -> bool {
        if !clock::is_set(now.as_second()) {
            return true;
        }
        let old = self.at.checked_add((SELF_SIGNED_DAYS / 2 * 24).hours()).unwrap_or(self.at);
        clock::is_set(self.at.as_second()) && !clock::is_ahead(self.at.into(), now.into()) && now < old
    }
}

impl CertificatePair {
    pub(in crate::nginx) fn certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    pub(in crate::nginx) fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    /// Returns true if it has not expired at `now`.
    pub(in crate::nginx) fn is_valid(&self, now: Timestamp) -> bool {
        self.read_details().is_some_and(|details| now < details.end)
    }

    /// Returns true in the last third of its validity, and then only in its last 30 days.
    pub(in crate::nginx) fn is_renewal_due(&self, now: Timestamp) -> bool {
        let Some(CertificateDetails { begin, end, .. }) = self.read_details() else { return true };
        let third = end.duration_since(begin) / 3;
        end.duration_since(now) < third.min(SignedDuration::from_hours(RENEWAL_DAYS * 24))
    }

    /// Returns true if both have the same bytes and the same names.
    pub(in crate::nginx) fn has_same_content(&self, other: &Self) -> bool {
        let read = |pair: &Self| Some((fs::read(pair.certificate()).ok()?, fs::read(pair.key()).ok()?));
        let own = read(self);
        self.metadata.names == other.metadata.names && own.is_some() && own == read(other)
    }

    /// Reads the certificate with openssl; `None` if it is not valid.
    pub(in crate::nginx) fn read_details(&self) -> Option<CertificateDetails> {
        let mut openssl = openssl_command().ok()?;
        openssl.args(READ_DETAILS.split(' ')).arg("-in").arg(self.certificate());
        CertificateDetails::parse(&String::from_utf8_lossy(&openssl.output().ok()?.stdout))
    }
}

impl CertificateDetails {
    /// Parses the output of openssl, in which the lines of the issuer are indented and contain no control
    /// characters.
    fn parse(text: &str) -> Option<Self> {
        let time = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        let field = |name: &str| {
            let value =
                |line: &str| Some(line.trim().strip_prefix(name)?.split_once('=')?.1.trim().to_owned());
            text.lines().find_map(value)
        };
        let issuer = field("organizationName").or_else(|| field("commonName")).unwrap_or_default();
        Some(Self {
            begin: time("notBefore=")?,
            end: time("notAfter=")?,
            issuer: issuer.chars().filter(|c| !c.is_control()).collect(),
        })
    }
}

impl AppCertificates {
    pub(in crate::nginx) fn for_app(root: &PikuRoot, app: &AppName) -> Self {
        Self(root.acme().join("certificates").join(app.as_str()))
    }

    /// Returns the pairs for host names that no app has, for an nginx that cannot reject handshakes.
    pub(in crate::nginx) fn for_unknown_hosts(root: &PikuRoot) -> Self {
        Self(root.acme().join("unknown-host"))
    }

    /// Returns the pairs of the status page.
    pub(in crate::nginx) fn for_status_page(root: &PikuRoot) -> Self {
        Self(root.acme().join("status-page"))
    }

    /// Moves all pairs to the directory of another name, in which an earlier app may have left some.
    pub(in crate::nginx) fn rename(&self, to: &Self) -> anyhow::Result<()> {
        if !self.0.is_dir() {
            return Ok(());
        }
        to.remove()?;
        fs::rename(&self.0, &to.0)
            .and_then(|()| atomic_file::sync_parent(&to.0))
            .with_context(|| format!("cannot rename '{}'", self.0.display()))
    }

    pub(in crate::nginx) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the link to the pair in use.
    pub(in crate::nginx) fn current_link(&self) -> PathBuf {
        self.0.join(CURRENT)
    }

    pub(in crate::nginx) fn read_current(&self) -> Option<CertificatePair> {
        let dir = fs::canonicalize(self.current_link()).ok()?;
        let metadata = serde_json::from_slice(&fs::read(dir.join(METADATA)).ok()?).ok()?;
        Some(CertificatePair { dir, metadata })
    }

    /// Returns the pair in use if it fits these names, or a new self-signed one with `title` as its common
    /// name.
    pub(in crate::nginx) fn ensure_for_names(
        &self,
        title: &str,
        names: &[String],
        now: Timestamp,
    ) -> anyhow::Result<CertificatePair> {
        let names: BTreeSet<String> = names.iter().cloned().collect();
        if let Some(pair) = self.read_current() {
            let metadata = &pair.metadata;
            let fits = if metadata.self_signed {
                metadata.names == names && metadata.is_fresh(now)
            } else {
                // Until the next renewal, a certificate for some of the names is better than a self-signed
                // one.
                !metadata.names.is_disjoint(&names)
            };
            if fits && pair.certificate().is_file() && pair.key().is_file() {
                return Ok(pair);
            }
        }
        let metadata = CertificateMetadata { names, self_signed: true, at: now };
        let pair = self.create_pair(&metadata, |pair| create_self_signed(title, pair))?;
        self.set_current(&pair)?;
        Ok(pair)
    }

    /// Creates a pair atomically; `fill` writes both files.
    pub(in crate::nginx) fn create_pair(
        &self,
        metadata: &CertificateMetadata,
        fill: impl FnOnce(&CertificatePair) -> anyhow::Result<()>,
    ) -> anyhow::Result<CertificatePair> {
        current::create_dir(&self.0)?;
        let work = tempfile::Builder::new()
            .prefix(".new.")
            .tempdir_in(&self.0)
            .with_context(|| format!("cannot create a directory in '{}'", self.0.display()))?;
        let new = CertificatePair { dir: work.path().join("pair"), metadata: metadata.clone() };
        current::create_dir(&new.dir)?;
        fill(&new)?;
        for path in [new.certificate(), new.key()] {
            let length =
                fs::metadata(&path).with_context(|| format!("cannot find '{}'", path.display()))?.len();
            ensure!(length > 0, "'{}' is empty", path.display());
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            fs::File::open(&path)?.sync_all()?;
        }
        atomic_file::write(&new.dir.join(METADATA), &serde_json::to_vec(metadata)?, 0o600)?;
        let number = 1 + self.list_numbers()?.last().copied().unwrap_or(0);
        let dir = self.0.join(number.to_string());
        fs::rename(&new.dir, &dir)
            .and_then(|()| atomic_file::sync_parent(&dir))
            .with_context(|| format!("cannot create '{}'", dir.display()))?;
        Ok(CertificatePair { dir, metadata: metadata.clone() })
    }

    pub(in crate::nginx) fn set_current(&self, pair: &CertificatePair) -> anyhow::Result<()> {
        let name = pair.dir.file_name().context("a pair has a name")?;
        let aside = self.0.join(".current");
        current::remove_dir(&aside)?;
        let current = self.current_link();
        symlink(name, &aside)
            .and_then(|()| fs::rename(&aside, &current))
            .and_then(|()| atomic_file::sync_parent(&current))
            .with_context(|| format!("cannot create '{}'", current.display()))
    }

    /// Removes all pairs except the one in use and `keep`.
    pub(in crate::nginx) fn remove_unused(&self, keep: &Path) -> anyhow::Result<()> {
        let current = fs::canonicalize(self.current_link()).ok();
        for number in self.list_numbers()? {
            let dir = self.0.join(number.to_string());
            if Some(&dir) != current.as_ref() && dir != keep {
                current::remove_dir(&dir)?;
            }
        }
        Ok(())
    }

    pub(in crate::nginx) fn remove(&self) -> anyhow::Result<()> {
        current::remove_dir(&self.0)
    }

    fn list_numbers(&self) -> anyhow::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err).with_context(|| format!("cannot list '{}'", self.0.display())),
        };
        let mut numbers: Vec<u64> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

pub(crate) fn openssl_command() -> anyhow::Result<Command> {
    let program = find_program("openssl").ok_or_else(|| {
        UserError::new("openssl is not installed; piku creates certificates with it")
            .hint("sudo apt-get install openssl")
    })?;
    let mut openssl = Command::new(program);
    openssl.env_clear().stdin(Stdio::null());
    Ok(openssl)
}

/// Creates the key and the certificate of a pair.
fn create_self_signed(title: &str, pair: &CertificatePair) -> anyhow::Result<()> {
    let alternative = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => format!("IP:{address}"),
        Err(_) => format!("DNS:{name}"),
    };
    let names: Vec<String> = pair.metadata.names.iter().map(alternative).collect();
    // Host names contain no characters that are special in this file.
    let config = format!(
        "[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = ext\n[dn]\nCN = {title}\n[ext]\n\
         basicConstraints = critical,CA:FALSE\nextendedKeyUsage = serverAuth\nsubjectAltName = {}\n",
        names.join(",")
    );
    let file = pair.dir.join("request");
    fs::write(&file, config)?;
    let mut command = openssl_command()?;
    command.args(SELF_SIGN.split(' ')).arg("-sha256");
    command.args(["-days", &SELF_SIGNED_DAYS.to_string(), "-config"]).arg(&file);
    command.arg("-keyout").arg(pair.key()).arg("-out").arg(pair.certificate());
    let out = command.output().context("cannot run openssl")?;
    if !out.status.success() {
        let message = String::from_utf8_lossy(&out.stderr);
        anyhow::bail!("openssl cannot create a certificate: {}", message.trim());
    }
    current::remove_dir(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_created_once_and_replaced_when_the_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let pairs = AppCertificates::for_app(&root, &app);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let now = Timestamp::now();
        let first = pairs.ensure_for_names("blog", &names(&["a.test", "*.b.test", "10.0.0.1"]), now).unwrap();
        let days = |days: i64| Timestamp::now() + SignedDuration::from_hours(days * 24);
        assert_eq!(first.read_details().unwrap().issuer, "blog");
        assert!(first.is_valid(days(3649)) && !first.is_valid(days(3651)));
        assert!(!first.is_renewal_due(days(3619)) && first.is_renewal_due(days(3621)));
        let again = pairs.ensure_for_names("blog", &names(&["10.0.0.1", "a.test", "*.b.test"]), now).unwrap();
        assert_eq!(first.dir, again.dir);
        let other = pairs.ensure_for_names("blog", &names(&["c.test"]), now).unwrap();
        assert_ne!(first.dir, other.dir);
        pairs.remove_unused(&other.dir).unwrap();
        assert!(!first.dir.exists() && other.dir.exists());

        // A pair from an authority stays while it covers any of the names.
        let metadata = CertificateMetadata { self_signed: false, ..other.metadata.clone() };
        let empty = pairs.create_pair(&metadata, |pair| {
            fs::write(pair.certificate(), "")?;
            Ok(fs::write(pair.key(), "x")?)
        });
        assert!(format!("{:#}", empty.unwrap_err()).contains("is empty"));
        let issued = pairs.create_pair(&metadata, |pair| {
            fs::copy(other.certificate(), pair.certificate())?;
            Ok(fs::copy(other.key(), pair.key()).map(drop)?)
        });
        pairs.set_current(&issued.unwrap()).unwrap();
        let pair = pairs.ensure_for_names("blog", &names(&["c.test", "d.test"]), now).unwrap();
        assert!(!pair.metadata.self_signed);
        // A six-day certificate is due for renewal when a third of its validity is left.
        let brief = pairs.create_pair(&metadata, |pair| {
            let mut make = openssl_command()?;
            make.args(SELF_SIGN.split(' '))
                .args(["-days", "6", "-subj", "/CN=x", "-keyout"])
                .arg(pair.key())
                .arg("-out")
                .arg(pair.certificate());
            assert!(make.output()?.status.success());
            Ok(())
        });
        let brief = brief.unwrap();
        assert!(
            !brief.is_renewal_due(days(3))
                && brief.is_renewal_due(days(5))
                && brief.is_valid(days(5))
                && !brief.is_valid(days(7))
        );
        fs::write(brief.certificate(), "no certificate").unwrap();
        assert!(brief.is_renewal_due(days(0)) && !brief.is_valid(days(0)));
        assert!(pairs.ensure_for_names("blog", &names(&["d.test"]), now).unwrap().metadata.self_signed);
    }

    #[test]
    fn a_pair_made_under_a_wrong_clock_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let pairs = AppCertificates::for_app(&root, &app);
        let at = |time: &str| {
            let now: Timestamp = format!("{time}T12:00:00Z").parse().unwrap();
            pairs.ensure_for_names("blog", &["a.test".to_owned()], now).unwrap().dir
        };
        let first = at("1970-01-01");
        assert_eq!(first, at("1970-01-02"), "the pair stays until the clock is set");
        let second = at("2026-11-28");
        assert_ne!(first, second, "the pair expired long ago");
        assert_eq!(second, at("1970-01-01"), "a boot with an unset clock keeps the pair");
        assert_eq!(second, at("2026-11-27"), "a clock that is set back a little keeps the pair");
        let third = at("2036-11-28");
        assert_ne!(second, third, "the pair is old");
        let fourth = at("2026-11-28");
        assert_ne!(third, fourth, "the pair begins in ten years");
        assert_eq!(fourth, at("2026-11-29"));
    }
}
