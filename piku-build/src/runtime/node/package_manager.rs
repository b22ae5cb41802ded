//! The package managers npm, yarn and pnpm. npm is the machine's; npm installs the others from the
//! registry, in the version that reads the lock file.

use super::package_json::PackageJson;
use super::version_range::{is_registry_range, parse_exact};
use crate::app::app_source::{AppSource, decode};
use crate::errors::node as errors;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManagerKind {
    Npm,
    /// Yarn 1, whose later versions are another program.
    Classic,
    /// Yarn 2 and newer.
    Berry,
    Pnpm,
}

/// The package manager of an app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeManager {
    pub(super) kind: ManagerKind,
    /// Package and range that npm installs: `pnpm@9`.
    pub(super) fetch: Option<String>,
    /// Source of the choice: `packageManager`, or a lock file.
    pub(super) from: String,
    /// The lock file that it reads.
    pub(super) lock: Option<&'static str>,
    /// Version of npm that `packageManager` names; once it is chosen, the package that is fetched.
    pub(super) npm: Option<String>,
    /// Major release of npm, if that is known. Before 7 it has other options.
    pub(super) npm_major: Option<u32>,
    pub(super) warnings: Vec<String>,
}

/// Lock files; npm's come last, because an app often has one left over.
const LOCKS: [(&str, ManagerKind); 4] = [
    ("pnpm-lock.yaml", ManagerKind::Pnpm),
    ("yarn.lock", ManagerKind::Classic),
    ("npm-shrinkwrap.json", ManagerKind::Npm),
    ("package-lock.json", ManagerKind::Npm),
];

/// Lock files that piku does not read.
const UNREAD: [&str; 2] = ["bun.lock", "bun.lockb"];

impl NodeManager {
    /// Finds the package manager of the app.
    ///
    /// # Errors
    /// Fails if `packageManager` names an unknown one, or no version of it.
    pub(super) fn choose(source: &AppSource, package: &PackageJson) -> anyhow::Result<Self> {
        let there: Vec<_> = LOCKS.iter().filter(|(name, _)| source.has_entry(name)).collect();
        let mut warnings = Vec::new();
        let named = package.text("packageManager");
        let (kind, from, version) = match named {
            Some(text) => {
                let (name, version) = text.split_once('@').unwrap_or((text, ""));
                let version = version.split('+').next().unwrap_or_default();
                let kind = match name {
                    "npm" => ManagerKind::Npm,
                    "pnpm" => ManagerKind::Pnpm,
                    "yarn" if version.starts_with(['0', '1']) => ManagerKind::Classic,
                    "yarn" => ManagerKind::Berry,
                    _ => return Err(errors::unknown_manager(text).into()),
                };
                if !version.is_empty() && !is_registry_range(version) {
                    return Err(errors::bad_manager_version(text, version).into());
                }
                (kind, "packageManager".to_owned(), Some(version).filter(|version| !version.is_empty()))
            }
            None => match there.first() {
                Some((name, ManagerKind::Classic)) if is_berry(source)? => {
                    (ManagerKind::Berry, (*name).to_owned(), None)
                }
                Some((name, kind)) => (*kind, (*name).to_owned(), None),
                None => (ManagerKind::Npm, "no lock file".to_owned(), None),
            },
        };
        let wanted = if kind == ManagerKind::Berry { ManagerKind::Classic } else { kind };
        let lock = there.iter().find(|(_, of)| *of == wanted).map(|(name, _)| *name);
        if lock.is_none() {
            let unread = UNREAD.into_iter().find(|name| source.has_entry(name));
            warnings.push(errors::no_lock(kind.program(), unread));
        }
        for (name, _) in there.iter().filter(|(_, of)| *of != wanted) {
            warnings.push(errors::other_lock(name, kind.program(), &from));
        }
        let fetch = match kind {
            ManagerKind::Npm => None,
            ManagerKind::Classic => Some(format!("yarn@{}", version.unwrap_or("1"))),
            ManagerKind::Berry => {
                Some(format!("@yarnpkg/cli-dist@{}", version.unwrap_or(berry_version(source)?)))
            }
            ManagerKind::Pnpm => Some(format!("pnpm@{}", pnpm_version(source, package, version)?)),
        };
        let npm = version.filter(|_| kind == ManagerKind::Npm).map(str::to_owned);
        Ok(Self { kind, fetch, from, lock, npm, npm_major: None, warnings })
    }

