//! The machine's Gos, and which of them an app gets. A newer Go builds what an older one built, so the newest that is there
//! will do unless the app asks for a newer one still, which Go since 1.21 fetches through the module proxy, or for this one
//! exactly.

#![expect(clippy::disallowed_methods, reason = "toolchains of the machine")]

use std::fs;
use std::path::{Path, PathBuf};

use super::module::GoModule;
use crate::app::app_source::AppSource;
use crate::explain;
use crate::runtime::version::RuntimeVersion;
use crate::tree::root_view::runs;

/// Where a Go may lie so that the jail shows it: Debian's, and the one of the tarball.
const ROOTS: [&str; 2] = ["/usr/lib", "/usr/local"];
/// Since this one Go fetches a newer one itself.
const FETCHES: RuntimeVersion = RuntimeVersion([1, 21, 0]);

/// Reads `1.22`, `1.22.3`; a pre-release `1.22rc1` counts as 1.22.
fn parse(text: &str) -> Option<RuntimeVersion> {
    let text = text.split_whitespace().next()?;
    let text = text.strip_prefix("go").unwrap_or(text);
    RuntimeVersion::padded(text.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?)
}

/// Whether the text names a patch too: `1.22.3`.
fn is_exact(text: &str) -> bool {
    text.matches('.').count() == 2
}

/// One Go of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledGo {
    /// GOROOT.
    pub(super) root: PathBuf,
    pub(super) version: RuntimeVersion,
}

impl InstalledGo {
    /// The program.
    pub(super) fn program(&self) -> PathBuf {
        self.root.join("bin/go")
    }
}

/// What an app gets.
#[derive(Debug)]
pub(super) struct GoChoice {
    /// The Go that is called.
    pub(super) installed: InstalledGo,
    /// The Go that it is to fetch and become, without `go`.
    pub(super) fetched: Option<String>,
    /// Where the version was asked for.
    pub(super) from: String,
    pub(super) warnings: Vec<String>,
}

impl GoChoice {
    /// The version that builds.
    pub(super) fn version(&self) -> String {
        self.fetched.clone().unwrap_or_else(|| self.installed.version.to_string())
    }
}

/// Finds the Go that the app asks for: GOVERSION as Heroku knows it, Heroku's comment, the toolchain line, the go line.
///
/// # Errors
/// When there is no Go, or none that is new enough nor one that could fetch it.
pub(super) fn choose(source: &AppSource, module: &GoModule) -> anyhow::Result<GoChoice> {
    pick(&installed(), asked(source, module)?)
}

/// What is asked for and by whom, and whether a newer one will not do.
struct RequestedGo {
    text: String,
    version: RuntimeVersion,
    from: String,
    pinned: bool,
}

fn asked(source: &AppSource, module: &GoModule) -> anyhow::Result<Option<RequestedGo>> {
    let file = if module.uses.is_empty() { "go.mod" } else { "go.work" };
    let (text, from, pinned) = if let Some((text, from)) = source.variable("GOVERSION") {
        (text, format!("GOVERSION in {from}"), true)
    } else if let Some(text) = &module.heroku_go {
        (text.as_str(), format!("goVersion in {file}"), true)
    } else if let Some(text) = &module.toolchain {
        (text.as_str(), format!("toolchain in {file}"), false)
    } else if let Some(text) = &module.go {
        (text.as_str(), format!("go in {file}"), false)
    } else {
        return Ok(None);
    };
    let text = text.trim().trim_start_matches("go").to_owned();
    let version = parse(&text).ok_or_else(|| explain::go::bad_version(&text, &from))?;
    Ok(Some(RequestedGo { text, version, from, pinned }))
}

