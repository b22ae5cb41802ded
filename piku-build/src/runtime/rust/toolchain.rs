//! The installed Rusts, and the one that an app gets: Debian's, and those that rustup installed in the home
//! of the user who builds. A pinned version that is not installed is replaced by the nearest newer one, which
//! compiles what older ones did.

#![expect(clippy::disallowed_methods, reason = "toolchains of the machine")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::{Table, Value};

use super::cross;
use super::manifest::CargoManifest;
use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::runtime::version::{
    PinnedVersion, RequestedVersion, RuntimeVersion, VersionChoice, VersionMatch, nearest,
};
use crate::tree::root_view::is_executable;
use piku_release::target::TargetArchitecture;

/// Prefixes that the jail shows.
const SYSTEM: [&str; 2] = ["/usr/local", "/usr"];
/// Files that pin a toolchain, in rustup's order.
const FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

pub(super) type RustChoice = VersionChoice<InstalledRust>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledRust {
    /// Directory that holds `bin/cargo`.
    pub(super) root: PathBuf,
    pub(super) version: RuntimeVersion,
    pub(super) nightly: bool,
    /// The jail shows it without a mount.
    pub(super) shown: bool,
}

impl InstalledRust {
    /// Returns whether it is rustup's toolchain of this name: `beta`, `nightly-2026-01-01`, a custom one.
    fn is_called(&self, name: &str) -> bool {
        let own = self.root.file_name().unwrap_or_default().to_string_lossy();
        !self.shown && own.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_target(rest))
    }
}

/// Returns whether the text is `-x86_64-unknown-linux-gnu` and not `-2026-01-01-x86_64-unknown-linux-gnu`.
fn is_target(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Chooses the Rust for the app.
///
/// # Errors
/// Fails if no Rust is installed, or none that is new enough.
pub(super) fn choose(
    source: &AppSource,
    manifest: &CargoManifest,
    target: Option<&TargetArchitecture>,
) -> anyhow::Result<RustChoice> {
    let mut installed = list_installed();
    if let Some(target) = target {
        let builds_for = |rust: &InstalledRust| cross::builds_for(&rust.root, target);
        // If none does, the error says what the chosen one lacks.
        if installed.iter().any(builds_for) {
            installed.retain(builds_for);
        }
    }
    pick(&installed, read_channel(source)?, manifest.rust_version.as_deref())
}

/// Reads the toolchain that the app pins.
fn read_channel(source: &AppSource) -> anyhow::Result<Option<RequestedVersion>> {
    for file in FILES {
        let Some(text) = source.read_bytes(file)? else { continue };
        let text = decode(&text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if !line.contains(['[', '=']) && file == FILES[0] {
            return Ok(Some(RequestedVersion::new(line, file)));
        }
        let table: Table =
            toml::from_str(&text).map_err(|err| errors::rust::bad_file(Path::new(file), &err.to_string()))?;
        let channel =
            table.get("toolchain").and_then(|toolchain| toolchain.get("channel")).and_then(Value::as_str);
        return Ok(channel.map(|channel| RequestedVersion::new(channel, file)));
    }
    Ok(None)
}

/// Picks from `installed`, which is sorted, the newest first. `oldest` is the `rust-version` of the packages.
fn pick(
    installed: &[InstalledRust],
    channel: Option<RequestedVersion>,
    oldest: Option<&str>,
) -> anyhow::Result<RustChoice> {
    let stable: Vec<_> = installed.iter().filter(|rust| !rust.nightly).cloned().collect();
    let newest = stable.first().or(installed.first()).ok_or_else(errors::rust::no_rust)?;
    let versions = || installed.iter().map(|rust| rust.version).collect::<Vec<_>>();
    let mut warnings = Vec::new();
    let (rust, from) = match channel {
        None => (newest, "the machine's rustc".to_owned()),
        Some(requested) => {
            let (rust, is_met) = match parse_version(&requested.text) {
                Some(version) => {
                    let parts = requested.text.split('.').count().min(3);
                    let pinned = PinnedVersion { version, parts };
                    let compare = |version| pinned.matches_or_newer(version);
                    let (rust, matched) = nearest(&stable, |rust| rust.version, compare)
                        .ok_or_else(|| errors::rust::too_old(&requested, &versions()))?;
                    (rust, matched == VersionMatch::Exact)
                }
                None => find_named(installed, newest, &requested.text),
            };
            warnings.extend((!is_met).then(|| requested.substitution("Rust", rust.version)));
            (rust, requested.from)
        }
    };
    if let Some(text) = oldest.filter(|text| parse_version(text).is_some_and(|oldest| rust.version < oldest))
    {
        let requested = RequestedVersion::new(text, "rust-version in Cargo.toml");
        return Err(errors::rust::too_old(&requested, &versions()).into());
    }
    Ok(RustChoice { installed: rust.clone(), from, warnings })
}

/// Finds the toolchain of a name, `stable`, `nightly-2026-01-01`, and returns whether it is that one.
fn find_named<'a>(
    installed: &'a [InstalledRust],
    newest: &'a InstalledRust,
    name: &str,
) -> (&'a InstalledRust, bool) {
    if name == "stable" {
        return (newest, true);
    }
    if let Some(rust) = installed.iter().find(|rust| rust.is_called(name)) {
        return (rust, true);
    }
    // A nightly of another day has the features that a stable one refuses.
    match installed.iter().find(|rust| rust.nightly && name.starts_with("nightly")) {
        Some(rust) => (rust, name == "nightly"),
        None => (newest, false),
    }
}

/// Parses `1.85`, `1.85.1`, `1.95.0-nightly`.
pub(super) fn parse_version(text: &str) -> Option<RuntimeVersion> {
    RuntimeVersion::padded(text.trim().split('-').next()?)
}

/// Lists the installed Rusts, the newest first.
fn list_installed() -> Vec<InstalledRust> {
    let system = SYSTEM.iter().map(|root| (PathBuf::from(root), true));
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let own =
        home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()).into_iter().flatten().flatten();
    let own = own.map(|entry| (entry.path(), false));
    let mut found: Vec<InstalledRust> =
        system.chain(own).filter_map(|(root, shown)| inspect(root, shown)).collect();
    found.sort_by(|one, other| other.version.cmp(&one.version).then(other.shown.cmp(&one.shown)));
    found
}