    fn is_old_npm(&self) -> bool {
        self.npm_major.is_some_and(|major| major < 7)
    }

    /// Returns the command that installs the locked packages, with development dependencies if `dev`.
    pub(super) fn install_command(&self, dev: bool) -> Vec<&'static str> {
        let locked = self.lock.is_some();
        match (self.kind, locked) {
            (ManagerKind::Npm, _) => {
                let reads = self.npm_major.is_none_or(|major| major >= super::npm::READS_LOCK);
                let verb = if locked && reads { "ci" } else { "install" };
                let which = match (dev, self.is_old_npm()) {
                    (true, false) => "--include=dev",
                    (true, true) => "--also=dev",
                    (false, false) => "--omit=dev",
                    (false, true) => "--only=production",
                };
                vec!["npm", verb, which, "--no-audit", "--no-fund", "--no-progress"]
            }
            (ManagerKind::Classic, _) => {
                let which = if dev { "--production=false" } else { "--production=true" };
                let mut words = vec!["yarn", "install", "--non-interactive", "--no-progress", which];
                words.extend(locked.then_some("--frozen-lockfile"));
                words
            }
            // `focus` does not check the lock file, so the development dependencies are removed afterwards.
            (ManagerKind::Berry, true) => vec!["yarn", "install", "--immutable"],
            (ManagerKind::Berry, false) => vec!["yarn", "install", "--no-immutable"],
            (ManagerKind::Pnpm, _) => {
                let which = if dev { "--prod=false" } else { "--prod" };
                let frozen = if locked { "--frozen-lockfile" } else { "--no-frozen-lockfile" };
                vec!["pnpm", "install", which, frozen, "--reporter=append-only"]
            }
        }
    }

    /// Returns the command that removes development dependencies.
    pub(super) fn prune_command(&self) -> Vec<&'static str> {
        match self.kind {
            ManagerKind::Npm => {
                let which = if self.is_old_npm() { "--production" } else { "--omit=dev" };
                vec!["npm", "prune", which, "--ignore-scripts", "--no-audit", "--no-fund"]
            }
            ManagerKind::Classic => {
                vec![
                    "yarn",
                    "install",
                    "--production",
                    "--ignore-scripts",
                    "--prefer-offline",
                    "--non-interactive",
                    "--no-progress",
                ]
            }
            ManagerKind::Berry => vec!["yarn", "workspaces", "focus", "--all", "--production"],
            ManagerKind::Pnpm => vec!["pnpm", "prune", "--prod", "--ignore-scripts"],
        }
    }
}

impl ManagerKind {
    /// Returns the name of its program.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Classic | Self::Berry => "yarn",
            Self::Pnpm => "pnpm",
        }
    }
}

/// Returns whether yarn.lock was written by yarn 2 or newer.
fn is_berry(source: &AppSource) -> anyhow::Result<bool> {
    Ok(first_lines(source, "yarn.lock")?.iter().any(|line| line.starts_with("__metadata:")))
}

/// Returns the major version of yarn that writes the app's lock file.
fn berry_version(source: &AppSource) -> anyhow::Result<&'static str> {
    let lines = first_lines(source, "yarn.lock")?;
    let version = lines.iter().find_map(|line| line.strip_prefix("  version: "));
    Ok(match version.and_then(|version| version.trim().parse::<u32>().ok()) {
        Some(..=6) => "3",
        _ => "4",
    })
}

