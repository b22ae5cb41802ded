//! The tool that builds a Java app, by the files at its top.

use std::path::{Path, PathBuf};

use piku_files::{TreeError, WalkStep};

use super::jar::{self, JarManifest};
use super::sources::{JavaSources, MAIN};
use crate::app::app_source::{AppSource, decode};
use crate::app::command_check::find_script;
use crate::app::started_programs::find_started;
use crate::store::hash::CacheKey;
use crate::tree::kept_tree::KeptFolders;

pub(super) const POM: &str = "pom.xml";
pub(super) const GRADLE: [&str; 4] =
    ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"];
pub(super) const SBT: &str = "build.sbt";
pub(super) const LEININGEN: &str = "project.clj";
/// The manifest of an unpacked jar.
pub(super) const MANIFEST: &str = "META-INF/MANIFEST.MF";

/// The tool that builds the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JavaTool {
    Maven,
    Gradle,
    /// Scala's tool.
    Sbt,
    /// Clojure's tool.
    Leiningen,
    /// No build: the repository contains a jar.
    Jar,
    /// No build: the repository is an unpacked jar.
    Unpacked,
    Javac,
}

impl JavaTool {
    /// Chooses the tool: Maven before Gradle, unless only Gradle has a wrapper.
    pub(super) fn detect(source: &AppSource) -> anyhow::Result<Option<Self>> {
        let gradle = GRADLE.iter().any(|name| source.has_entry(name));
        let is_gradle = gradle && source.has_entry("gradlew") && !source.has_entry("mvnw");
        Ok(if source.has_entry(POM) && !is_gradle {
            Some(Self::Maven)
        } else if gradle {
            Some(Self::Gradle)
        } else if source.has_entry(SBT) && !has_built_program(source) {
            Some(Self::Sbt)
        } else if source.has_entry(LEININGEN) && !has_built_program(source) {
            Some(Self::Leiningen)
        } else if source.names.iter().any(|name| is_jar(name)) {
            Some(Self::Jar)
        } else if read_manifest(source)?.is_some() {
            Some(Self::Unpacked)
        } else {
            has_lone_files(source)?.then_some(Self::Javac)
        })
    }

    /// Returns the name of its build step; empty without a build.
    pub(super) fn step_name(self) -> &'static str {
        match self {
            Self::Maven => "mvn",
            Self::Gradle => "gradle",
            Self::Sbt => "sbt",
            Self::Leiningen => "lein",
            Self::Javac => "javac",
            Self::Jar | Self::Unpacked => "",
        }
    }

    /// Returns the tool whose build step has this name.
    pub(super) fn of_step(name: &str) -> Option<Self> {
        let all = [Self::Maven, Self::Gradle, Self::Sbt, Self::Leiningen, Self::Javac];
        all.into_iter().find(|tool| tool.step_name() == name)
    }

    /// Returns whether it compiles.
    pub(super) fn is_built(self) -> bool {
        !matches!(self, Self::Jar | Self::Unpacked)
    }

    /// Returns the folders that it writes and that stay from build to build; the first has the artifacts.
    pub(super) fn kept_folders(self) -> Option<KeptFolders> {
        match self {
            // Maven keeps classes of deleted sources in the jar.
            Self::Maven | Self::Leiningen => Some(KeptFolders { folders: &["target"], forgets: true }),
            Self::Gradle => Some(KeptFolders { folders: &["build", ".gradle"], forgets: false }),
            Self::Sbt => Some(KeptFolders { folders: &["target"], forgets: false }),
            Self::Jar | Self::Unpacked | Self::Javac => None,
        }
    }
}

/// Returns the hash of all pom.xml files: plugins that copy dependencies leave those of before.
pub(super) fn hash_poms(source: &AppSource) -> anyhow::Result<String> {
    let mut found = Vec::new();
    source.tree.walk(|entry| {
        let is_input = !["src", "target", "node_modules"].iter().any(|name| entry.name() == *name);
        if entry.stat().is_file() && entry.name() == POM {
            found.push(entry.path().to_owned());
        }
        Ok::<_, TreeError>(if is_input { WalkStep::Into } else { WalkStep::Over })
    })?;
    found.sort();
    let mut key = CacheKey::new("poms", 1);
    for path in found {
        key.field(&path.to_string_lossy(), &source.read_bytes(&path)?.unwrap_or_default());
    }
    Ok(key.finish())
}

/// Returns whether the repository contains a program that the Procfile starts, built elsewhere.
fn has_built_program(source: &AppSource) -> bool {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    entries.flat_map(|entry| find_started(&entry.command)).any(|started| {
        let path = started.path().or_else(|| find_script(&started.words).map(PathBuf::from));
        path.is_some_and(|path| source.has_path(path).is_ok_and(|found| found))
    })
}

/// Returns whether Java files at the top are the app: those with a main method, or those that the Procfile
/// starts.
fn has_lone_files(source: &AppSource) -> anyhow::Result<bool> {
    let sources = JavaSources::read(source)?;
    let is_started = source.procfile.is_none() || crate::runtime::starts_program(source, &["java"]);
    Ok(source.has_entry(MAIN) || is_started && !sources.programs.is_empty())
}

/// Reads the manifest of an unpacked jar; `None` if it names no main class.
pub(super) fn read_manifest(source: &AppSource) -> anyhow::Result<Option<JarManifest>> {
    if !source.has_entry("META-INF/") {
        return Ok(None);
    }
    Ok(source.read_bytes(MANIFEST)?.and_then(|text| JarManifest::parse(&decode(&text))))
}

fn is_jar(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|end| end == "jar" || end == "war") && !jar::is_secondary(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool_of(files: &[(&str, &str)]) -> Option<JavaTool> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        JavaTool::detect(&AppSource::read(dir.path(), None).unwrap()).unwrap()
    }

    #[test]
    fn one_tool_of_several() {
        for (names, expected) in [
            (&["pom.xml"][..], Some(JavaTool::Maven)),
            (&["pom.xml", "build.gradle"], Some(JavaTool::Maven)),
            (&["pom.xml", "build.gradle", "gradlew"], Some(JavaTool::Gradle)),
            (&["pom.xml", "build.gradle", "gradlew", "mvnw"], Some(JavaTool::Maven)),
            (&["settings.gradle.kts", "app.jar"], Some(JavaTool::Gradle)),
            (&["build.sbt", "pom.xml"], Some(JavaTool::Maven)),
            (&["build.sbt"], Some(JavaTool::Sbt)),
            (&["project.clj"], Some(JavaTool::Leiningen)),
            (&["app.jar", "Main.java"], Some(JavaTool::Jar)),
            (&["app-sources.jar"], None),
            (&["Main.java"], Some(JavaTool::Javac)),
        ] {
            let files: Vec<_> = names.iter().map(|name| (*name, "")).collect();
            assert_eq!(tool_of(&files), expected, "{names:?}");
        }
    }

    #[test]
    fn a_program_that_was_built_elsewhere_is_started() {
        let procfile = ("Procfile", "web: java -jar shop.jar\n");
        assert_eq!(tool_of(&[("project.clj", ""), procfile]), Some(JavaTool::Leiningen));
        assert_eq!(tool_of(&[("project.clj", ""), procfile, ("shop.jar", "")]), Some(JavaTool::Jar));
        let script = [("build.sbt", ""), ("Procfile", "web: ./shop\n"), ("shop", "#!/bin/sh\n")];
        assert_eq!(tool_of(&script), None);
    }
}
