//! Home of a Python piku, which is only read: `~/.piku` with `repos`, `apps`, `envs`, `data` and `nginx`.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::free_space::SpaceNeeded;
use piku_files::{FileKind, FileLock, TreeError, TreeHandle, WalkStep};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::PikuRoot;
use piku_procfile::procfile::{self, ParseOptions, ProcessKind, Procfile};
use piku_report::diagnostic::quote_word;
use piku_report::user_error::{BUSY, UserError};

use super::python_settings::SettingsTexts;
use super::untracked_files::find_untracked;

/// Largest text file that is read.
const MAX_TEXT: u64 = 1 << 20;
/// Maximum number of untracked paths of an app that its data keeps.
pub(super) const MAX_KEPT: usize = 20;

/// Directory with the apps of a Python piku.
#[derive(Debug)]
pub(super) struct SourceHome(TreeHandle);

/// App in such a home.
#[derive(Debug)]
pub(super) struct SourceApp<'a> {
    home: &'a TreeHandle,
    /// Its name in the home.
    pub(super) old_name: String,
    /// Its name here.
    pub(super) name: AppName,
}

/// Process types with their number of instances, and remarks.
#[derive(Debug, Default)]
pub(super) struct SourceScaling {
    pub(super) counts: Vec<(ProcessName, u32)>,
    pub(super) remarks: Vec<String>,
}

impl SourceHome {
    /// Opens `dir`, which is the home of the user or its `.piku`.
    ///
    /// # Errors
    /// Fails if it is neither, or if it is the root of this piku.
    pub(super) fn open(dir: &Path, root: &PikuRoot) -> anyhow::Result<Self> {
        // git would take a relative name with a colon for another machine.
        let absolute = std::path::absolute(dir).context("cannot tell where this is")?;
        let tree = TreeHandle::open_following(&absolute)?;
        let tree = if tree.is_dir(".piku") { tree.subtree(".piku")? } else { tree };
        let is_home = tree.is_dir("repos") || tree.is_dir("apps") && tree.is_dir("envs");
        if !is_home {
            let what = format!("'{}' is not the home of a Python piku: it has no 'repos'", dir.display());
            return Err(UserError::new(what).hint("name the directory '.piku' of its user").into());
        }
        let own = TreeHandle::open_following(root.path());
        if own.and_then(|own| own.is_same(&tree)).unwrap_or(false) {
            let what = format!("'{}' is the directory of this piku, too", dir.display());
            return Err(UserError::new(what)
                .hint("on the server: sudo systemctl stop piku; sudo mv ~piku/.piku ~piku/.piku.python; sudo piku setup")
                .hint("then import '.piku.python'")
                .into());
        }
        Ok(Self(tree))
    }

    /// Keeps a second import from this home out.
    ///
    /// # Errors
    /// Fails if one is under way.
    #[expect(clippy::disallowed_methods, reason = "the top of the home, which the operator named")]
    pub(super) fn lock(&self) -> anyhow::Result<FileLock> {
        let path = self.0.path();
        let opened = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
        FileLock::try_exclusive(opened)
            .with_context(|| format!("cannot lock '{}'", path.display()))?
            .ok_or_else(|| {
                let what = format!("another import from '{}' is under way", path.display());
                UserError::new(what).code(BUSY).into()
            })
    }

    /// Returns the apps, sorted by name, and a line about each entry that cannot be an app here.
    pub(super) fn list_apps(&self) -> anyhow::Result<(Vec<SourceApp<'_>>, Vec<String>)> {
        let mut names = BTreeSet::new();
        for folder in ["repos", "apps"] {
            if self.0.is_dir(folder) {
                let entries = self.0.read_dir(folder)?;
                names.extend(entries.into_iter().map(|entry| (entry.name, entry.kind == FileKind::Folder)));
            }
        }
        let (mut apps, mut skipped) = (Vec::<SourceApp<'_>>::new(), Vec::new());
        for (entry, is_folder) in names {
            let shown = quote_word(&entry.to_string_lossy());
            let pair = entry.to_str().and_then(|old| Some((old.to_owned(), convert_name(old)?)));
            let Some((old_name, name)) = pair.filter(|_| is_folder) else {
                let why = if is_folder { "a name for an app" } else { "a directory" };
                skipped.push(format!("{shown}: skipped: it is not {why}"));
                continue;
            };
            match apps.iter().find(|app| app.name == name) {
                Some(same) if same.old_name == old_name => {}
                Some(other) => skipped.push(format!(
                    "{shown}: skipped: it would be '{name}' here, as {}",
                    quote_word(&other.old_name)
                )),
                None => apps.push(SourceApp { home: &self.0, old_name, name }),
            }
        }
        Ok((apps, skipped))
    }
}

/// Returns the name that an app gets here: lower case, with '-' for '.' and '_'.
fn convert_name(old: &str) -> Option<AppName> {
    let name: String =
        old.chars().map(|c| if c == '.' || c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    name.trim_matches('-').parse().ok()
}

impl SourceApp<'_> {
    /// Returns whether this is its name in the home, or here.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.old_name == name || self.name.as_str() == name
    }

