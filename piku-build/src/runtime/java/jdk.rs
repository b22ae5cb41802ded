//! The installed JDKs, and the one that an app gets. A newer one runs what older ones compiled.

#![expect(clippy::disallowed_methods, reason = "JDKs of the machine")]

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::runtime::version::{
    RequestedVersion, RuntimeVersion, TOOL_VERSIONS, VersionChoice, VersionMatch, find_tool_version, nearest,
};
use crate::tree::root_view::is_executable;

/// Directory that holds the JDKs, and the program of the one that Debian calls the default.
const FOLDER: &str = "/usr/lib/jvm";
const DEFAULT: &str = "/usr/bin/java";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledJdk {
    /// `JAVA_HOME`.
    pub(super) home: PathBuf,
    /// The full version: `17.0.15`.
    pub(super) version: String,
    /// The feature release: 17; 8 for `1.8.0`.
    pub(super) feature: u32,
    pub(super) has_compiler: bool,
}

pub(super) type JdkChoice = VersionChoice<InstalledJdk>;

#[derive(Debug, PartialEq, Eq)]
struct RequestedJdk {
    feature: u32,
    version: RequestedVersion,
    /// A newer one is worth a warning. A build file names the oldest that will do.
    is_pinned: bool,
}

/// Chooses the JDK for the app: the one that it pins, else the nearest newer one.
///
/// # Errors
/// Fails if no JDK is installed, or none that is new enough.
pub(super) fn choose(source: &AppSource, needs_compiler: bool) -> anyhow::Result<JdkChoice> {
    let installed: Vec<_> =
        list_installed().into_iter().filter(|jdk| jdk.has_compiler || !needs_compiler).collect();
    pick(&installed, read_request(source)?)
}

fn read_request(source: &AppSource) -> anyhow::Result<Option<RequestedJdk>> {
    let text = |name: &str| -> anyhow::Result<Option<String>> {
        Ok(source.read_bytes(name)?.map(|text| decode(&text)))
    };
    if let Some(properties) = text("system.properties")? {
        let value = properties.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            (name.trim() == "java.runtime.version").then(|| value.trim().to_owned())
        });
        if let Some(value) = value {
            let version = RequestedVersion::new(value, "java.runtime.version in system.properties");
            let feature = parse_feature(&version.text).ok_or_else(|| errors::java::bad_version(&version))?;
            return Ok(Some(RequestedJdk { feature, version, is_pinned: true }));
        }
    }
    for (file, mark) in VERSION_FILES {
        let Some(text) = text(file)? else { continue };
        // `17.0.9-tem`, `temurin-17.0.9+9`, `zulu-17`
        let value = if file == TOOL_VERSIONS {
            find_tool_version(&text, &[mark])
        } else {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(mark));
            value.and_then(|value| value.split(['#', ' ']).find(|word| !word.is_empty()).map(str::to_owned))
        };
        if let Some(feature) = value.as_deref().and_then(parse_vendors) {
            let version = RequestedVersion::new(feature.to_string(), file);
            return Ok(Some(RequestedJdk { feature, version, is_pinned: true }));
        }
    }
    for (file, marks) in FILES {
        let Some(text) = text(file)? else { continue };
        let mut text = without_comments(&text);
        if file == "pom.xml" {
            text.retain(|letter| !letter.is_whitespace());
        }
        if let Some((mark, feature)) = marks.iter().find_map(|mark| Some((mark, release_after(&text, mark)?)))
        {
            let name = mark.trim_matches(['<', '>', '(']).replace("><", " ");
            let version = RequestedVersion::new(feature.to_string(), format!("{name} in {file}"));
            return Ok(Some(RequestedJdk { feature, version, is_pinned: false }));
        }
    }
    Ok(None)
}

/// Files of version managers, and the mark in front of the version in the line that names it.
const VERSION_FILES: [(&str, &str); 4] = [
    (".java-version", ""),
    (".sdkmanrc", "java="),
    (TOOL_VERSIONS, "java"),
    ("gradle/gradle-daemon-jvm.properties", "toolchainVersion="),
];

