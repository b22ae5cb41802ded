//! Editions of a folder of layers. A layer that is in use is never written again; to have all of them built
//! anew, their folder gets a new *edition*: a word that goes into every key. Layers that a lock determines
//! have an edition of their own: built anew they would be no other than before.

#![expect(clippy::disallowed_methods, reason = "the store's own files beside the layers")]

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;

/// Says, beside the folder, which edition of the layers is in use: `layers.edition`. Not there in the first.
const EDITION: &str = "edition";
/// The same of the layers that a lock determines: `layers.locked-edition`.
const LOCKED: &str = "locked-edition";

/// The editions that are in use.
pub(crate) struct LayerEditions {
    open: String,
    locked: String,
}

impl LayerEditions {
    /// Those of the layers in this folder.
    pub(crate) fn read(layers: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let file = layers.with_extension(name);
            match fs::read_to_string(&file) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                read => read.with_context(|| format!("cannot read '{}'", file.display())),
            }
        };
        Ok(Self { open: read(EDITION)?, locked: read(LOCKED)? })
    }

    /// An edition that nobody has seen; with `locked` of the layers that a lock determines too.
    pub(crate) fn anew(self, locked: bool) -> Self {
        let open = jiff::Timestamp::now().to_string();
        Self { locked: if locked { open.clone() } else { self.locked }, open }
    }

    /// Makes them those that later builds find.
    pub(crate) fn keep(&self, layers: &Path) -> anyhow::Result<()> {
        for (name, edition) in [(EDITION, &self.open), (LOCKED, &self.locked)] {
            let file = layers.with_extension(name);
            atomic_file::write(&file, edition.as_bytes(), 0o644)
                .with_context(|| format!("cannot write '{}'", file.display()))?;
        }
        Ok(())
    }

    /// Returns the text that goes into a key; `None` in the first generation.
    pub(crate) fn of(&self, locked: bool) -> Option<&str> {
        let edition = if locked { &self.locked } else { &self.open };
        (!edition.is_empty()).then_some(edition.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_edition_lasts_when_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layers = dir.path().join("layers");
        let both = |of: &LayerEditions| [false, true].map(|locked| of.of(locked).map(str::to_owned));
        let read = || LayerEditions::read(&layers).unwrap();
        assert_eq!(both(&read()), [None, None]);
        let anew = read().anew(false);
        assert!(anew.of(false).is_some() && anew.of(true).is_none());
        assert_eq!(both(&read()), [None, None], "it was not kept");
        anew.keep(&layers).unwrap();
        assert_eq!(both(&read()), both(&anew));
        let all = anew.anew(true);
        assert!(all.of(true).is_some() && all.of(true) == all.of(false));
        all.keep(&layers).unwrap();
        assert_eq!(both(&read()), both(&all));
    }
}
