//! The directory of an app as a build reads it: top-level names, Procfile, `ENV` and the operator's config.
//! All access goes through its [`TreeHandle`], which follows no link out of the directory, opens only regular
//! files and limits what it reads: a repository may contain `requirements.txt -> /home/user/.netrc`, and a
//! preflight task may leave a named pipe.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder that an operator names is found by its path, then held; config.json is piku's own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::{FileKind, FileStat, FolderEntry, TreeHandle};
use piku_layout::jail::DATA;
use piku_procfile::env::EnvFile;
use piku_procfile::misspelt;
use piku_procfile::procfile::{ParseOptions, Procfile};
use piku_report::diagnostic::Diagnostic;
use piku_report::user_error::UserError;

use crate::app::app_file;
use crate::app::app_json::{self, AppJson};
use crate::app::read_budget::ReadBudget;
use crate::step::sandbox::SandboxPolicy;

/// Files and settings of an app, as a build reads them.
pub(crate) struct AppSource {
    /// Handle of the app's directory.
    pub(crate) tree: TreeHandle,
    /// Names in the top directory, sorted; those of directories end with `/`.
    pub(crate) names: Vec<String>,
    /// Path of the app below the pushed directory, if `APP_DIR` is set.
    pub(crate) below: Option<PathBuf>,
    /// Files inherited from the pushed directory: names and contents.
    pub(crate) shared: Vec<(&'static str, Vec<u8>)>,
    /// Process types of the Procfile, if there is one.
    pub(crate) procfile: Option<Procfile>,
    /// Variables of the app's `ENV` file.
    pub(crate) env: IndexMap<String, String>,
    /// Settings of `app.json`, whose variables are also in `env`.
    pub(crate) app_json: AppJson,
    /// Variables that the operator stored with `config set`.
    pub(crate) config: BTreeMap<String, String>,
    /// The host's buildpacks: names and folders.
    pub(crate) packs: Vec<(String, PathBuf)>,
    /// Policy for the sandbox in which buildpacks detect the app.
    pub(crate) sandbox: SandboxPolicy,
    /// Warnings for the app's author.
    pub(crate) warnings: Vec<Diagnostic>,
    /// The same about files that are not read.
    pub(crate) notes: Vec<String>,
    /// Limit of what is read of the app.
    budget: ReadBudget,
}

impl AppSource {
    /// Reads the app in this directory.
    ///
    /// # Errors
    /// Fails if it is not a folder, or its Procfile, its ENV or the config is invalid.
    pub(crate) fn read(dir: &Path, config: Option<&Path>) -> anyhow::Result<Self> {
        let mut source = Self::open(dir, config)?;
        source.parse()?;
        Ok(source)
    }

    /// Reads the app's `ENV`, but not its Procfile yet.
    ///
    /// # Errors
    /// Fails if it is not a folder, or its ENV or the config is invalid.
    pub(crate) fn open(dir: &Path, config: Option<&Path>) -> anyhow::Result<Self> {
        // The caller's path may contain links; steps see the resolved one.
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot open '{}'", dir.display()))?;
        Self::open_tree(TreeHandle::open(&dir)?, config)
    }

    /// Reads an open tree like [`AppSource::open`].
    ///
    /// # Errors
    /// Fails if its ENV or the config is invalid.
    pub(crate) fn open_tree(tree: TreeHandle, config: Option<&Path>) -> anyhow::Result<Self> {
        let mut source = Self {
            names: list_names(&tree)?,
            tree,
            below: None,
            shared: Vec::new(),
            procfile: None,
            env: IndexMap::new(),
            app_json: AppJson::default(),
            config: config.map(stored).transpose()?.unwrap_or_default(),
            packs: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            sandbox: SandboxPolicy::default(),
            budget: ReadBudget::default(),
        };
        source.parse_env()?;
        Ok(source)
    }

    /// Reads the subdirectory `name` as an app.
    ///
    /// # Errors
    /// Fails if it is not a directory, or its Procfile or its ENV is invalid.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<Self> {
        let mut source = Self::open_tree(self.tree.subtree(name)?, None)?;
        source.parse()?;
        Ok(source)
    }