    fn path_in(&self, folder: &str) -> PathBuf {
        Path::new(folder).join(&self.old_name)
    }

    /// Returns the path of the directory, for a program that reads it, if it is there and no symlink.
    pub(super) fn find_folder(&self, folder: &str) -> Result<Option<PathBuf>, String> {
        let path = self.path_in(folder);
        match self.home.find(&path) {
            Ok(Some(stat)) if stat.is_dir() => Ok(Some(self.home.path().join(path))),
            Ok(Some(_)) => Err(format!("'{}' is not imported: it is not a directory", path.display())),
            Ok(None) => Ok(None),
            Err(err) => Err(err.to_string()),
        }
    }

    /// Checks that the repository holds all that git reads of it: piku's user can read other repositories, and
    /// any user who could write here may have led git there.
    ///
    /// # Errors
    /// Fails with what leads out.
    pub(super) fn check_repository(&self, path: &Path) -> anyhow::Result<()> {
        let tree = self.home.subtree(path.strip_prefix(self.home.path()).unwrap_or(path))?;
        let elsewhere = ["commondir", "objects/info/alternates", "objects/info/http-alternates"];
        tree.walk(|entry| -> anyhow::Result<WalkStep> {
            let is_odd = !matches!(entry.stat().kind, FileKind::Regular | FileKind::Folder);
            // None of them is run.
            if entry.path() == Path::new("hooks") && !is_odd {
                return Ok(WalkStep::Over);
            }
            if is_odd || elsewhere.iter().any(|one| entry.path() == Path::new(one)) {
                let shown = quote_word(&entry.path().to_string_lossy());
                let what = format!("{shown} in its repository may lead to files outside of it");
                return Err(UserError::new(what)
                    .hint("replace the repository by a bare clone of it: git clone --mirror")
                    .into());
            }
            Ok(WalkStep::Into)
        })
    }

    /// Reads a text file below the app's directory in `folder`; empty if it is missing.
    fn read_text(&self, folder: &str, file: &str, remarks: &mut Vec<String>) -> String {
        let path = self.path_in(folder).join(file);
        match self.home.read_text(&path, MAX_TEXT) {
            Ok(text) => text,
            Err(err) if err.is_missing() => String::new(),
            Err(err) => {
                remarks.push(format!("not imported: {err}"));
                String::new()
            }
        }
    }

    pub(super) fn read_settings(&self, remarks: &mut Vec<String>) -> SettingsTexts {
        SettingsTexts {
            shipped: self.read_text("apps", "ENV", remarks),
            own: self.read_text("envs", "ENV", remarks),
            live: self.read_text("envs", "LIVE_ENV", remarks),
        }
    }

