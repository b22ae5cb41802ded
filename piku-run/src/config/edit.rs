//! What the operator asks to be changed, as it was typed.

use indexmap::IndexMap;
use piku_procfile::env::EnvFile;
use piku_procfile::procfile::ParseOptions;
use piku_report::user_error::UserError;

use super::ConfigValues;

/// One command's edit; all of it holds or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigEdit {
    /// Set values.
    Set(Vec<(String, String)>),
    /// Remove names; one that is not set is no error.
    Unset(Vec<String>),
    /// Set what a text in the ENV format says.
    Import(Vec<u8>),
}

impl ConfigEdit {
    /// The configuration as it is to be, and what its operator should know.
    ///
    /// # Errors
    /// When a name or value is bad, or with every bad line of the text.
    pub fn apply(&self, config: &ConfigValues) -> anyhow::Result<(ConfigValues, Vec<String>)> {
        let mut edited = config.clone();
        let mut warnings = Vec::new();
        match self {
            Self::Set(pairs) => {
                for (name, value) in pairs {
                    edited.set(name, value)?;
                }
            }
            Self::Unset(names) => names.iter().for_each(|name| edited.unset(name)),
            Self::Import(text) => {
                let env = EnvFile::parse(text, &IndexMap::new(), ParseOptions::default())?;
                for (name, value) in &env.vars {
                    edited.set(name, value)?;
                }
                warnings.extend(env.warnings.iter().map(ToString::to_string));
            }
        }
        Ok((edited, warnings))
    }
}

/// Takes `NAME=value` of a command line apart; the value is everything behind the first `=`.
///
/// # Errors
/// When there is no `=`.
pub fn assignment(text: &str) -> anyhow::Result<(String, String)> {
    let Some((name, value)) = text.split_once('=') else {
        // The text is not repeated: it may be a secret that lost its name.
        return Err(UserError::new("expected NAME=value").hint("such as DEBUG=1").into());
    };
    Ok((name.to_owned(), value.to_owned()))
}
