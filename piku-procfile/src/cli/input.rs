//! Reads the file that the command line names, or stdin, and prints its warnings.

#![expect(clippy::disallowed_methods, reason = "a file that was named on the command line")]

use std::io;
use std::path::Path;

use anyhow::Context;
use indexmap::IndexMap;
use piku_report::diagnostic::Diagnostic;
use piku_report::user_error::{self, UserError};

use super::FileOrStdin;
use crate::env::{self, EnvFile};
use crate::procfile::{ParseOptions, Procfile};
use crate::read_file;

pub(crate) fn read_procfile(input: &FileOrStdin, options: ParseOptions) -> anyhow::Result<Procfile> {
    let procfile = match input {
        FileOrStdin::Stdin => Procfile::parse(&read_stdin()?, options)?,
        FileOrStdin::File(path) => Procfile::read(path, options)?,
    };
    print_warnings(&procfile.warnings);
    Ok(procfile)
}

pub(crate) fn read_environment(
    input: &FileOrStdin,
    platform: &IndexMap<String, String>,
    options: ParseOptions,
) -> anyhow::Result<EnvFile> {
    let env = match input {
        FileOrStdin::Stdin => EnvFile::parse(&read_stdin()?, platform, options)?,
        FileOrStdin::File(path) => {
            // An app needs no ENV file, but a file named on the command line must exist.
            if is_missing(path) {
                return Err(UserError::new(format!("there is no file '{}'", path.display()))
                    .hint("an ENV file has NAME=value lines; an app needs none")
                    .into());
            }
            EnvFile::read(path, platform, options)?
        }
    };
    print_warnings(&env.warnings);
    Ok(env)
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|err| err.kind() == io::ErrorKind::NotFound)
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    read_file::read_to_end(io::stdin().lock()).context("cannot read stdin")
}

/// Returns the platform variables that this process has in its environment; `default` is the value of the
/// others.
pub(crate) fn platform_variables(default: Option<&str>) -> IndexMap<String, String> {
    env::PLATFORM
        .iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok().or_else(|| default.map(str::to_owned))?;
            Some(((*name).to_owned(), value))
        })
        .collect()
}

pub(crate) fn print_warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        user_error::tell(&warning.to_string());
    }
}
