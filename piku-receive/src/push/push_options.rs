//! What `git push -o …` asks for. git hands the options to its hooks in the environment; `deploy` does the same for its own.

use std::env;
use std::process::Command;

use piku_report::user_error::UserError;

use crate::client::quoted;

/// git's own name for how many there are; `GIT_PUSH_OPTION_0` and so on hold them.
const COUNT: &str = "GIT_PUSH_OPTION_COUNT";
const EACH: &str = "GIT_PUSH_OPTION_";
const DRY_RUN: &str = "dry-run";
const NO_CACHE: &str = "no-cache";
const REBUILD: &str = "rebuild";

/// How a deploy is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PushOptions {
    /// Show the plan; store and deploy nothing.
    pub(crate) dry_run: bool,
    /// Build everything anew.
    pub(crate) no_cache: bool,
    /// Build what is live again, and deploy it when something has changed. No push asks for it.
    pub(crate) rebuild: bool,
}

impl PushOptions {
    /// Those of the push that this hook belongs to.
    ///
    /// # Errors
    /// When there is one that piku does not know.
    pub(crate) fn of_this_push() -> anyhow::Result<Self> {
        let count = env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        Self::read((0_usize..count).map(|number| env::var(format!("{EACH}{number}")).unwrap_or_default()))
    }

    /// Those of a push, before anything of it is stored.
    ///
    /// # Errors
    /// When there is one that a push may not have.
    pub(crate) fn admitted() -> anyhow::Result<Self> {
        let options = Self::of_this_push()?;
        if options.rebuild { Err(unknown(REBUILD)) } else { Ok(options) }
    }

    fn read(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                DRY_RUN => options.dry_run = true,
                NO_CACHE => options.no_cache = true,
                REBUILD => options.rebuild = true,
                _ => return Err(unknown(&word)),
            }
        }
        Ok(options)
    }

    /// The words that stand for them, in the order in which `begin-deploy` prints them.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.dry_run, DRY_RUN), (self.no_cache, NO_CACHE), (self.rebuild, REBUILD)]
            .into_iter()
            .filter_map(|(is_set, word)| is_set.then_some(word))
    }

    /// Hands them to a hook that no push has started.
    pub(crate) fn hand_to(self, hook: &mut Command) {
        hook.env(COUNT, self.words().count().to_string());
        for (number, word) in self.words().enumerate() {
            hook.env(format!("{EACH}{number}"), word);
        }
    }
}

fn unknown(word: &str) -> anyhow::Error {
    let what = format!("unknown push option {}", quoted(word));
    UserError::new(what).hint("piku knows -o dry-run and -o no-cache").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ones_are_taken_and_others_refused() {
        let read = |words: &[&str]| PushOptions::read(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(read(&[]).unwrap(), PushOptions::default());
        let both = read(&["no-cache", "dry-run", "no-cache"]).unwrap();
        assert_eq!(both.words().collect::<Vec<_>>(), ["dry-run", "no-cache"]);
        assert_eq!(read(&["dry-run "]).unwrap_err().to_string(), "unknown push option 'dry-run '");
    }
}