    /// Reads a release's tree after the build. Steps may have put anything there.
    ///
    /// # Errors
    /// Fails if its Procfile or its ENV is invalid.
    pub(crate) fn read_tree(tree: &TreeHandle, config: Option<&Path>) -> anyhow::Result<Self> {
        let mut source = Self::open_tree(tree.clone(), config)?;
        source.parse()?;
        Ok(source)
    }

    fn parse_env(&mut self) -> anyhow::Result<()> {
        if let Some(text) = self.own_or_shared("ENV")? {
            let env = EnvFile::parse(&text, &placeholder_variables(), ParseOptions::default())?;
            self.warnings = env.warnings;
            self.env = env.vars;
        } else if let Some(name) = misspelt::find_env(&self.names) {
            self.notes.push(format!("'{name}' is not read: settings that ship with the app stand in a file named ENV, secrets are set with config:set"));
        }
        Ok(())
    }

    /// Reads the Procfile, and `ENV` again if it is inherited from the top.
    ///
    /// # Errors
    /// Fails if one of them is invalid.
    pub(crate) fn parse(&mut self) -> anyhow::Result<()> {
        if !self.shared.is_empty() {
            self.notes.clear();
            self.parse_env()?;
        }
        if let Some(text) = self.own_or_shared("Procfile")? {
            let procfile = Procfile::parse(&text, ParseOptions::default())?;
            self.warnings.extend(procfile.warnings.iter().cloned());
            self.procfile = Some(procfile);
        } else if let Some(name) = misspelt::find_procfile(&self.names) {
            self.notes.push(format!("'{name}' is not read: rename it to 'Procfile'"));
        }
        self.parse_app_json()
    }

    /// Reads `app.json`. ENV overrides its variables. What is no file of Heroku's fails no build.
    fn parse_app_json(&mut self) -> anyhow::Result<()> {
        let text = match self.read_bytes(app_json::FILE) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(err) if err.is::<UserError>() => {
                self.notes.push(format!("{} is not used: {err}", app_json::FILE));
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        let parsed = AppJson::parse(&text);
        self.notes.extend(parsed.notes(|name| self.env.contains_key(name) || self.config.contains_key(name)));
        for (name, value) in &parsed.env {
            self.env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.app_json = parsed;
        Ok(())
    }

    /// Returns a file of the app's folder, or the one that it has from the top.
    fn own_or_shared(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let shared = self.shared.iter().find(|(shared, _)| *shared == name);
        shared.map_or_else(|| self.read_bytes(name), |(_, text)| Ok(Some(text.clone())))
    }

    /// Reads a file; see [`app_file::read_bytes`].
    ///
    /// # Errors
    /// Fails also if more is read of the app than [`ReadBudget`] allows.
    pub(crate) fn read_bytes(&self, name: impl AsRef<Path>) -> anyhow::Result<Option<Vec<u8>>> {
        let bytes = app_file::read_bytes(&self.tree, name.as_ref())?;
        if let Some(bytes) = &bytes {
            self.budget.spend(name.as_ref(), bytes.len())?;
        }
        Ok(bytes)
    }

    /// Finds a file; see [`app_file::find_file`].
    pub(crate) fn find(&self, name: impl AsRef<Path>) -> anyhow::Result<Option<FileStat>> {
        app_file::find_file(&self.tree, name.as_ref())
    }

    /// Returns whether a path in the folder leads to anything.
    ///
    /// # Errors
    /// As [`app_file::find_file`].
    pub(crate) fn has_path(&self, name: impl AsRef<Path>) -> anyhow::Result<bool> {
        Ok(self.find(name)?.is_some())
    }

    /// Lists a directory; see [`app_file::list_folder`].
    ///
    /// # Errors
    /// Fails also if more is read of the app than [`ReadBudget`] allows.
    pub(crate) fn list(&self, name: impl AsRef<Path>) -> anyhow::Result<Vec<FolderEntry>> {
        self.budget.spend(name.as_ref(), 0)?;
        app_file::list_folder(&self.tree, name.as_ref())
    }

    /// Returns whether the top directory has a file or a directory (`name/`) of this name.
    pub(crate) fn has_entry(&self, name: &str) -> bool {
        self.names.binary_search_by(|there| there.as_str().cmp(name)).is_ok()
    }

    /// Lists the files in the top directory with one of these endings, without dots: `js`.
    pub(crate) fn names_ending<'a>(&'a self, endings: &'a [&'a str]) -> impl Iterator<Item = &'a String> {
        let has_ending = |name: &&String| {
            Path::new(name).extension().is_some_and(|found| endings.iter().any(|ending| found == *ending))
        };
        self.names.iter().filter(|name| !name.ends_with('/')).filter(has_ending)
    }

    /// Returns a variable of the config or else of ENV, and which of them has it.
    pub(crate) fn variable(&self, name: &str) -> Option<(&str, &'static str)> {
        let config = self.config.get(name).map(|value| (value.as_str(), "config"));
        config.or_else(|| self.env.get(name).map(|value| (value.as_str(), "ENV")))
    }
}

