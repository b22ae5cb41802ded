//! Certificates and their keys. A pair is a folder that is made once and never written again; a link says which one is in
//! use. Whoever has none gets one that is self-signed, at once and without asking anybody.

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

use super::program;
use crate::releases::current;

/// For how many days a self-signed one is good; it is replaced long before.
const SELF_SIGNED_DAYS: i64 = 3650;

/// How many days before its end a certificate of an authority's is replaced, at the earliest.
const DAYS_LEFT: i64 = 30;

/// The link to the pair in use.
const CURRENT: &str = "current";

/// An app's pairs.
#[derive(Debug, Clone)]
pub(super) struct AppCertificates(PathBuf);

/// A certificate with its chain, and its key.
#[derive(Debug, Clone)]
pub(super) struct CertificatePair {
    pub(super) dir: PathBuf,
    pub(super) about: PairFacts,
}

/// What is known of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PairFacts {
    /// The host names that it is for.
    pub(super) names: BTreeSet<String>,
    /// Whether nobody has vouched for it.
    pub(super) self_signed: bool,
    /// When it was made.
    pub(super) at: Timestamp,
}

impl PairFacts {
    /// Whether a self-signed pair goes on being used. One of a time when nobody had set the clock, and one of a time that has yet
    /// to come, give way to another; but not while the clock is not set.
    fn is_fresh(&self, now: Timestamp) -> bool {
        if !clock::is_set(now.as_second()) {
            return true;
        }
        let old = self.at.checked_add((SELF_SIGNED_DAYS / 2 * 24).hours()).unwrap_or(self.at);
        clock::is_set(self.at.as_second()) && !clock::is_ahead(self.at.into(), now.into()) && now < old
    }
}

impl CertificatePair {
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    fn about(&self) -> PathBuf {
        self.dir.join("about.json")
    }

    /// Whether it is good at `now`.
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        self.life().is_some_and(|(_, end)| now < end)
    }

    /// Whether another is to be got: the last third of its life has begun, and its last 30 days.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let Some((begin, end)) = self.life() else { return true };
        let third = end.duration_since(begin) / 3;
        end.duration_since(now) < third.min(SignedDuration::from_hours(DAYS_LEFT * 24))
    }

    /// Whether both are byte for byte the same, and for the same names.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        let read = |pair: &Self| Some((fs::read(pair.certificate()).ok()?, fs::read(pair.key()).ok()?));
        let own = read(self);
        self.about.names == other.about.names && own.is_some() && own == read(other)
    }

    /// From when to when it is good.
    fn life(&self) -> Option<(Timestamp, Timestamp)> {
        let mut openssl = openssl().ok()?;
        openssl.args(["x509", "-noout", "-startdate", "-enddate", "-dateopt", "iso_8601", "-in"]);
        let said = String::from_utf8(openssl.arg(self.certificate()).output().ok()?.stdout).ok()?;
        let time = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        Some((time("notBefore=")?, time("notAfter=")?))
    }
}

impl AppCertificates {
    pub(super) fn of(root: &PikuRoot, app: &AppName) -> Self {
        Self(root.acme().join("certificates").join(app.as_str()))
    }

