//! What the tool reads: a file that was named or stdin, its warnings told.

#![expect(clippy::disallowed_methods, reason = "a file that was named on the command line")]

use std::io;
use std::path::Path;

use anyhow::Context;
use indexmap::IndexMap;
use piku_report::diagnostic::Diagnostic;
use piku_report::user_error::{self, UserError};

use crate::cli::FileOrStdin;
use crate::env::{self, EnvFile};
use crate::procfile::{ParseOptions, Procfile};
use crate::source;

pub(crate) fn procfile(input: &FileOrStdin, options: ParseOptions) -> anyhow::Result<Procfile> {
    let procfile = match input {
        FileOrStdin::Stdin => Procfile::parse(&stdin()?, options)?,
        FileOrStdin::File(path) => Procfile::read(path, options)?,
    };
    tell(&procfile.warnings);
    Ok(procfile)
}

pub(crate) fn environment(
    input: &FileOrStdin,
    platform: &IndexMap<String, String>,
    options: ParseOptions,
) -> anyhow::Result<EnvFile> {
    let env = match input {
        FileOrStdin::Stdin => EnvFile::parse(&stdin()?, platform, options)?,
        FileOrStdin::File(path) => {
            // Fine for an app, but who names a file wants that one.
            if is_missing(path) {
                return Err(UserError::new(format!("there is no file '{}'", path.display()))
                    .hint("an ENV file has NAME=value lines; an app needs none")
                    .into());
            }
            EnvFile::read(path, platform, options)?
        }
    };
    tell(&env.warnings);
    Ok(env)
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|err| err.kind() == io::ErrorKind::NotFound)
}

fn stdin() -> anyhow::Result<Vec<u8>> {
    source::read_from(io::stdin().lock()).context("cannot read stdin")
}

/// What the platform sets, as far as this program's own environment knows it.
pub(crate) fn platform(otherwise: Option<&str>) -> IndexMap<String, String> {
    env::PLATFORM
        .iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok().or_else(|| otherwise.map(str::to_owned))?;
            Some(((*name).to_owned(), value))
        })
        .collect()
}

pub(crate) fn tell(warnings: &[Diagnostic]) {
    for warning in warnings {
        user_error::tell(&warning.to_string());
    }
}