fn inspect(root: PathBuf, shown: bool) -> Option<InstalledRust> {
    let (cargo, rustc) = (root.join("bin/cargo"), root.join("bin/rustc"));
    // The proxy of rustup runs toolchains in a home that the jail does not show.
    let is_proxy =
        fs::canonicalize(&cargo).is_ok_and(|real| real.file_name().is_some_and(|name| name == "rustup"));
    if !is_executable(&cargo) || !is_executable(&rustc) || is_proxy {
        return None;
    }
    let out = Command::new(&rustc).arg("--version").env_clear().stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let text = text.split_whitespace().nth(1)?;
    Some(InstalledRust { root, version: parse_version(text)?, nightly: text.contains("nightly"), shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(versions: &[&str]) -> Vec<InstalledRust> {
        let one = |text: &&str| InstalledRust {
            root: format!(
                "/home/.rustup/toolchains/{}-x86_64-unknown-linux-gnu",
                text.split(' ').next().unwrap()
            )
            .into(),
            version: parse_version(text.split(' ').next_back().unwrap()).unwrap(),
            nightly: text.contains("nightly"),
            shown: !text.contains(' '),
        };
        versions.iter().map(one).collect()
    }

    fn picked(channel: &str, least: Option<&str>) -> anyhow::Result<(String, usize)> {
        let channel = (!channel.is_empty()).then(|| RequestedVersion::new(channel, "rust-toolchain.toml"));
        let choice = pick(
            &there(&["nightly 1.96.0", "nightly-2025-12-01 1.93.0", "1.95.0", "fork 1.90.0", "1.85.1"]),
            channel,
            least,
        )?;
        Ok((choice.installed.version.to_string(), choice.warnings.len()))
    }

    #[test]
    fn what_is_pinned_and_what_will_do() {
        for (channel, version, warnings) in [
            ("", "1.95.0", 0),
            ("stable", "1.95.0", 0),
            ("1.85", "1.85.1", 0),
            ("1.85.1", "1.85.1", 0),
            ("1.85.0", "1.85.1", 1),
            ("1.70", "1.85.1", 1),
            ("1.85.2", "1.90.0", 1),
            ("nightly", "1.96.0", 0),
            ("nightly-2025-12-01", "1.93.0", 0),
            ("nightly-2026-01-01", "1.96.0", 1),
            ("fork", "1.90.0", 0),
            ("beta", "1.95.0", 1),
        ] {
            assert_eq!(picked(channel, None).unwrap(), (version.to_owned(), warnings), "{channel}");
        }
        assert!(picked("1.99", None).unwrap_err().to_string().contains("1.95.0"));
        assert!(picked("", Some("1.97")).is_err());
        assert!(picked("", Some("1.90")).is_ok());
        assert!(pick(&[], None, None).is_err());
    }
}
