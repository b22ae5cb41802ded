//! Edits of the config as the operator typed them.

use indexmap::IndexMap;
use piku_procfile::env::EnvFile;
use piku_procfile::procfile::ParseOptions;
use piku_report::user_error::{USAGE, UserError};

use super::{ConfigValues, check_env_name};

/// The edit of one command, applied as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigEdit {
    Set(Vec<(String, String)>),
    /// Remove names; a missing name is not an error.
    Unset(Vec<String>),
    /// Set the variables of a text in the format of `ENV`, or of a JSON object of strings.
    Import(Vec<u8>),
    /// The same, and remove the variables that the text does not have.
    Replace(Vec<u8>),
}

impl ConfigEdit {
    /// Returns the new config and warnings for the operator.
    ///
    /// # Errors
    /// Fails for a bad name or value, or with every bad line of the text.
    pub(crate) fn apply(&self, config: &ConfigValues) -> anyhow::Result<(ConfigValues, Vec<String>)> {
        let mut edited = config.clone();
        let mut warnings = Vec::new();
        match self {
            Self::Set(pairs) => {
                for (name, value) in pairs {
                    edited.set(name, value)?;
                }
            }
            Self::Unset(names) => names.iter().for_each(|name| edited.unset(name)),
            Self::Import(text) | Self::Replace(text) => {
                let (values, found) = parse_values(text)?;
                if matches!(self, Self::Replace(_)) {
                    edited = ConfigValues::default();
                }
                for (name, value) in &values {
                    edited.set(name, value)?;
                }
                warnings.extend(found);
            }
        }
        Ok((edited, warnings))
    }
}

/// Parses a JSON object of strings, such as Heroku and dokku export, or else the format of `ENV`, into values
/// and warnings.
pub(crate) fn parse_values(text: &[u8]) -> anyhow::Result<(IndexMap<String, String>, Vec<String>)> {
    if text.trim_ascii_start().starts_with(b"{") {
        // The cause would repeat a part of the text, which holds secrets.
        let values = serde_json::from_slice(text).map_err(|err| {
            let what = format!("line {} of the JSON is not an object of strings", err.line());
            UserError::new(what).hint("such as {\"DEBUG\": \"1\"}")
        })?;
        return Ok((values, Vec::new()));
    }
    let env = EnvFile::parse(text, &IndexMap::new(), ParseOptions::default())?;
    let warnings = env.warnings.iter().map(ToString::to_string).collect();
    Ok((env.vars, warnings))
}

/// Splits `NAME=value` at the first `=`.
///
/// # Errors
/// Fails with the exit code of wrong usage without `=`, or if the name is none of a variable.
pub(crate) fn parse_assignment(text: &str) -> anyhow::Result<(String, String)> {
    let Some((name, value)) = text.split_once('=') else {
        // The text is not repeated, since it may be a secret without its name.
        return Err(UserError::new("expected NAME=value").hint("such as DEBUG=1").code(USAGE).into());
    };
    check_env_name(name).map_err(|failure| failure.code(USAGE))?;
    Ok((name.to_owned(), value.to_owned()))
}