/// Returns the pnpm version that reads the app's lock file: another one rejects it or rewrites it.
fn pnpm_version(source: &AppSource, package: &PackageJson, version: Option<&str>) -> anyhow::Result<String> {
    if let Some(version) = version {
        return Ok(version.to_owned());
    }
    let lines = first_lines(source, "pnpm-lock.yaml")?;
    let format = lines.iter().find_map(|line| line.strip_prefix("lockfileVersion:"));
    let format = format.unwrap_or_default().trim().trim_matches(['\'', '"']).to_owned();
    let wanted = match format.as_str() {
        "5.1" | "5.2" | "5.3" => "6",
        text if text.starts_with("5.") => "7",
        text if text.starts_with("6.") => "8",
        "" | "9.0" => "9",
        other => return Err(errors::unknown_lock_format("pnpm-lock.yaml", other).into()),
    };
    // 9 and 10 write the same format; `engines.pnpm` may choose one.
    let engines = package.text("engines.pnpm").filter(|_| wanted == "9");
    Ok(match engines {
        Some(text) if parse_exact(text).is_some() && is_registry_range(text) => text.to_owned(),
        Some(text) if text.contains("10") => "10".to_owned(),
        _ => wanted.to_owned(),
    })
}

pub(super) fn first_lines(source: &AppSource, name: &str) -> anyhow::Result<Vec<String>> {
    let text = source.read_bytes(name)?.unwrap_or_default();
    Ok(decode(&text).lines().take(40).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn choose(files: &[(&str, &str)]) -> NodeManager {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let source = AppSource::read(dir.path(), None).unwrap();
        let package = PackageJson::read(&source).unwrap().unwrap();
        NodeManager::choose(&source, &package).unwrap()
    }

    #[test]
    fn the_version_fits_the_lock_file() {
        let plain = ("package.json", "{}");
        for (name, text, kind, fetch) in [
            ("package-lock.json", "{}", ManagerKind::Npm, None),
            ("yarn.lock", "# yarn lockfile v1\n", ManagerKind::Classic, Some("yarn@1")),
            ("yarn.lock", "__metadata:\n  version: 6\n", ManagerKind::Berry, Some("@yarnpkg/cli-dist@3")),
            (
                "yarn.lock",
                "# generated\n\n__metadata:\n  version: 8\n",
                ManagerKind::Berry,
                Some("@yarnpkg/cli-dist@4"),
            ),
            ("pnpm-lock.yaml", "lockfileVersion: 5.3\n", ManagerKind::Pnpm, Some("pnpm@6")),
            ("pnpm-lock.yaml", "lockfileVersion: 5.4\n", ManagerKind::Pnpm, Some("pnpm@7")),
            ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n", ManagerKind::Pnpm, Some("pnpm@8")),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n", ManagerKind::Pnpm, Some("pnpm@9")),
        ] {
            let chosen = choose(&[plain, (name, text)]);
            assert_eq!((chosen.kind, chosen.fetch.as_deref()), (kind, fetch), "{text}");
            assert_eq!((chosen.lock, chosen.from.as_str()), (Some(name), name));
            assert!(chosen.warnings.is_empty());
        }
    }

    #[test]
    fn a_manager_from_elsewhere_is_refused() {
        for text in
            ["yarn@https://example.org/x.tgz", "pnpm@npm:other@1", "yarn@1.0.0-a.tgz", "npm@user/name"]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("package.json"), format!(r#"{{"packageManager": "{text}"}}"#)).unwrap();
            let source = AppSource::read(dir.path(), None).unwrap();
            let package = PackageJson::read(&source).unwrap().unwrap();
            let refused = NodeManager::choose(&source, &package).unwrap_err().to_string();
            let version = text.split_once('@').unwrap().1;
            assert!(refused.ends_with(&format!("'{version}' is not a version")), "{refused}");
        }
    }

    #[test]
    fn the_app_may_say_which() {
        let named = ("package.json", r#"{"packageManager": "pnpm@9.15.0+sha512.abc"}"#);
        let chosen = choose(&[named, ("yarn.lock", ""), ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")]);
        assert_eq!(chosen.fetch.as_deref(), Some("pnpm@9.15.0"));
        assert!(chosen.warnings[0].contains("yarn.lock"), "{:?}", chosen.warnings);
        let chosen = choose(&[("package.json", r#"{"packageManager": "yarn@4.5.0"}"#)]);
        assert_eq!((chosen.kind, chosen.lock), (ManagerKind::Berry, None));
        assert!(chosen.warnings[0].contains("no lock file"), "{:?}", chosen.warnings);
    }
}
