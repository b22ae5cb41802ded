//! Receives releases that another host has built (see `distribute`), in six requests, so that a lost
//! connection costs only the rest of one of them:
//!
//! - `release:machine APP`: prints the platform of this host as JSON, for which the sender builds, and why it would
//!   refuse a release.
//! - `release:offer APP`: reads the manifest of the release from stdin. Refuses a release that cannot run
//!   here; otherwise prints the missing layers as JSON.
//! - `release:take APP SHA256 BYTES`: prints how many bytes of the part are here and reads the rest from
//!   stdin. An incomplete part is kept.
//! - `release:front APP`: reads the key of the app's front from stdin, if the sender has one.
//! - `release:deploy APP SHA256…`: unpacks the parts in this order and deploys the release, as a push does.
//!   Prints the live release as JSON.
//! - `release:undo APP NUMBER`: rolls back from this release, if it is live.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that the app's directory exists, which only piku makes"
)]

mod deploy;
mod front_key;
mod part;
mod undo;

use std::fmt;
use std::process::Stdio;

use anyhow::Context;
use piku_layout::deploys::deploy_lock;
use piku_layout::settings::HostSettings;
use piku_report::output;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::app_context::AppContext;
use crate::child_env::exit_code;
use crate::limits::IntakeLimit;
use crate::repository::create;

pub(crate) use deploy::deploy_release as deploy;
pub(crate) use front_key::store_front_key;
pub(crate) use part::receive_part as take;
pub(crate) use undo::{go_back, undo_release as undo};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReleaseStep {
    /// Print the platform of this host.
    Machine,
    /// Check that the release can run here and print the missing layers.
    Offer,
    Take(PartName),
    /// Store the key of the front.
    Front,
    /// Deploy the release in these parts.
    Deploy(Vec<Sha256Hex>),
    /// Roll back from the release with this number.
    Undo(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    /// Hash of the packed bytes.
    pub(crate) sha256: Sha256Hex,
    pub(crate) bytes: u64,
}

/// A SHA-256 in 64 hex digits, which is a safe file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sha256Hex(String);

/// Largest number of parts, more than any release has.
const MOST_PARTS: usize = 100;

impl ReleaseStep {
    /// Parses the arguments after the app's name.
    ///
    /// # Errors
    /// With a message that lists the valid steps.
    pub(crate) fn parse(step: &str, words: &[String]) -> Result<Self, String> {
        match (step, words) {
            ("machine", []) => Ok(Self::Machine),
            ("offer", []) => Ok(Self::Offer),
            ("take", [sha256, bytes]) => Ok(Self::Take(PartName {
                sha256: sha256.parse()?,
                bytes: bytes.parse().map_err(|_| "BYTES is not a number".to_owned())?,
            })),
            ("front", []) => Ok(Self::Front),
            ("deploy", parts) if (1..=MOST_PARTS).contains(&parts.len()) => {
                parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().map(Self::Deploy)
            }
            ("undo", [number]) => {
                number.parse().map(Self::Undo).map_err(|_| "NUMBER is not a number".to_owned())
            }
            _ => Err("expected machine APP, offer APP, take APP SHA256 BYTES, front APP, deploy APP SHA256…, or undo APP NUMBER"
                .to_owned()),
        }
    }

    /// Returns the verb for the audit log.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Machine => "release:machine",
            Self::Offer => "release:offer",
            Self::Take(_) => "release:take",
            Self::Front => "release:front",
            Self::Deploy(_) => "release:deploy",
            Self::Undo(_) => "release:undo",
        }
    }
}

impl std::str::FromStr for Sha256Hex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err("a SHA-256 is 64 hex digits".to_owned()) }
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Response of `release:deploy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployedRelease {
    pub(crate) release: u64,
}

/// Returns an error for a program that has printed the reason itself.
fn failed_command(what: &str, code: Option<i32>) -> UserError {
    let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    UserError::new(format!("{what} failed")).code(code.unwrap_or(1))
}

/// `release:machine`: prints the answer of `piku-build machine`, and in `refuses` why a release of the app would be
/// refused, so that none is built in vain. Returns the exit code.
pub(crate) fn print_machine(context: &AppContext<'_>) -> anyhow::Result<u8> {
    let mut build = context.command("piku-build")?;
    build.args(["machine", "--format", "json", "--settings"]).arg(context.root.settings());
    let out = build.stderr(Stdio::inherit()).output().context("cannot run 'piku-build machine'")?;
    if !out.status.success() {
        return Ok(exit_code(out.status));
    }
    let mut answer: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&out.stdout).context("'piku-build machine' has printed no object")?;
    if let Err(err) = check_ready(context) {
        answer.insert("refuses".to_owned(), format!("{err:#}").into());
    }
    output::write(format!("{}\n", serde_json::Value::Object(answer)).as_bytes())?;
    Ok(0)
}

/// Checks what does not depend on the release.
fn check_ready(context: &AppContext<'_>) -> anyhow::Result<()> {
    create::check_name(context)?;
    deploy_lock::check_unlocked(context.app, &context.dir())?;
    let settings = HostSettings::read(&context.root.settings())?;
    let app = context.dir();
    let dir = if app.path().exists() { app.path() } else { context.root.path() };
    IntakeLimit::read_limit(&settings, dir, 1)?.check_bytes(1)?;
    Ok(())
}

/// `release:offer`: runs `piku-build fits` and returns its exit code.
pub(crate) fn print_missing_layers(context: &AppContext<'_>) -> anyhow::Result<u8> {
    create::check_name(context)?;
    // Before anything is sent in vain.
    deploy_lock::check_unlocked(context.app, &context.dir())?;
    let mut build = context.command("piku-build")?;
    build
        .args(["fits", "--format", "json", "--app", context.app.as_str(), "--layers"])
        .arg(context.dir().layers());
    let status = build
        .arg("--settings")
        .arg(context.root.settings())
        .status()
        .context("cannot run 'piku-build fits'")?;
    Ok(exit_code(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReleaseStep, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        ReleaseStep::parse(&words[0], &words[1..])
    }

    #[test]
    fn steps_are_told_by_their_words() {
        let sum = "0a".repeat(32);
        assert_eq!(parse("machine"), Ok(ReleaseStep::Machine));
        assert_eq!(parse("offer"), Ok(ReleaseStep::Offer));
        assert_eq!(parse("front"), Ok(ReleaseStep::Front));
        assert!(matches!(
            parse(&format!("take {sum} 17")),
            Ok(ReleaseStep::Take(PartName { bytes: 17, .. }))
        ));
        assert!(
            matches!(parse(&format!("deploy {sum} {sum}")), Ok(ReleaseStep::Deploy(parts)) if parts.len() == 2)
        );
        assert_eq!(parse("undo 7"), Ok(ReleaseStep::Undo(7)));
        for bad in [
            "machine x",
            "offer x",
            "front x",
            "take x 1",
            "deploy",
            "deploy ../../x",
            "undo",
            "undo -1",
            "shell",
            "take",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("take {sum} -1")).is_err());
        assert!(parse(&format!("deploy{}", format!(" {sum}").repeat(101))).is_err());
    }
}
