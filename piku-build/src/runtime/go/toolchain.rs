//! The installed Gos, and the one that an app gets. A newer Go builds what an older one built, so the newest
//! will do unless the app pins one, or requests a newer one, which Go fetches through the module proxy since
//! 1.21.

#![expect(clippy::disallowed_methods, reason = "toolchains of the machine")]

use std::fs;
use std::path::{Path, PathBuf};

use super::go_mod::GoModule;
use crate::app::app_source::AppSource;
use crate::errors;
use crate::runtime::semver_range::SemverRange;
use crate::runtime::version::{PinnedVersion, RequestedVersion, RuntimeVersion, VersionMatch, nearest};
use crate::tree::root_view::is_executable;

/// Directories that the jail shows, with Debian's Gos and the one of the tarball.
const ROOTS: [&str; 2] = ["/usr/lib", "/usr/local"];
/// The first Go that fetches a newer one itself.
const FETCHES: RuntimeVersion = RuntimeVersion([1, 21, 0]);

/// Parses `1.22`, `1.22.3`; a pre-release `1.22rc1` counts as 1.22.
fn parse_version(text: &str) -> Option<RuntimeVersion> {
    let text = text.split_whitespace().next()?;
    let text = text.strip_prefix("go").unwrap_or(text);
    RuntimeVersion::padded(text.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledGo {
    /// `GOROOT`.
    pub(super) root: PathBuf,
    pub(super) version: RuntimeVersion,
}

impl InstalledGo {
    pub(super) fn program(&self) -> PathBuf {
        self.root.join("bin/go")
    }
}

/// The Go that an app gets, which may fetch another one.
#[derive(Debug)]
pub(super) struct GoChoice {
    pub(super) installed: InstalledGo,
    /// The version that the installed Go fetches and runs, without `go`.
    pub(super) fetched: Option<String>,
    /// The place of the request, or what decided without one.
    pub(super) from: String,
    pub(super) warnings: Vec<String>,
}

impl GoChoice {
    /// Returns the version that builds.
    pub(super) fn version(&self) -> String {
        self.fetched.clone().unwrap_or_else(|| self.installed.version.to_string())
    }

    /// Returns the N of the version 1.N that builds.
    pub(super) fn minor(&self) -> u32 {
        let fetched = self.fetched.as_deref().and_then(parse_version);
        fetched.unwrap_or(self.installed.version).0[1]
    }
}

/// Chooses the Go for the app.
///
/// # Errors
/// Fails if no Go is installed, or none that is new enough nor one that can fetch it.
pub(super) fn choose(source: &AppSource, module: &GoModule) -> anyhow::Result<GoChoice> {
    pick(&list_installed(), read_request(source, module)?)
}

struct RequestedGo {
    version: RequestedVersion,
    /// The version, or the first one of a range.
    number: PinnedVersion,
    range: Option<SemverRange>,
    /// A newer one is worth a warning. A `go` line names the oldest that will do.
    is_pinned: bool,
}

impl RequestedGo {
    fn parse(version: RequestedVersion, is_pinned: bool) -> anyhow::Result<Self> {
        let text = version.text.trim().trim_start_matches("go").to_owned();
        let version = RequestedVersion { text, ..version };
        if version.text.contains(['x', 'X', '*', '^', '~', '<', '>', '=', ',', '|']) {
            let range = SemverRange::parse(&version.text).map_err(|_| errors::go::bad_version(&version))?;
            let number = PinnedVersion { version: range.lowest(), parts: 3 };
            return Ok(Self { version, number, range: Some(range), is_pinned });
        }
        let number = parse_version(&version.text).ok_or_else(|| errors::go::bad_version(&version))?;
        let parts = version.text.matches('.').count() + 1;
        let number = PinnedVersion { version: number, parts: parts.clamp(2, 3) };
        Ok(Self { version, number, range: None, is_pinned })
    }
}

/// Reads the request: `GOVERSION` and then `goVersion` as Heroku knows them, the `toolchain` line, the `go`
/// line.
fn read_request(source: &AppSource, module: &GoModule) -> anyhow::Result<Option<RequestedGo>> {
    let file = if module.uses.is_empty() { "go.mod" } else { "go.work" };
    if let Some(version) = RequestedVersion::from_variable(source, "GOVERSION") {
        return RequestedGo::parse(version, true).map(Some);
    }
    let lines = [(&module.heroku_go, "goVersion"), (&module.toolchain, "toolchain"), (&module.go, "go")];
    let Some((text, name)) = lines.into_iter().find_map(|(text, name)| Some((text.as_ref()?, name))) else {
        return Ok(None);
    };
    let version = RequestedVersion::new(text, format!("{name} in {file}"));
    RequestedGo::parse(version, name == "goVersion").map(Some)
}

/// Picks from `installed`, which is sorted, the newest first.
fn pick(installed: &[InstalledGo], requested: Option<RequestedGo>) -> anyhow::Result<GoChoice> {
    let newest = installed.first().ok_or_else(errors::go::no_go)?;
    let choice = |go: &InstalledGo, fetched, from, warning: Option<String>| GoChoice {
        installed: go.clone(),
        fetched,
        from,
        warnings: warning.into_iter().collect(),
    };
    let Some(RequestedGo { version: requested, number, range, is_pinned }) = requested else {
        return Ok(choice(newest, None, "the machine's go".to_owned(), None));
    };
    if let Some(go) = range.as_ref().and_then(|range| installed.iter().find(|go| range.contains(go.version)))
    {
        return Ok(choice(go, None, requested.from, None));
    }
    // The newest has the latest fixes.
    if !is_pinned && newest.version >= number.version {
        return Ok(choice(newest, None, requested.from, None));
    }
    if let Some((go, matched)) =
        nearest(installed, |go| go.version, |version| number.matches_or_newer(version))
    {
        let warning = (matched != VersionMatch::Exact).then(|| requested.substitution("Go", go.version));
        return Ok(choice(go, None, requested.from, warning));
    }
    if newest.version < FETCHES {
        let versions: Vec<_> = installed.iter().map(|go| go.version).collect();
        return Err(errors::go::too_old(&requested, &versions).into());
    }
    // Since 1.21 the first release of a line is called 1.21.0; 1.27 is a language version.
    let is_release = number.parts == 3 || number.version < FETCHES;
    let is_exact = is_release && range.is_none();
    let fetched = if is_exact { requested.text } else { number.version.to_string() };
    Ok(choice(newest, Some(fetched), requested.from, None))
}

/// Lists the installed Gos, the newest first.
fn list_installed() -> Vec<InstalledGo> {
    let mut found: Vec<InstalledGo> = ROOTS
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("go"))
        .filter_map(|entry| inspect(&entry.path()))
        .collect();
    found.sort_by(|one, other| other.version.cmp(&one.version).then(one.root.cmp(&other.root)));
    found.dedup_by(|one, other| one.version == other.version);
    found
}

fn inspect(root: &Path) -> Option<InstalledGo> {
    let text = fs::read_to_string(root.join("VERSION")).ok()?;
    let version = parse_version(text.lines().next()?)?;
    is_executable(&root.join("bin/go")).then(|| InstalledGo { root: root.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(versions: &[&str]) -> Vec<InstalledGo> {
        let one = |text: &&str| InstalledGo { root: text.into(), version: parse_version(text).unwrap() };
        versions.iter().map(one).collect()
    }

    fn picked(
        versions: &[&str],
        text: &str,
        pinned: bool,
    ) -> anyhow::Result<(String, Option<String>, usize)> {
        let requested = RequestedGo::parse(RequestedVersion::new(text, "go in go.mod"), pinned)?;
        let choice = pick(&there(versions), Some(requested))?;
        Ok((choice.installed.version.to_string(), choice.fetched, choice.warnings.len()))
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version("go1.26.8"), Some(RuntimeVersion([1, 26, 8])));
        assert_eq!(parse_version("1.22rc1"), Some(RuntimeVersion([1, 22, 0])));
        assert_eq!(parse_version("1.19.8 X:boringcrypto"), Some(RuntimeVersion([1, 19, 8])));
        assert_eq!(parse_version("latest"), None);
        assert_eq!(parse_version("1.2.3.4"), None);
    }

    #[test]
    fn a_newer_go_will_do_and_a_missing_one_is_fetched() {
        let two = ["1.26.8", "1.22.3"];
        assert_eq!(picked(&two, "1.22", false).unwrap(), ("1.26.8".to_owned(), None, 0));
        assert_eq!(picked(&two, "1.22", true).unwrap(), ("1.22.3".to_owned(), None, 0));
        assert_eq!(picked(&two, "1.21.9", true).unwrap(), ("1.22.3".to_owned(), None, 1));
        assert_eq!(picked(&two, "1.27", false).unwrap(), ("1.26.8".to_owned(), Some("1.27.0".to_owned()), 0));
        assert_eq!(picked(&two, "1.27.3", false).unwrap().1.as_deref(), Some("1.27.3"));
        for (range, version, fetched, warnings) in [
            ("1.x", "1.26.8", None, 0),
            ("1.22.x", "1.22.3", None, 0),
            (">=1.20, <1.23", "1.22.3", None, 0),
            ("^1.23.1", "1.26.8", None, 0),
            ("~1.24.2", "1.26.8", None, 1),
            (">=1.27", "1.26.8", Some("1.27.0"), 0),
        ] {
            let expected = (version.to_owned(), fetched.map(str::to_owned), warnings);
            assert_eq!(picked(&two, range, true).unwrap(), expected, "{range}");
        }
        assert!(picked(&two, "1.y || x", true).is_err());
        let old = picked(&["1.19.8"], "1.22", false).unwrap_err().to_string();
        assert!(old.contains("1.22") && old.contains("1.19.8"), "{old}");
        assert!(pick(&[], None).is_err());
    }
}
