//! The options of `git push -o …`. git passes them to its hooks in the environment, and `deploy` does the
//! same.

use std::env;
use std::process::Command;

use piku_report::user_error::UserError;

use crate::client::quoted;

/// Number of options, as git names it; `GIT_PUSH_OPTION_0` and so on hold them.
const COUNT: &str = "GIT_PUSH_OPTION_COUNT";
const EACH: &str = "GIT_PUSH_OPTION_";
const DRY_RUN: &str = "dry-run";
const NO_CACHE: &str = "no-cache";
const REBUILD: &str = "rebuild";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PushOptions {
    /// Print the plan; store and deploy nothing.
    pub(crate) dry_run: bool,
    /// Ignore all caches.
    pub(crate) no_cache: bool,
    /// Rebuild the live commit and deploy it if the result differs. Not available to a push.
    pub(crate) rebuild: bool,
}

impl PushOptions {
    /// Reads the options from the environment of the hook.
    ///
    /// # Errors
    /// Fails if an option is unknown.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let count = env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        Self::from_words(
            (0_usize..count).map(|number| env::var(format!("{EACH}{number}")).unwrap_or_default()),
        )
    }

    /// Reads the options of a push.
    ///
    /// # Errors
    /// Fails if an option is unknown or not available to a push.
    pub(crate) fn from_push_env() -> anyhow::Result<Self> {
        let options = Self::from_env()?;
        if options.rebuild { Err(unknown_option(REBUILD)) } else { Ok(options) }
    }

    fn from_words(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                DRY_RUN => options.dry_run = true,
                NO_CACHE => options.no_cache = true,
                REBUILD => options.rebuild = true,
                _ => return Err(unknown_option(&word)),
            }
        }
        Ok(options)
    }

    /// Returns the names of the set options, in the order in which `begin-deploy` prints them.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.dry_run, DRY_RUN), (self.no_cache, NO_CACHE), (self.rebuild, REBUILD)]
            .into_iter()
            .filter_map(|(is_set, word)| is_set.then_some(word))
    }

    /// Sets the variables for a hook that is run without a push.
    pub(crate) fn set_env(self, hook: &mut Command) {
        hook.env(COUNT, self.words().count().to_string());
        for (number, word) in self.words().enumerate() {
            hook.env(format!("{EACH}{number}"), word);
        }
    }
}

fn unknown_option(word: &str) -> anyhow::Error {
    let what = format!("unknown push option {}", quoted(word));
    UserError::new(what).hint("piku knows -o dry-run and -o no-cache").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ones_are_taken_and_others_refused() {
        let read = |words: &[&str]| PushOptions::from_words(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(read(&[]).unwrap(), PushOptions::default());
        let both = read(&["no-cache", "dry-run", "no-cache"]).unwrap();
        assert_eq!(both.words().collect::<Vec<_>>(), ["dry-run", "no-cache"]);
        assert_eq!(read(&["dry-run "]).unwrap_err().to_string(), "unknown push option 'dry-run '");
    }
}
