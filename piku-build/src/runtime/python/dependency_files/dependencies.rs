//! What an app depends on, whoever manages it: what determines its virtualenv.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::app::app_source::{AppSource, tidy};
use crate::runtime::python::dependency_files::PythonManager;
use crate::runtime::python::dependency_files::requirements::{
    self, LocalRequirement, PythonRequirements, normal,
};

/// Everything that an app depends on.
#[derive(Debug, Default)]
pub(crate) struct PythonDependencies {
    /// Who installs them; nobody when there are none.
    pub(crate) manager: Option<PythonManager>,
    /// The file that says them.
    pub(crate) file: &'static str,
    /// What determines them, by names.
    pub(crate) facts: Vec<(String, Vec<u8>)>,
    /// What of the app's own tree is installed, or installed from.
    pub(crate) local: Vec<LocalRequirement>,
    /// The packages that are named, with what is said of their versions.
    pub(crate) packages: BTreeMap<String, String>,
    /// How pip is told of them.
    pub(crate) targets: Vec<String>,
    /// Whether all have hashes: then pip wants one of everything.
    pub(crate) hashes: bool,
    /// Whether there is a lock.
    pub(crate) locked: bool,
    /// Whether the app itself is a package to be installed beside them.
    pub(crate) package: bool,
    /// The indexes that the app names in its manager's own way.
    pub(crate) sources: Vec<String>,
    /// What its author should know.
    pub(crate) warnings: Vec<String>,
}

impl PythonDependencies {
    /// Whether anything is to be installed.
    pub(crate) fn any(&self) -> bool {
        self.manager.is_some_and(|manager| manager != PythonManager::Pip || !self.targets.is_empty())
    }

    /// Adds a file of the app as a fact.
    pub(crate) fn fact(&mut self, source: &AppSource, file: &str) -> anyhow::Result<()> {
        if let Some(content) = source.text(file)? {
            self.facts.push((file.to_owned(), content));
        }
        Ok(())
    }

    /// Adds what of the app's tree a lock file says is installed.
    pub(crate) fn local(
        &mut self,
        source: &AppSource,
        lock: &str,
        path: &str,
        editable: bool,
    ) -> anyhow::Result<()> {
        let path = tidy(Path::new(path));
        if source.has_path(&path)? {
            self.local.push(LocalRequirement { path, editable, file: PathBuf::from(lock), line: 1 });
        }
        Ok(())
    }

    /// Adds the packages that a lock file in TOML has, `[[package]]`.
    pub(crate) fn locked_packages<'a>(&mut self, lock: &'a Table) -> Vec<&'a Value> {
        let all = lock.get("package").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for package in all {
            let text = |name| package.get(name).and_then(Value::as_str);
            if let Some(name) = text("name") {
                let version = text("version").map_or_else(String::new, |version| format!("=={version}"));
                self.packages.insert(normal(name), version);
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
            ..Self::default()
        }
    }
}
