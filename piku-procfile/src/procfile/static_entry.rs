//! The command of the process type `static`: `[PREFIX:]DIRECTORY`.

use std::path::Path;

use piku_layout::jail::{APP, DATA};
use piku_report::diagnostic::quote_word;

use crate::render::nginx::paths::{AppPath, PathPrefix};

/// URL prefix and directory of `static`, as they stand in the command.
pub(crate) struct StaticEntry<'a> {
    pub(crate) prefix: &'a str,
    /// Relative to the app, or below `/app` or `/data`.
    pub(crate) directory: &'a str,
    /// The directory has a slash in front that is not read: the Python piku reads `/public` as `public`.
    pub(crate) has_extra_slash: bool,
}

impl<'a> StaticEntry<'a> {
    /// Splits the command.
    pub(crate) fn split(command: &'a str) -> Self {
        let (prefix, text) = match command.split_once(':') {
            Some((prefix, text)) if prefix.starts_with('/') => (prefix, text),
            _ => ("/", command),
        };
        let is_in_jail = [APP, DATA].iter().any(|top| Path::new(text).starts_with(top));
        let directory = if is_in_jail { text } else { text.trim_start_matches('/') };
        Self {
            prefix: prefix.trim(),
            directory: if directory.is_empty() { "." } else { directory.trim() },
            has_extra_slash: !directory.is_empty() && directory.len() < text.len(),
        }
    }

    /// Refuses what the web server would not serve.
    ///
    /// # Errors
    /// Returns the reason, which names the part.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.prefix.parse::<PathPrefix>()?;
        self.directory.parse::<AppPath>().map(drop)
    }

    /// Returns a warning for a path that would be outside the app if it were read as it stands.
    pub(crate) fn warning(&self) -> Option<String> {
        let shown = || quote_word(self.directory);
        self.has_extra_slash.then(|| format!("static: this is the directory {} of the app", shown()))
    }
}
