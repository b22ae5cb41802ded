//! Releases that another machine has built come in here, in five requests of the sender (`ship`), each a session of its own, so
//! that a line that breaks costs nothing but the rest of one of them:
//!
//! - `release:machine APP`: what this machine is, as JSON, for the sender to build for.
//! - `release:offer APP`: the head of the release on stdin; refused where it would not run here, else the layers that are not
//!   here, as JSON.
//! - `release:take APP SHA256 BYTES`: one packed part. Says on a line how many of its bytes are here, then takes the rest from
//!   stdin; kept when the line breaks.
//! - `release:deploy APP SHA256…`: unpacks the parts in this order and deploys the release, as a push does. Says as JSON what is
//!   live then.
//! - `release:undo APP NUMBER`: goes back from this release to the one before it, if it is live.

mod deploy;
mod part;
mod undo;

use std::fmt;

use anyhow::Context;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::app_context::AppContext;
use crate::child_env::exit_code;

pub(crate) use deploy::run as deploy;
pub(crate) use part::run as take;
pub(crate) use undo::{go_back, run as undo};

/// A step that the sender asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReleaseStep {
    /// Say what this machine is.
    Machine,
    /// Would it run here, and what is not here yet?
    Offer,
    /// Take a part.
    Take(PartName),
    /// Deploy what these parts make.
    Deploy(Vec<Sha256Hex>),
    /// Go back from this release.
    Undo(u64),
}

/// A part's hash and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    /// The hash of its bytes as they are sent.
    pub(crate) sha256: Sha256Hex,
    /// How many they are.
    pub(crate) bytes: u64,
}

/// A SHA-256: 64 hex digits, and so a good name for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sha256Hex(String);

/// More parts than any release has.
const MOST_PARTS: usize = 100;

impl ReleaseStep {
    /// The words of a request behind the app's name; the error says what is expected.
    ///
    /// # Errors
    /// When there are others, or no such step.
    pub(crate) fn parse(step: &str, words: &[String]) -> Result<Self, String> {
        match (step, words) {
            ("machine", []) => Ok(Self::Machine),
            ("offer", []) => Ok(Self::Offer),
            ("take", [sha256, bytes]) => Ok(Self::Take(PartName {
                sha256: sha256.parse()?,
                bytes: bytes.parse().map_err(|_| "BYTES is no number".to_owned())?,
            })),
            ("deploy", parts) if (1..=MOST_PARTS).contains(&parts.len()) => {
                parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().map(Self::Deploy)
            }
            ("undo", [number]) => {
                number.parse().map(Self::Undo).map_err(|_| "NUMBER is no number".to_owned())
            }
            _ => Err("expected machine APP, offer APP, take APP SHA256 BYTES, deploy APP SHA256…, or undo APP NUMBER"
                .to_owned()),
        }
    }

    /// What the audit log calls it.
    #[must_use]
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Machine => "release:machine",
            Self::Offer => "release:offer",
            Self::Take(_) => "release:take",
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

/// What `release:deploy` says when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployedRelease {
    /// The release that is live now.
    pub(crate) release: u64,
}

/// The failure of a program that has said itself why.
fn failed(what: &str, code: Option<i32>) -> UserError {
    let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    UserError::new(format!("{what} failed")).code(code.unwrap_or(1))
}

/// `release:machine`: prints what this machine is, and returns the exit code of `piku-build machine`.
pub(crate) fn machine(place: &AppContext<'_>) -> anyhow::Result<u8> {
    let mut build = place.command("piku-build")?;
    build.args(["machine", "--format", "json", "--settings"]).arg(place.root.settings());
    let status = build.status().context("cannot run 'piku-build machine'")?;
    Ok(exit_code(status))
}

/// `release:offer`: prints which layers are missing here, and returns the exit code of `piku-build fits`.
pub(crate) fn offer(place: &AppContext<'_>) -> anyhow::Result<u8> {
    let mut build = place.command("piku-build")?;
    build
        .args(["fits", "--format", "json", "--app", place.app.as_str(), "--layers"])
        .arg(place.dir().layers());
    let status = build
        .arg("--settings")
        .arg(place.root.settings())
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
