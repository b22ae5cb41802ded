//! Sources of this machine's apt, of which a base is made.

#![expect(clippy::disallowed_methods, reason = "files of the machine")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::packages::query;
use crate::errors::image as errors;

/// Distributions whose sources make a base, with the keys that sign them.
const ORIGINS: [(&str, &str); 4] = [
    ("Debian", "debian-archive-keyring"),
    ("Raspbian", "raspbian-archive-keyring"),
    ("Raspberry Pi Foundation", "raspberrypi-archive-keyring"),
    ("Ubuntu", "ubuntu-archive-keyring"),
];
/// Directory in which packages install these keys.
const KEYRINGS: &str = "/usr/share/keyrings";

/// Sources of a base.
pub(super) struct DebianSources {
    pub(super) suite: String,
    /// Lines of sources.list(5).
    pub(super) lines: Vec<String>,
    /// True for the distribution whose `armhf` runs on version 6 of ARM.
    is_raspbian: bool,
}

/// Returns the settings of this machine's apt for its network.
pub(super) fn network_options() -> Vec<String> {
    let wanted = ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"];
    let dump = query(Command::new("apt-config").arg("dump")).unwrap_or_default();
    let lines = dump.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start)));
    lines.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

impl DebianSources {
    /// Reads the sources of this machine's apt.
    pub(super) fn read() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let listed = query(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        let suite = suite.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default();
        let lines = Self::parse(&listed, &suite, &|path| path.exists());
        if suite.is_empty() || lines.is_empty() {
            return Err(errors::no_sources().into());
        }
        let is_raspbian = listed.lines().any(|line| line.starts_with("Raspbian|"));
        Ok(Self { suite, lines, is_raspbian })
    }

    /// Returns the sources of the distribution itself.
    fn parse(listed: &str, suite: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for line in listed.lines() {
            let mut fields = line.split('|');
            let mut field = || fields.next().unwrap_or_default();
            let (origin, codename, uri, component) = (field(), field(), field(), field());
            let Some((_, keyring)) = ORIGINS.iter().find(|(name, _)| *name == origin) else { continue };
            let is_of_suite =
                codename.strip_prefix(suite).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            if !is_of_suite {
                continue;
            }
            let keyrings =
                ["gpg", "pgp", "asc"].map(|kind| Path::new(KEYRINGS).join(format!("{keyring}.{kind}")));
            let signed = keyrings.iter().find(|path| exists(path));
            let signed = signed.map_or_else(String::new, |path| format!("[signed-by={}] ", path.display()));
            lines.insert(format!("deb {signed}{uri} {codename} {component}"));
        }
        lines.into_iter().collect()
    }

    /// Returns the distribution's name of an architecture with this one in Debian.
    pub(super) fn architecture<'a>(&self, debian: &'a str) -> &'a str {
        if self.is_raspbian && debian == "armel" { "armhf" } else { debian }
    }

    /// Returns whether apt knows the package.
    #[expect(clippy::unused_self, reason = "the sources are apt's")]
    pub(super) fn has_package(&self, name: &str) -> bool {
        query(Command::new("apt-cache").args(["show", "--no-all-versions", name]))
            .is_ok_and(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_those_of_the_distribution() {
        let listed = "Debian|trixie|http://deb.example/debian/|main\n\
                      Debian|trixie-security|http://deb.example/security/|main\n\
                      Node Source|nodistro|https://node.example/|main\n\
                      Debian|sid|http://deb.example/debian/|main\n\
                      Debian|trixie|http://deb.example/debian/|main\n";
        let signed =
            DebianSources::parse(listed, "trixie", &|path| path.ends_with("debian-archive-keyring.gpg"));
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            signed,
            [
                format!("deb {key} http://deb.example/debian/ trixie main"),
                format!("deb {key} http://deb.example/security/ trixie-security main"),
            ]
        );
        assert_eq!(
            DebianSources::parse(listed, "sid", &|_| false),
            ["deb http://deb.example/debian/ sid main"]
        );
    }

    #[test]
    fn the_first_pis_run_armhf_of_raspbian() {
        let of = |is_raspbian| DebianSources { suite: String::new(), lines: Vec::new(), is_raspbian };
        assert_eq!((of(true).architecture("armel"), of(false).architecture("armel")), ("armhf", "armel"));
        assert_eq!(of(true).architecture("arm64"), "arm64");
    }
}
