//! References to buildpacks: the name of one on the host, a folder of the app, or a git URL.

use std::path::{Path, PathBuf};

use crate::app::app_source::{AppSource, decode, normalize_path};
use crate::errors::buildpack as told;

/// Variable with one reference, and file with one a line.
const VARIABLE: &str = "BUILDPACK_URL";
const FILE: &str = ".buildpacks";
/// Prefixes of git URLs.
const SCHEMES: [&str; 6] = ["https://", "http://", "git://", "ssh://", "git@", "file://"];

/// Source of a buildpack.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BuildpackOrigin {
    /// A directory of the host.
    Host(PathBuf),
    /// A folder of the app, by its relative path.
    App(String),
    /// A git repository.
    Git {
        url: String,
        /// Branch, tag or commit.
        branch: Option<String>,
    },
}

/// A buildpack that an app uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BuildpackReference {
    /// Its name, which is safe as a folder name.
    pub(super) name: String,
    pub(super) origin: BuildpackOrigin,
}

impl BuildpackReference {
    /// Parses `NAME`, `./FOLDER`, or `https://host/repo.git#branch`.
    ///
    /// # Errors
    /// Fails if it is none of them, or the host has no such pack, or the app no such folder.
    fn parse(text: &str, from: &str, source: &AppSource) -> anyhow::Result<Self> {
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            let (url, branch) =
                text.split_once('#').map_or((text, None), |(url, branch)| (url, Some(branch)));
            let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
            let name: String = last
                .trim_end_matches(".git")
                .chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
                .collect();
            if [".tgz", ".tar.gz"].iter().any(|ending| url.ends_with(ending)) {
                return Err(told::archive(url, from).into());
            }
            let name = if is_safe_name(&name) { name } else { "git".to_owned() };
            return Ok(Self {
                name,
                origin: BuildpackOrigin::Git { url: url.to_owned(), branch: branch.map(str::to_owned) },
            });
        }
        if text.contains('/') || text.starts_with('.') {
            // An app cannot name a folder outside of itself.
            let path = normalize_path(Path::new(text));
            let compile = path.join("bin/compile");
            let is_pack = !path.is_absolute() && source.find(&compile)?.is_some_and(|stat| stat.is_file());
            if !is_pack {
                return Err(told::no_folder(text, from).into());
            }
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_safe_name(name));
            let name = name.unwrap_or("own").to_owned();
            return Ok(Self { name, origin: BuildpackOrigin::App(path.to_string_lossy().into_owned()) });
        }
        let host = source.packs.iter().find(|(name, _)| name == text);
        match host {
            Some((name, path)) => {
                Ok(Self { name: name.clone(), origin: BuildpackOrigin::Host(path.clone()) })
            }
            None => Err(told::unknown(
                text,
                from,
                &source.packs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(),
            )
            .into()),
        }
    }

    /// Returns the host's buildpack of this name.
    pub(super) fn from_host(name: &str, source: &AppSource) -> anyhow::Result<Self> {
        Self::parse(name, "the host", source)
    }
}

/// Returns whether a name is safe as a folder name.
pub(super) fn is_safe_name(name: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 100 && !name.starts_with(['.', '-']) && name.chars().all(inner)
}

/// Returns the buildpacks that the app names, in the order in which they run, and where they are named.
pub(super) fn read_references(
    source: &AppSource,
) -> anyhow::Result<Option<(Vec<BuildpackReference>, String)>> {
    if let Some((value, from)) = source.variable(VARIABLE) {
        let from = format!("{VARIABLE} in {from}");
        if !value.trim().is_empty() {
            return Ok(Some((vec![BuildpackReference::parse(value.trim(), &from, source)?], from)));
        }
    }
    let Some(text) = source.read_bytes(FILE)? else { return Ok(None) };
    let text = decode(&text);
    let mut packs = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            packs.push(BuildpackReference::parse(line, &format!("{FILE}:{}", at + 1), source)?);
        }
    }
    if packs.is_empty() {
        return Err(told::empty_file(FILE).into());
    }
    Ok(Some((packs, FILE.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_folders_and_addresses() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("pack/bin")).unwrap();
        fs::write(dir.path().join("pack/bin/compile"), "").unwrap();
        let mut source = AppSource::read(dir.path(), None).unwrap();
        source.packs = vec![("php".to_owned(), "/srv/php".into())];
        let parse = |text| BuildpackReference::parse(text, "x", &source);
        assert_eq!(parse("php").unwrap().origin, BuildpackOrigin::Host("/srv/php".into()));
        assert_eq!(
            parse("./pack/").unwrap(),
            BuildpackReference { name: "pack".to_owned(), origin: BuildpackOrigin::App("pack".to_owned()) }
        );
        let git = |url: &str, branch: Option<&str>| BuildpackOrigin::Git {
            url: url.to_owned(),
            branch: branch.map(str::to_owned),
        };
        let found = parse("https://host/heroku-buildpack-php.git#v1").unwrap();
        assert_eq!(
            found,
            BuildpackReference {
                name: "heroku-buildpack-php".to_owned(),
                origin: git("https://host/heroku-buildpack-php.git", Some("v1"))
            }
        );
        assert_eq!(parse("git@host:me/pack").unwrap().origin, git("git@host:me/pack", None));
        for bad in ["ruby", "/srv/php", "../pack", "./nothing", "pack/bin"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
