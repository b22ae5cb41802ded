//! `grants:` of `host.yaml`: what of the machine's devices, sockets and folders each app may use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SettingsKey;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// Suffix of a path that an app may only read.
const READ_ONLY: &str = ":ro";
/// Folder that is a symlink to [`RUN`], inside of jails too.
const VAR_RUN: &str = "/var/run";
const RUN: &str = "/run";

/// A path of the machine that an app sees at the same place: `/dev/i2c-1`, `/srv/media:ro`. Absolute, without
/// `.`, `..` and control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantedPath {
    path: PathBuf,
    read_only: bool,
}

impl GrantedPath {
    /// Returns the path, on the machine and in the jail.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the app may only read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}

impl FromStr for GrantedPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, read_only) = text.strip_suffix(READ_ONLY).map_or((text, false), |path| (path, true));
        if path.chars().any(char::is_control) {
            return Err(format!("bad path {path:?}: it has a control character"));
        }
        let given = Path::new(path);
        if !given.is_absolute() || given.components().any(|part| part == Component::ParentDir) {
            return Err(format!(
                "bad path '{path}': expected an absolute path without '..', such as /dev/i2c-1"
            ));
        }
        // Without `.` and repeated slashes.
        let path: PathBuf = given.components().collect();
        let path = path.strip_prefix(VAR_RUN).map_or_else(|_| path.clone(), |rest| Path::new(RUN).join(rest));
        Ok(Self { path: path.components().collect(), read_only })
    }
}

impl fmt::Display for GrantedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path.display(), if self.read_only { READ_ONLY } else { "" })
    }
}

impl TryFrom<String> for GrantedPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GrantedPath> for String {
    fn from(grant: GrantedPath) -> Self {
        grant.to_string()
    }
}

/// The granted paths of each app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppGrants(BTreeMap<AppName, Vec<GrantedPath>>);

impl AppGrants {
    /// Returns the paths of an app.
    #[must_use]
    pub fn of(&self, app: &AppName) -> &[GrantedPath] {
        self.0.get(app).map_or(&[], Vec::as_slice)
    }

    /// Returns all apps with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&AppName, &[GrantedPath])> {
        self.0.iter().map(|(app, paths)| (app, paths.as_slice()))
    }

    /// Returns the paths of an app as a list in YAML.
    #[must_use]
    pub(crate) fn format_list(paths: &[GrantedPath]) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        let word = |path: &GrantedPath| {
            let text = path.to_string();
            // A string of JSON is one of YAML.
            if text.chars().all(is_plain) { text } else { serde_json::Value::from(text).to_string() }
        };
        format!("[{}]", paths.iter().map(word).collect::<Vec<_>>().join(", "))
    }

    /// Replaces the paths of an app.
    pub fn set(&mut self, app: &AppName, paths: Vec<GrantedPath>) {
        if paths.is_empty() {
            self.0.remove(app);
        } else {
            self.0.insert(app.clone(), paths);
        }
    }
}

/// Key in `host.yaml`.
const KEY: SettingsKey = SettingsKey {
    name: "grants:",
    comment: "# Devices, sockets and folders of this machine that apps may use; see `piku help grant`.",
};

impl PikuRoot {
    /// Changes the paths of an app in `host.yaml`. The other lines of the file stay as they are.
    ///
    /// # Errors
    /// As [`PikuRoot::edit_settings`], and with the error of `change`.
    pub fn change_grants(
        &self,
        app: &AppName,
        change: impl FnOnce(&[GrantedPath]) -> anyhow::Result<Vec<GrantedPath>>,
    ) -> anyhow::Result<()> {
        self.edit_settings(|settings, text| {
            let paths = change(settings.grants.of(app))?;
            let mut wanted = settings.clone();
            wanted.grants.set(app, paths.clone());
            let is_on_one_line = text
                .lines()
                .filter_map(|line| line.strip_prefix(KEY.name))
                .any(|rest| rest.trim_start().starts_with('{'));
            let new = if is_on_one_line {
                let lists = wanted
                    .grants
                    .iter()
                    .map(|(app, paths)| format!("{app}: {}", AppGrants::format_list(paths)));
                KEY.replace_in(text, &format!("{{{}}}", lists.collect::<Vec<_>>().join(", ")))
            } else {
                let list = (!paths.is_empty()).then(|| AppGrants::format_list(&paths));
                KEY.replace_app_in(text, app, list.as_deref())
            };
            Ok((new, wanted))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_they_are_written_and_read() {
        for (text, shown) in [
            ("/dev/i2c-1", "/dev/i2c-1"),
            ("/srv/media:ro", "/srv/media:ro"),
            ("/dev//snd/./", "/dev/snd"),
            ("/var/run/postgresql", "/run/postgresql"),
            ("/var/run", "/run"),
            ("/srv/a b:c", "/srv/a b:c"),
        ] {
            assert_eq!(text.parse::<GrantedPath>().unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", ":ro", "dev/x", "/dev/../etc", "/a\nb", "~/x"] {
            assert!(bad.parse::<GrantedPath>().is_err(), "{bad:?}");
        }
        let read: AppGrants = serde_yaml::from_str("{blog: [/dev/i2c-1, '/srv/media:ro']}").unwrap();
        let blog: AppName = "blog".parse().unwrap();
        assert!(read.of(&blog)[1].is_read_only() && read.of(&"shop".parse().unwrap()).is_empty());
        assert!(serde_yaml::from_str::<AppGrants>("{blog: /dev/i2c-1}").is_err());
        let odd: Vec<GrantedPath> =
            ["/dev/a", "/srv/a: b, \"c\" #d", "/é:ro", "/[x]"].map(|text| text.parse().unwrap()).into();
        let text = format!("blog: {}", AppGrants::format_list(&odd));
        assert_eq!(serde_yaml::from_str::<AppGrants>(&text).unwrap().of(&blog), odd, "{text}");
    }
    #[test]
    fn a_file_in_either_form_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let (blog, shop) = ("blog".parse().unwrap(), "shop".parse().unwrap());
        let set = |app: &AppName, paths: &[&str]| {
            let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
            root.change_grants(app, |_| Ok(paths)).unwrap();
            std::fs::read_to_string(root.settings()).unwrap()
        };
        let text = set(&blog, &["/dev/a"]);
        assert_eq!(text, format!("{}\ngrants:\n  blog: [/dev/a]\n", KEY.comment));
        let text = set(&shop, &["/dev/b", "/srv/x:ro"]);
        assert_eq!(
            text,
            format!("{}\ngrants:\n  shop: [/dev/b, \"/srv/x:ro\"]\n  blog: [/dev/a]\n", KEY.comment)
        );
        set(&blog, &[]);
        assert_eq!(set(&shop, &[]), "");

        std::fs::write(root.settings(), "grants: {shop: [/dev/b]}\nsandbox: prefer\n").unwrap();
        assert_eq!(set(&blog, &["/dev/a"]), "grants: {blog: [/dev/a], shop: [/dev/b]}\nsandbox: prefer\n");
        set(&blog, &[]);
        assert_eq!(set(&shop, &[]), "grants: {}\nsandbox: prefer\n");
        assert!(root.change_grants(&blog, |_| anyhow::bail!("no")).is_err());
    }
}