/// `there` is newest first.
fn pick(there: &[InstalledGo], asked: Option<RequestedGo>) -> anyhow::Result<GoChoice> {
    let newest = there.first().ok_or_else(explain::go::no_go)?;
    let Some(asked) = asked else {
        let from = "the machine's go".to_owned();
        return Ok(GoChoice { installed: newest.clone(), fetched: None, from, warnings: Vec::new() });
    };
    let exact = is_exact(&asked.text);
    let fits = |one: &&InstalledGo| {
        if exact { one.version == asked.version } else { one.version.0[..2] == asked.version.0[..2] }
    };
    let from = asked.from;
    let mut warnings = Vec::new();
    // A go line is the least that will do, so the newest fits best: it has the latest mends.
    if let Some(fitting) = there.iter().find(fits).filter(|_| asked.pinned) {
        return Ok(GoChoice { installed: fitting.clone(), fetched: None, from, warnings });
    }
    if newest.version >= asked.version {
        if asked.pinned {
            warnings.push(format!(
                "{from} asks for Go {}, which is not on this machine: {} builds it, as newer ones do",
                asked.text, newest.version
            ));
        }
        return Ok(GoChoice { installed: newest.clone(), fetched: None, from, warnings });
    }
    if newest.version < FETCHES {
        let versions: Vec<_> = there.iter().map(|one| one.version.to_string()).collect();
        return Err(explain::go::too_old(&asked.text, &from, &versions).into());
    }
    // Since 1.21 a release is called 1.21.0; 1.27 is a language and no release.
    let fetched = if exact || asked.version < FETCHES { asked.text } else { asked.version.to_string() };
    Ok(GoChoice { installed: newest.clone(), fetched: Some(fetched), from, warnings })
}

/// All of them, newest first.
fn installed() -> Vec<InstalledGo> {
    let mut found: Vec<InstalledGo> = ROOTS
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("go"))
        .filter_map(|entry| look(&entry.path()))
        .collect();
    found.sort_by(|one, other| other.version.cmp(&one.version).then(one.root.cmp(&other.root)));
    found.dedup_by(|one, other| one.version == other.version);
    found
}

fn look(root: &Path) -> Option<InstalledGo> {
    let text = fs::read_to_string(root.join("VERSION")).ok()?;
    let version = parse(text.lines().next()?)?;
    runs(&root.join("bin/go")).then(|| InstalledGo { root: root.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(versions: &[&str]) -> Vec<InstalledGo> {
        let one = |text: &&str| InstalledGo { root: text.into(), version: parse(text).unwrap() };
        versions.iter().map(one).collect()
    }

    fn picked(
        versions: &[&str],
        text: &str,
        pinned: bool,
    ) -> anyhow::Result<(String, Option<String>, usize)> {
        let version = parse(text).unwrap();
        let asked = RequestedGo { text: text.to_owned(), version, from: "go in go.mod".to_owned(), pinned };
        let choice = pick(&there(versions), Some(asked))?;
        Ok((choice.installed.version.to_string(), choice.fetched, choice.warnings.len()))
    }

    #[test]
    fn versions() {
        assert_eq!(parse("go1.26.8"), Some(RuntimeVersion([1, 26, 8])));
        assert_eq!(parse("1.22rc1"), Some(RuntimeVersion([1, 22, 0])));
        assert_eq!(parse("1.19.8 X:boringcrypto"), Some(RuntimeVersion([1, 19, 8])));
        assert_eq!(parse("latest"), None);
        assert_eq!(parse("1.2.3.4"), None);
    }

    #[test]
    fn a_newer_go_will_do_and_a_missing_one_is_fetched() {
        let two = ["1.26.8", "1.22.3"];
        assert_eq!(picked(&two, "1.22", false).unwrap(), ("1.26.8".to_owned(), None, 0));
        assert_eq!(picked(&two, "1.22", true).unwrap(), ("1.22.3".to_owned(), None, 0));
        assert_eq!(picked(&two, "1.21.9", true).unwrap(), ("1.26.8".to_owned(), None, 1));
        assert_eq!(picked(&two, "1.27", false).unwrap(), ("1.26.8".to_owned(), Some("1.27.0".to_owned()), 0));
        assert_eq!(picked(&two, "1.27.3", false).unwrap().1.as_deref(), Some("1.27.3"));
        let old = picked(&["1.19.8"], "1.22", false).unwrap_err().to_string();
        assert!(old.contains("1.22") && old.contains("1.19.8"), "{old}");
        assert!(pick(&[], None).is_err());
    }
}
