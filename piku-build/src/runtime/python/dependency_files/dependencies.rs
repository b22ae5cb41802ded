//! The dependencies of an app, the same for all package managers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::app::app_source::{AppSource, normalize_path};
use crate::runtime::python::dependency_files::PythonManager;
use crate::runtime::python::dependency_files::requirements::{
    self, LocalRequirement, PythonRequirements, normalize_name,
};

/// The dependencies of an app: all that determines its virtualenv.
#[derive(Debug, Default)]
pub(crate) struct PythonDependencies {
    /// `None` if the app declares no dependencies.
    pub(crate) manager: Option<PythonManager>,
    /// The file that declares them.
    pub(crate) file: &'static str,
    /// The content that determines them, by name, for the cache key.
    pub(crate) facts: Vec<(String, Vec<u8>)>,
    /// Folders and archives of the app that are installed.
    pub(crate) local: Vec<LocalRequirement>,
    /// Names and version specifiers of the packages.
    pub(crate) packages: BTreeMap<String, String>,
    /// pip's arguments for them.
    pub(crate) targets: Vec<String>,
    /// All have hashes, so pip requires one for everything.
    pub(crate) hashes: bool,
    pub(crate) locked: bool,
    /// Place of something that only pip does as pip does it, and uv in another way or not at all.
    pub(crate) only_pip: Option<String>,
    /// The app itself is installed as a package too.
    pub(crate) package: bool,
    /// Package indexes that the app names in its manager's files.
    pub(crate) sources: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl PythonDependencies {
    /// Returns whether anything is installed.
    pub(crate) fn is_installing(&self) -> bool {
        self.manager.is_some_and(|manager| manager != PythonManager::Pip || !self.targets.is_empty())
    }

    /// Adds the content of a file as a fact.
    pub(crate) fn add_fact(&mut self, source: &AppSource, file: &str) -> anyhow::Result<()> {
        if let Some(content) = source.read_bytes(file)? {
            self.facts.push((file.to_owned(), content));
        }
        Ok(())
    }

    /// Adds a folder or archive of the app that a lock file installs.
    pub(crate) fn add_local(
        &mut self,
        source: &AppSource,
        lock: &str,
        path: &str,
        editable: bool,
    ) -> anyhow::Result<()> {
        let path = normalize_path(Path::new(path));
        if source.has_path(&path)? {
            self.local.push(LocalRequirement { path, editable, file: PathBuf::from(lock), line: 1 });
        }
        Ok(())
    }

    /// Adds the `[[package]]` tables of a lock file in TOML.
    pub(crate) fn locked_packages<'a>(&mut self, lock: &'a Table) -> Vec<&'a Value> {
        let all = lock.get("package").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for package in all {
            let text = |name| package.get(name).and_then(Value::as_str);
            if let Some(name) = text("name") {
                let version = text("version").map_or_else(String::new, |version| format!("=={version}"));
                self.packages.insert(normalize_name(name), version);
            }
        }
        all.iter().collect()
    }
}

impl From<PythonRequirements> for PythonDependencies {
    fn from(read: PythonRequirements) -> Self {
        let targets = ["--requirement", requirements::FILE].map(str::to_owned);
        Self {
            facts: read
                .files
                .into_iter()
                .map(|(path, content)| (format!("requirements {}", path.display()), content))
                .collect(),
            local: read.local,
            packages: read.packages,
            targets: if read.any { targets.into() } else { Vec::new() },
            hashes: read.hashes,
            locked: read.hashes,
            only_pip: read.only_pip,
            ..Self::default()
        }
    }
}
