//! The machine's Rusts, and which of them an app gets: Debian's, and those that rustup has put into the home of the user who
//! builds. What the app pins is met exactly where it is there, else by the newest, which compiles what older ones did.

#![expect(clippy::disallowed_methods, reason = "toolchains of the machine")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::{Table, Value};

use super::cross;
use super::manifest::CargoManifest;
use super::version;
use crate::app::app_source::{AppSource, decode};
use crate::explain;
use crate::runtime::version::RuntimeVersion;
use crate::target::TargetArchitecture;
use crate::tree::root_view::runs;

/// Those that the jail shows.
const SYSTEM: [&str; 2] = ["/usr/local", "/usr"];
/// The files that pin one, in rustup's order.
const FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

/// One Rust of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledRust {
    /// The folder with `bin/cargo`.
    pub(super) root: PathBuf,
    pub(super) version: RuntimeVersion,
    /// Whether it is a nightly.
    pub(super) nightly: bool,
    /// Whether the jail shows it by itself.
    pub(super) shown: bool,
}

impl InstalledRust {
    /// Whether it is rustup's toolchain of this name: `beta`, `nightly-2026-01-01`, one that its owner has named.
    fn is_called(&self, name: &str) -> bool {
        let own = self.root.file_name().unwrap_or_default().to_string_lossy();
        !self.shown && own.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_target(rest))
    }
}

/// `-x86_64-unknown-linux-gnu`, and not `-2026-01-01-x86_64-unknown-linux-gnu`.
fn is_target(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What an app gets.
#[derive(Debug)]
pub(super) struct RustChoice {
    pub(super) installed: InstalledRust,
    pub(super) from: String,
    pub(super) warnings: Vec<String>,
}

/// Finds the Rust that the app asks for.
///
/// # Errors
/// When there is none, or none that is new enough.
pub(super) fn choose(
    source: &AppSource,
    manifest: &CargoManifest,
    target: Option<&TargetArchitecture>,
) -> anyhow::Result<RustChoice> {
    let mut there = installed();
    if let Some(target) = target {
        let builds_for = |one: &InstalledRust| cross::builds_for(&one.root, target);
        // Where none does, the one that is chosen says what it lacks.
        if there.iter().any(builds_for) {
            there.retain(builds_for);
        }
    }
    let least = manifest.rust_version.as_deref();
    pick(&there, channel(source)?, least.and_then(|text| Some((text, version::parse(text)?))))
}

/// What is pinned, and where.
fn channel(source: &AppSource) -> anyhow::Result<Option<(String, String)>> {
    for file in FILES {
        let Some(text) = source.text(file)? else { continue };
        let text = decode(&text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if !line.contains(['[', '=']) && file == FILES[0] {
            return Ok(Some((line.to_owned(), file.to_owned())));
        }
        let table: Table = toml::from_str(&text)
            .map_err(|err| explain::rust::bad_file(Path::new(file), &err.to_string()))?;
        let channel =
            table.get("toolchain").and_then(|toolchain| toolchain.get("channel")).and_then(Value::as_str);
        return Ok(channel.map(|channel| (channel.to_owned(), file.to_owned())));
    }
    Ok(None)
}

/// `there` is newest first.
fn pick(
    there: &[InstalledRust],
    channel: Option<(String, String)>,
    least: Option<(&str, RuntimeVersion)>,
) -> anyhow::Result<RustChoice> {
    let stable = there.iter().find(|one| !one.nightly).or(there.first());
    let newest = stable.ok_or_else(explain::rust::no_rust)?;
    let mut warnings = Vec::new();
    let (installed, from) = match channel {
        None => (newest, "the machine's rustc".to_owned()),
        Some((text, from)) => {
            let exact = match version::parse(&text) {
                Some(asked) => there.iter().find(|one| !one.nightly && fits(one.version, asked, &text)),
                None if text == "stable" => Some(newest),
                None => there
                    .iter()
                    .find(|one| one.is_called(&text))
                    .or_else(|| there.iter().find(|one| one.nightly && text == "nightly")),
            };
            let too_old = version::parse(&text).is_some_and(|asked| newest.version < asked);
            match exact {
                Some(exact) => (exact, from),
                None if too_old => return Err(explain::rust::too_old(&text, &from, &versions(there)).into()),
                None => {
                    // A nightly of another day has what a stable one refuses.
                    let nightly = there.iter().find(|one| one.nightly && text.starts_with("nightly-"));
                    let nearest = nightly.unwrap_or(newest);
                    warnings.push(format!(
                        "{from} asks for Rust {text}, which is not on this machine: {} builds it instead",
                        nearest.version
                    ));
                    (nearest, from)
                }
            }
        }
    };
    if let Some((text, least)) = least.filter(|(_, least)| installed.version < *least) {
        let _ = least;
        return Err(explain::rust::too_old(text, "rust-version in Cargo.toml", &versions(there)).into());
    }
    Ok(RustChoice { installed: installed.clone(), from, warnings })
}

/// `1.85` is any 1.85.
fn fits(version: RuntimeVersion, asked: RuntimeVersion, text: &str) -> bool {
    let parts = text.split('.').count().min(3);
    version.0[..parts] == asked.0[..parts]
}

fn versions(there: &[InstalledRust]) -> Vec<String> {
    there.iter().map(|one| one.version.to_string()).collect()
}

/// All of them, newest first.
fn installed() -> Vec<InstalledRust> {
    let system = SYSTEM.iter().map(|root| (PathBuf::from(root), true));
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let own =
        home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()).into_iter().flatten().flatten();
    let own = own.map(|entry| (entry.path(), false));
    let mut found: Vec<InstalledRust> =
        system.chain(own).filter_map(|(root, shown)| look(root, shown)).collect();
    found.sort_by(|one, other| other.version.cmp(&one.version).then(other.shown.cmp(&one.shown)));
    found
}

/// Asks a Rust for its version.
fn look(root: PathBuf, shown: bool) -> Option<InstalledRust> {
    let (cargo, rustc) = (root.join("bin/cargo"), root.join("bin/rustc"));
    // rustup's own stands for toolchains in a home that the jail does not show.
    let is_proxy =
        fs::canonicalize(&cargo).is_ok_and(|real| real.file_name().is_some_and(|name| name == "rustup"));
    if !runs(&cargo) || !runs(&rustc) || is_proxy {
        return None;
    }
    let out = Command::new(&rustc).arg("--version").env_clear().stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let text = text.split_whitespace().nth(1)?;
    Some(InstalledRust { root, version: version::parse(text)?, nightly: text.contains("nightly"), shown })
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
            version: version::parse(text.split(' ').next_back().unwrap()).unwrap(),
            nightly: text.contains("nightly"),
            shown: !text.contains(' '),
        };
        versions.iter().map(one).collect()
    }

    fn picked(channel: &str, least: Option<&str>) -> anyhow::Result<(String, usize)> {
        let channel = (!channel.is_empty()).then(|| (channel.to_owned(), "rust-toolchain.toml".to_owned()));
        let least = least.map(|text| (text, version::parse(text).unwrap()));
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
            ("1.85.0", "1.95.0", 1),
            ("1.70", "1.95.0", 1),
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
