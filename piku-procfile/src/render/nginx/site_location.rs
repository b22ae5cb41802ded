//! The locations that piku renders for an app. The app's file may have one with the same path: both are one
//! block then, because nginx accepts a path once.

use piku_report::diagnostic::{Diagnostic, quote_word};

use super::VirtualHost;
use super::include::syntax::NginxDirective;

/// A path of a `location` that is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocationPath {
    is_exact: bool,
    path: String,
}

impl LocationPath {
    /// Reads the words of a `location`; `None` for a regular expression.
    pub(super) fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let words: Vec<&str> = words.into_iter().skip(1).collect();
        let (is_exact, path) = match words[..] {
            ["=", path] => (true, path),
            ["^~", path] => (false, path),
            // nginx also reads a modifier and the path in one word.
            [word] => match (word.strip_prefix('='), word.strip_prefix("^~")) {
                (Some(path), _) => (true, path),
                (_, Some(path)) => (false, path),
                _ if word.starts_with('~') => return None,
                _ => (false, word),
            },
            _ => return None,
        };
        Some(Self { is_exact, path: path.to_owned() })
    }

    fn prefix(path: impl Into<String>) -> Self {
        Self { is_exact: false, path: path.into() }
    }

    fn exact(path: &str) -> Self {
        Self { is_exact: true, path: path.to_owned() }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns true for `@NAME`.
    pub(super) fn is_named(&self) -> bool {
        self.path.starts_with('@')
    }

    pub(super) fn has_dotfile(&self) -> bool {
        self.path.contains("/.")
    }
}

/// Returns the path of a `location` of the app.
pub(super) fn own_path(own: &NginxDirective) -> Option<LocationPath> {
    if own.name() != "location" {
        return None;
    }
    LocationPath::read(own.words.iter().map(String::as_str))
}

/// Returns true if the block says itself how its requests are answered.
pub(super) fn answers_itself(block: &[NginxDirective]) -> bool {
    block.iter().any(|directive| matches!(directive.name(), "proxy_pass" | "return"))
}

/// Returns the directive of a block of the app because of which nginx must not serve files there: it could
/// lead to any file that nginx can read.
pub(super) fn find_unsafe(block: &[NginxDirective]) -> Option<&NginxDirective> {
    block.iter().find(|directive| matches!(directive.name(), "if" | "location" | "rewrite"))
}

impl VirtualHost {
    /// Returns the paths of piku's locations, each with true if nginx serves files there.
    fn location_paths(&self) -> Vec<(LocationPath, bool)> {
        let mut all = Vec::new();
        for dir in &self.static_dirs {
            if !dir.prefix.is_root() {
                all.push((LocationPath::exact(dir.prefix.without_slash()), true));
            }
            all.push((LocationPath::prefix(dir.prefix.with_slash()), true));
        }
        if self.upstreams.is_empty() {
            return all;
        }
        for prefix in self.caching.iter().flat_map(|caching| &caching.prefixes) {
            if !prefix.is_root() {
                all.push((LocationPath::exact(prefix.without_slash()), false));
            }
            all.push((LocationPath::prefix(prefix.with_slash()), false));
        }
        all.push((LocationPath::prefix("/"), false));
        all.push((LocationPath::prefix("@app"), false));
        all
    }

    /// Returns true if the app's top-level `location` is part of a location of piku's.
    pub(super) fn is_shared(&self, own: &NginxDirective) -> bool {
        let Some(block) = own.block.as_ref().filter(|_| own.name() == "location") else { return false };
        let path = own_path(own);
        // nginx rejects a second one, and names its line.
        let is_first = |first: &NginxDirective| std::ptr::eq(first, own);
        if !self.include.directives().iter().find(|other| own_path(other) == path).is_some_and(is_first) {
            return false;
        }
        let paths = self.location_paths();
        let found = paths.iter().find(|(other, _)| path.as_ref() == Some(other));
        found.is_some_and(|(_, serves_files)| !(*serves_files && answers_itself(block)))
    }

    /// Returns an error for each of the app's directives that would let nginx serve any file.
    pub(super) fn find_unsafe_locations(&self) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        let paths = self.location_paths();
        for own in self.include.directives().iter().filter(|own| self.is_shared(own)) {
            let path = own_path(own);
            let serves_files = paths.iter().any(|(other, files)| *files && path.as_ref() == Some(other));
            let block = own.block.as_deref().unwrap_or_default();
            if let Some(bad) = find_unsafe(block).filter(|_| serves_files) {
                let what = format!(
                    "{} cannot be inside a location whose files nginx serves",
                    quote_word(bad.name())
                );
                let hint = "put it at the top of the file, or serve the files at another prefix";
                errors.push(self.include.error(bad.line, what).hint(hint));
            }
        }
        errors
    }
}