/// Decodes a file: UTF-8, or UTF-16 with a byte order mark, as `pip freeze >` writes it in a Windows shell.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned(),
    }
}

/// Returns the path without `.`, and with `..` only in front, by its text alone.
pub(crate) fn normalize_path(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match tidied.components().next_back() {
                Some(Component::Normal(_)) => {
                    tidied.pop();
                }
                Some(Component::RootDir) => {}
                _ => tidied.push(part),
            },
            part => tidied.push(part),
        }
    }
    tidied
}

/// Returns the names in the top directory without `.git`.
fn list_names(tree: &TreeHandle) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = tree
        .read_dir("")?
        .into_iter()
        .filter(|entry| entry.name != ".git")
        .map(|entry| {
            let end = if entry.kind == FileKind::Folder { "/" } else { "" };
            entry.name.to_string_lossy().into_owned() + end
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Reads `config.json`; a missing one is empty. Values are never repeated in an error.
fn stored(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    };
    let bad = || {
        format!("bad config in '{}': it is to be one JSON object of names and string values", path.display())
    };
    let config: BTreeMap<String, String> = serde_json::from_slice(&text)
        .map_err(|err| anyhow::anyhow!("line {}, column {}", err.line(), err.column()))
        .with_context(bad)?;
    if let Some((name, _)) = config
        .iter()
        .find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
    {
        anyhow::bail!("{}: {name:?} cannot be in an environment", bad());
    }
    Ok(config)
}

/// Returns the variables that `ENV` may refer to. A build has no port, so the values are placeholders of the
/// right form.
fn placeholder_variables() -> IndexMap<String, String> {
    [
        ("PORT", "5000"),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("DATA_DIR", DATA),
        ("PIKU_APP", "app"),
        ("PIKU_RELEASE", "0"),
        ("PIKU_COMMIT", ""),
        ("PS", "build.1"),
        ("PROC_TYPE", "build"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_at_the_top_say_what_is_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["sub", ".git"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("real.txt"), "").unwrap();
        symlink("/dev/zero", dir.path().join("link")).unwrap();
        let source = AppSource::read(dir.path(), None).unwrap();
        assert_eq!(source.names, ["link", "real.txt", "sub/"]);
        assert!(source.has_entry("sub/") && source.has_entry("real.txt") && !source.has_entry("sub"));
    }

    #[test]
    fn config_comes_before_env_and_its_values_stay_secret() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.json");
        fs::write(dir.path().join("ENV"), "A=1\nB=2\n").unwrap();
        fs::write(&config, r#"{"A": "3"}"#).unwrap();
        let source = AppSource::read(dir.path(), Some(&config)).unwrap();
        assert_eq!(source.variable("A"), Some(("3", "config")));
        assert_eq!(source.variable("B"), Some(("2", "ENV")));
        fs::write(&config, r#"{"A": 12345}"#).unwrap();
        let err = format!("{:#}", AppSource::read(dir.path(), Some(&config)).err().unwrap());
        assert!(!err.contains("12345"), "{err}");
    }
}