    /// The pair for hosts that no app has, where nginx needs one.
    pub(super) fn of_strangers(root: &PikuRoot) -> Self {
        Self(root.acme().join("unknown-host"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The pair in use.
    pub(super) fn current(&self) -> Option<CertificatePair> {
        let dir = fs::canonicalize(self.0.join(CURRENT)).ok()?;
        let about = serde_json::from_slice(&fs::read(dir.join("about.json")).ok()?).ok()?;
        Some(CertificatePair { dir, about })
    }

    /// The pair with these names: the one in use, or a new self-signed one that is called `title`.
    pub(super) fn for_names(
        &self,
        title: &str,
        names: &[String],
        now: Timestamp,
    ) -> anyhow::Result<CertificatePair> {
        let names: BTreeSet<String> = names.iter().cloned().collect();
        if let Some(pair) = self.current() {
            let about = &pair.about;
            let fits = if about.self_signed {
                about.names == names && about.is_fresh(now)
            } else {
                // Others are left out until the next one comes: better for some of the names than for none.
                !about.names.is_disjoint(&names)
            };
            if fits && pair.certificate().is_file() && pair.key().is_file() {
                return Ok(pair);
            }
        }
        let pair =
            self.add(&PairFacts { names, self_signed: true, at: now }, |pair| self_signed(title, pair))?;
        self.set_current(&pair)?;
        Ok(pair)
    }

    /// A new pair, whole or not there; `fill` writes both files.
    pub(super) fn add(
        &self,
        about: &PairFacts,
        fill: impl FnOnce(&CertificatePair) -> anyhow::Result<()>,
    ) -> anyhow::Result<CertificatePair> {
        current::make(&self.0)?;
        let work =
            tempfile::Builder::new().prefix(".new.").tempdir_in(&self.0).context("cannot make a folder")?;
        let new = CertificatePair { dir: work.path().join("pair"), about: about.clone() };
        current::make(&new.dir)?;
        fill(&new)?;
        for path in [new.certificate(), new.key()] {
            let length =
                fs::metadata(&path).with_context(|| format!("there is no '{}'", path.display()))?.len();
            ensure!(length > 0, "'{}' is empty", path.display());
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            fs::File::open(&path)?.sync_all()?;
        }
        atomic_file::write(&new.about(), &serde_json::to_vec(about)?, 0o600)?;
        let number = 1 + self.numbers()?.last().copied().unwrap_or(0);
        let dir = self.0.join(number.to_string());
        fs::rename(&new.dir, &dir)
            .and_then(|()| atomic_file::sync_parent(&dir))
            .with_context(|| format!("cannot make '{}'", dir.display()))?;
        Ok(CertificatePair { dir, about: about.clone() })
    }

    /// Makes a pair the one in use.
    pub(super) fn set_current(&self, pair: &CertificatePair) -> anyhow::Result<()> {
        let name = pair.dir.file_name().context("a pair has a name")?;
        let aside = self.0.join(".current");
        current::remove(&aside)?;
        let current = self.0.join(CURRENT);
        symlink(name, &aside)
            .and_then(|()| fs::rename(&aside, &current))
            .and_then(|()| atomic_file::sync_parent(&current))
            .with_context(|| format!("cannot make '{}'", current.display()))
    }

    /// Removes all pairs but the one in use and this one.
    pub(super) fn tidy(&self, keep: &Path) -> anyhow::Result<()> {
        let current = fs::canonicalize(self.0.join(CURRENT)).ok();
        for number in self.numbers()? {
            let dir = self.0.join(number.to_string());
            if Some(&dir) != current.as_ref() && dir != keep {
                current::remove(&dir)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        current::remove(&self.0)
    }

    fn numbers(&self) -> anyhow::Result<Vec<u64>> {
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

pub(super) fn openssl() -> anyhow::Result<Command> {
    let program = program::find("openssl").ok_or_else(|| {
        UserError::new("openssl is not installed; it makes the certificates")
            .hint("sudo apt-get install openssl")
    })?;
    let mut openssl = Command::new(program);
    openssl.env_clear().stdin(Stdio::null());
    Ok(openssl)
}

/// Makes both files.
fn self_signed(title: &str, pair: &CertificatePair) -> anyhow::Result<()> {
    let alternative = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => format!("IP:{address}"),
        Err(_) => format!("DNS:{name}"),
    };
    let names: Vec<String> = pair.about.names.iter().map(alternative).collect();
    // Host names have none of the characters that mean something here.
    let config = format!(
        "[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = ext\n[dn]\nCN = {title}\n[ext]\n\
         basicConstraints = critical,CA:FALSE\nextendedKeyUsage = serverAuth\nsubjectAltName = {}\n",
        names.join(",")
    );
    let file = pair.dir.join("request");
    fs::write(&file, config)?;
    let mut command = openssl()?;
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-sha256",
    ]);
    command.args(["-days", &SELF_SIGNED_DAYS.to_string(), "-config"]).arg(&file);
    command.arg("-keyout").arg(pair.key()).arg("-out").arg(pair.certificate());
    let out = command.output().context("cannot run openssl")?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        anyhow::bail!("openssl made no certificate: {}", said.trim());
    }
    current::remove(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_and_another_when_the_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let all = AppCertificates::of(&root, &app);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let now = Timestamp::now();
        let one = all.for_names("blog", &names(&["a.test", "*.b.test", "10.0.0.1"]), now).unwrap();
        let days = |days: i64| Timestamp::now() + SignedDuration::from_hours(days * 24);
        assert!(one.is_good(days(3649)) && !one.is_good(days(3651)));
        assert!(!one.is_due(days(3619)) && one.is_due(days(3621)));
        let again = all.for_names("blog", &names(&["10.0.0.1", "a.test", "*.b.test"]), now).unwrap();
        assert_eq!(one.dir, again.dir);
        let other = all.for_names("blog", &names(&["c.test"]), now).unwrap();
        assert_ne!(one.dir, other.dir);
        all.tidy(&other.dir).unwrap();
        assert!(!one.dir.exists() && other.dir.exists());

        // One that somebody has vouched for stays while it is good for any of the names.
        let about = PairFacts { self_signed: false, ..other.about.clone() };
        let empty = all.add(&about, |pair| {
            fs::write(pair.certificate(), "")?;
            Ok(fs::write(pair.key(), "x")?)
        });
        assert!(format!("{:#}", empty.unwrap_err()).contains("is empty"));
        let vouched = all.add(&about, |pair| {
            fs::copy(other.certificate(), pair.certificate())?;
            Ok(fs::copy(other.key(), pair.key()).map(drop)?)
        });
        all.set_current(&vouched.unwrap()).unwrap();
        let pair = all.for_names("blog", &names(&["c.test", "d.test"]), now).unwrap();
        assert!(!pair.about.self_signed);
        // One of six days is replaced when a third of them is left.
        let brief = all.add(&about, |pair| {
            let mut make = openssl()?;
            make.args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "6",
            ]);
            make.args(["-subj", "/CN=x", "-keyout"]).arg(pair.key()).arg("-out").arg(pair.certificate());
            assert!(make.output()?.status.success());
            Ok(())
        });
        let brief = brief.unwrap();
        assert!(
            !brief.is_due(days(3))
                && brief.is_due(days(5))
                && brief.is_good(days(5))
                && !brief.is_good(days(7))
        );
        fs::write(brief.certificate(), "no certificate").unwrap();
        assert!(brief.is_due(days(0)) && !brief.is_good(days(0)));
        assert!(all.for_names("blog", &names(&["d.test"]), now).unwrap().about.self_signed);
    }

    #[test]
    fn another_one_is_made_when_the_clock_was_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let all = AppCertificates::of(&root, &app);
        let at = |time: &str| {
            let now: Timestamp = format!("{time}T12:00:00Z").parse().unwrap();
            all.for_names("blog", &["a.test".to_owned()], now).unwrap().dir
        };
        let first = at("1970-01-01");
        assert_eq!(first, at("1970-01-02"), "one is enough until the clock is set");
        let second = at("2026-11-28");
        assert_ne!(first, second, "it has ended long ago");
        assert_eq!(second, at("1970-01-01"), "the next boot needs no other");
        assert_eq!(second, at("2026-11-27"), "neither does a clock that is set back a little");
        let third = at("2036-11-28");
        assert_ne!(second, third, "it is old");
        let fourth = at("2026-11-28");
        assert_ne!(third, fourth, "it begins in ten years");
        assert_eq!(fourth, at("2026-11-29"));
    }
}