    /// Reads `SCALING`, with `web:2` or `web=2` lines. Numbers of 1 are the default.
    pub(super) fn read_scaling(&self) -> SourceScaling {
        let mut scaling = SourceScaling::default();
        let text = self.read_text("envs", "SCALING", &mut scaling.remarks);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parsed = line.split_once([':', '=']).and_then(|(name, count)| {
                let count: u32 =
                    count.trim().parse().ok().filter(|count| *count <= ProcessName::MAX_INSTANCES)?;
                Some((name.trim().parse::<ProcessName>().ok()?, count))
            });
            match parsed {
                Some((_, 1)) => {}
                Some((name, count)) => {
                    let kind = ProcessKind::classify(&name, "");
                    if kind.is_long_running() || kind == ProcessKind::Cron && count == 0 {
                        scaling.counts.push((name, count));
                    }
                }
                None => scaling.remarks.push(format!("SCALING: {} is not imported", quote_word(line))),
            }
        }
        scaling
    }

    /// Returns what is wrong with the Procfile for this piku, in lines.
    pub(super) fn check_procfile(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let text = self.read_text("apps", procfile::FILE, &mut remarks);
        if !text.is_empty() {
            if let Err(errors) = Procfile::parse(text.as_bytes(), ParseOptions::default()) {
                remarks.push("its Procfile needs changes before it can be deployed:".to_owned());
                remarks.extend(errors.to_string().lines().map(|line| format!("  {line}")));
            }
        }
        remarks
    }

    /// Returns the certificate and the key that the old nginx used.
    pub(super) fn read_certificate(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |ending: &str| {
            let path = Path::new("nginx").join(format!("{}.{ending}", self.old_name));
            self.home.read_bounded(path, MAX_TEXT).ok().filter(|content| !content.is_empty())
        };
        Some((read("crt")?, read("key")?))
    }

    /// Returns the commit of the old work tree, which was live.
    pub(super) fn read_live_commit(&self) -> Option<String> {
        let git = self.path_in("apps").join(".git");
        let text = |path: &Path| self.home.read_text(git.join(path), MAX_TEXT).ok();
        let head = text(Path::new("HEAD"))?;
        let commit = match head.trim().strip_prefix("ref: ") {
            Some(name) if name.starts_with("refs/") => text(Path::new(name)).or_else(|| {
                let packed = text(Path::new("packed-refs"))?;
                let line = packed.lines().find(|line| line.ends_with(&format!(" {name}")))?;
                Some(line.split(' ').next()?.to_owned())
            })?,
            _ => head,
        };
        let commit = commit.trim().to_owned();
        (commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit())).then_some(commit)
    }

    /// Returns the untracked paths of the old work tree that its data here keeps, and remarks.
    pub(super) fn find_kept(&self, tracked: &HashSet<PathBuf>) -> (Vec<String>, Vec<String>) {
        let tree = match self.home.subtree(self.path_in("apps")) {
            Ok(tree) => tree,
            Err(err) if err.is_missing() => return (Vec::new(), Vec::new()),
            Err(err) => return (Vec::new(), vec![err.to_string()]),
        };
        let found = match find_untracked(&tree, tracked, MAX_KEPT + 1) {
            Ok(found) => found,
            Err(err) => return (Vec::new(), vec![err.to_string()]),
        };
        let fits = |path: &PathBuf| {
            let text = path.to_str()?;
            let is_plain = |c: char| c.is_alphanumeric() || "._-/+@".contains(c);
            (text.chars().all(is_plain) && !text.starts_with('-')).then(|| text.to_owned())
        };
        let kept: Vec<String> = found.iter().filter_map(fits).collect();
        if found.len() > MAX_KEPT {
            let what = format!(
                "more than {MAX_KEPT} paths beside its code are not in git and not imported, such as"
            );
            return (Vec::new(), vec![format!("{what} {}", kept.first().map_or("", String::as_str))]);
        }
        let odd = found.iter().filter(|path| fits(path).is_none());
        let remarks =
            odd.map(|path| format!("{} is not imported: odd name", quote_word(&path.to_string_lossy())));
        (kept, remarks.collect())
    }

    /// Returns the space that the repository and the data take.
    pub(super) fn measure(&self) -> Result<SpaceNeeded, TreeError> {
        let mut needed = SpaceNeeded::default();
        for folder in ["repos", "data"] {
            let Ok(tree) = self.home.subtree(self.path_in(folder)) else { continue };
            tree.walk(|entry| -> Result<WalkStep, TreeError> {
                needed += SpaceNeeded { bytes: entry.stat().disk, files: 1 };
                Ok(WalkStep::Into)
            })?;
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (old, new) in [("blog", Some("blog")), ("My_App.v2", Some("my-app-v2")), ("_x_", Some("x"))] {
            assert_eq!(convert_name(old).map(String::from).as_deref(), new);
        }
        for bad in ["", "..", "-", "a b", "é"] {
            assert!(convert_name(bad).is_none(), "{bad}");
        }
    }
}
