//! The environment files of a foreman: the app's `ENV`, then the developer's own `.env`, or those that the
//! user names.

#![expect(clippy::disallowed_methods, reason = "files that were named on the command line")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_procfile::env::{self, EnvFile};
use piku_procfile::procfile::ParseOptions;
use piku_report::user_error::{USAGE, UserError};

use crate::instance::environment::Vars;

/// The file of foreman, honcho, overmind and `heroku local`.
const LOCAL: &str = ".env";
const DEFAULT_PORT: u16 = 5000;
const PORT: &str = "PORT";

/// Environment files in order: a later one overrides an earlier one.
#[derive(Debug)]
pub(super) struct EnvFiles(Vec<PathBuf>);

impl EnvFiles {
    /// Takes the named files, or else those of the directory that exist.
    ///
    /// # Errors
    /// Fails if a named file does not exist.
    pub(super) fn new(dir: &Path, named: Vec<PathBuf>) -> anyhow::Result<Self> {
        if named.is_empty() {
            return Ok(Self([env::FILE, LOCAL].map(|name| dir.join(name)).into()));
        }
        for path in &named {
            fs::metadata(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        }
        Ok(Self(named))
    }

    /// Adds the variables of the files, except `PORT`.
    ///
    /// # Errors
    /// Fails if a file cannot be read or parsed.
    pub(super) fn extend(&self, mut vars: Vars) -> anyhow::Result<Vars> {
        let port = vars.get(PORT).cloned();
        for path in &self.0 {
            vars.extend(EnvFile::read(path, &vars, ParseOptions::default())?.vars);
            // A later file may refer to the port of the instance.
            if let Some(port) = &port {
                vars.insert(PORT.to_owned(), port.clone());
            }
        }
        Ok(vars)
    }

    /// Returns the first port: the one of the command line, of the files, of the environment, or 5000.
    ///
    /// # Errors
    /// Fails as [`EnvFiles::extend`], or if a variable is not a port.
    pub(super) fn first_port(&self, named: Option<u16>) -> anyhow::Result<u16> {
        let mut vars = inherited();
        let outer = vars.shift_remove(PORT).map(|port| (port, "the environment".to_owned()));
        let mut found = outer;
        for path in &self.0 {
            let file = EnvFile::read(path, &vars, ParseOptions::default())?;
            found = file.vars.get(PORT).map(|port| (port.clone(), path.display().to_string())).or(found);
            vars.extend(file.vars);
        }
        if let Some(port) = named {
            return Ok(port);
        }
        let Some((text, place)) = found.filter(|(text, _)| !text.is_empty()) else { return Ok(DEFAULT_PORT) };
        text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            let failure = UserError::new(format!("PORT in {place}: '{text}' is not a port")).code(USAGE);
            failure.hint("-p PORT counts before it").into()
        })
    }
}

/// Returns the environment of the caller.
pub(super) fn inherited() -> Vars {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