/// Build files, and the marks in front of the release that they request, the more exact first.
const FILES: [(&str, &[&str]); 3] = [
    (
        "pom.xml",
        &[
            "<maven.compiler.release>",
            "<java.version>",
            "<release>",
            // Of maven-toolchains-plugin.
            "<jdk><version>",
            "<maven.compiler.target>",
            "<maven.compiler.source>",
            "<target>",
        ],
    ),
    ("build.gradle", GRADLE),
    ("build.gradle.kts", GRADLE),
];
const GRADLE: &[&str] = &[
    "JavaLanguageVersion.of(",
    "jvmToolchain(",
    "options.release",
    "targetCompatibility",
    "sourceCompatibility",
];

/// Removes XML comments. Gradle's files do not contain their marks.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once("-->").map_or("", |(_, rest)| rest))
}

/// Returns the release after a mark: `17`, `= '17'`, `= JavaVersion.VERSION_17`.
fn release_after(text: &str, mark: &str) -> Option<u32> {
    text.match_indices(mark).find_map(|(at, _)| {
        let rest = text[at + mark.len()..].lines().next()?;
        let rest = rest.strip_prefix(".set").unwrap_or(rest);
        let rest = rest.trim_start_matches([' ', '=', '\'', '"', '(', '[', '>']);
        let prefixes = ["JavaVersion.VERSION_", "JavaVersion.toVersion(", "JavaLanguageVersion.of("];
        let rest = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest);
        let rest = rest.trim_start_matches(['\'', '"']);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        parse_feature(&rest[..end].replace('_', "."))
    })
}

/// Parses the feature release of `17`, `17.0.15`, `1.8`, `openjdk-17`, `zulu-17.0.1`.
fn parse_feature(text: &str) -> Option<u32> {
    let text = text.rsplit('-').find(|part| part.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = text.split(['.', '_', '+']);
    let first: u32 = parts.next()?.parse().ok()?;
    if first == 1 { parts.next()?.parse().ok() } else { Some(first) }
}

/// Parses the feature release in a version manager's file, where the vendor's name stands on either side:
/// `17.0.9-tem`, `temurin-17.0.9+9`, `corretto-8.402`.
fn parse_vendors(text: &str) -> Option<u32> {
    text.split('-').find_map(parse_feature)
}

/// Picks from `installed`, in which the default comes first.
fn pick(installed: &[InstalledJdk], requested: Option<RequestedJdk>) -> anyhow::Result<JdkChoice> {
    let default = installed.first().ok_or_else(errors::java::no_jdk)?;
    let Some(RequestedJdk { feature, version: requested, is_pinned }) = requested else {
        let from = "the machine's java".to_owned();
        return Ok(JdkChoice { installed: default.clone(), from, warnings: Vec::new() });
    };
    let compare = |RuntimeVersion([found, ..])| match found.cmp(&feature) {
        Ordering::Equal => VersionMatch::Exact,
        Ordering::Greater => VersionMatch::Newer,
        Ordering::Less => VersionMatch::Mismatch,
    };
    let Some((jdk, matched)) = nearest(installed, |jdk| RuntimeVersion([jdk.feature, 0, 0]), compare) else {
        let versions: Vec<_> = installed.iter().map(|jdk| &jdk.version).collect();
        return Err(errors::java::too_old(feature, &requested, &versions).into());
    };
    let is_met = matched == VersionMatch::Exact || !is_pinned;
    let warnings = (!is_met).then(|| requested.substitution("Java", &jdk.version)).into_iter().collect();
    Ok(JdkChoice { installed: jdk.clone(), from: requested.from, warnings })
}

/// Lists the installed JDKs: the default first, then the older before the newer.
fn list_installed() -> Vec<InstalledJdk> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let mut homes: Vec<PathBuf> = entries.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
    homes.sort();
    homes.dedup();
    let mut found: Vec<InstalledJdk> = homes.into_iter().filter_map(inspect).collect();
    let default = fs::canonicalize(DEFAULT).unwrap_or_default();
    found.sort_by_key(|one| (!default.starts_with(&one.home), one.feature, one.home.clone()));
    found
}

fn inspect(home: PathBuf) -> Option<InstalledJdk> {
    let text = fs::read_to_string(home.join("release")).ok()?;
    let version =
        text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"').to_owned();
    let has_compiler = is_executable(&home.join("bin/javac"));
    let feature = parse_feature(&version)?;
    is_executable(&home.join("bin/java")).then_some(InstalledJdk { home, version, feature, has_compiler })
}

pub(super) fn program_path(home: &Path, name: &str) -> String {
    home.join("bin").join(name).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("17", 17),
            ("17.0.15", 17),
            ("1.8", 8),
            ("1.8.0_292", 8),
            ("openjdk-21", 21),
            ("zulu-17.0.1", 17),
            ("21.0.1+12", 21),
        ] {
            assert_eq!(parse_feature(text), Some(expected), "{text}");
        }
        assert_eq!(parse_feature("latest"), None);
    }

    #[test]
    fn what_build_files_ask_for() {
        for (text, mark, expected) in [
            ("<java.version>21</java.version>", "<java.version>", Some(21)),
            ("<release>${java.version}</release>", "<release>", None),
            ("languageVersion = JavaLanguageVersion.of(17)", "JavaLanguageVersion.of(", Some(17)),
            ("sourceCompatibility = '1.8'", "sourceCompatibility", Some(8)),
            ("sourceCompatibility = JavaVersion.VERSION_11", "sourceCompatibility", Some(11)),
            ("sourceCompatibility JavaVersion.VERSION_1_8", "sourceCompatibility", Some(8)),
            ("sourceCompatibility = JavaVersion.toVersion(\"21\")", "sourceCompatibility", Some(21)),
            ("languageVersion.set(JavaLanguageVersion.of(\"21\"))", "JavaLanguageVersion.of(", Some(21)),
            ("options.release.set(17)", "options.release", Some(17)),
            ("options.release = 11", "options.release", Some(11)),
            ("<jdk><version>[17,)</version></jdk>", "<jdk><version>", Some(17)),
        ] {
            assert_eq!(release_after(text, mark), expected, "{text}");
        }
    }

    #[test]
    fn files_of_version_managers() {
        for (file, text, expected) in [
            (".java-version", "17\n", Some((17, ".java-version"))),
            (".java-version", "temurin-17.0.9\n", Some((17, ".java-version"))),
            (".sdkmanrc", "# Enable auto-env\njava=21.0.2-tem\nmaven=3.9.6\n", Some((21, ".sdkmanrc"))),
            (".sdkmanrc", "java=8.0.402-amzn\n", Some((8, ".sdkmanrc"))),
            (".sdkmanrc", "gradle=8.5\n", None),
            (".tool-versions", "nodejs 20\njava  temurin-17.0.9+9 # old\n", Some((17, ".tool-versions"))),
            (".tool-versions", "java\ttemurin-17.0.9+9\n", Some((17, ".tool-versions"))),
            (".tool-versions", "nodejs 20\n", None),
            (".java-version", "latest\n", None),
            (
                "pom.xml",
                "<toolchains>\n <jdk>\n  <version>17</version>\n </jdk>\n</toolchains>",
                Some((17, "jdk version in pom.xml")),
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(file), text).unwrap();
            let found = read_request(&AppSource::read(dir.path(), None).unwrap()).unwrap();
            let found = found.map(|found| (found.feature, found.version.from));
            assert_eq!(found, expected.map(|(feature, from)| (feature, from.to_owned())), "{file}: {text}");
        }
    }

    #[test]
    fn comments_ask_for_nothing() {
        assert_eq!(without_comments("a<!-- <release>8</release> -->b<!---->c"), "abc");
        assert_eq!(without_comments("a<!-- b"), "a");
    }

    #[test]
    fn the_nearest_newer_one_will_do() {
        let one = |feature| InstalledJdk {
            home: "/j".into(),
            version: format!("{feature}.0.1"),
            feature,
            has_compiler: true,
        };
        let there = [one(17), one(11), one(25)];
        let picked = |feature: u32, is_pinned| {
            pick(
                &there,
                Some(RequestedJdk {
                    feature,
                    version: RequestedVersion::new(feature.to_string(), "x"),
                    is_pinned,
                }),
            )
        };
        for (asked, expected, warnings) in [(17, 17, 0), (11, 11, 0), (8, 11, 1), (21, 25, 1)] {
            let choice = picked(asked, true).unwrap();
            assert_eq!((choice.installed.feature, choice.warnings.len()), (expected, warnings), "{asked}");
        }
        assert_eq!(picked(21, false).unwrap().warnings.len(), 0);
        assert!(picked(26, false).unwrap_err().to_string().contains("25.0.1"));
        assert_eq!(pick(&there, None).unwrap().installed.feature, 17);
        assert!(pick(&[], None).is_err());
    }
}
