//! Generations of a directory of layers. A layer in use is never written again. To have all layers built
//! again, their directory gets a new generation, a text that goes into every key. Layers that a lock file
//! determines have their own generation, because building them again gives the same result.

#![expect(clippy::disallowed_methods, reason = "the store's own files beside the layers")]

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;

/// Extension of the file with the generation, beside the directory: `layers.edition`. Missing in the first.
const FILE: &str = "edition";
/// Extension of the file for layers that a lock file determines: `layers.locked-edition`.
const LOCKED_FILE: &str = "locked-edition";

/// The generations in use.
pub(crate) struct LayerGenerations {
    open: String,
    locked: String,
}

impl LayerGenerations {
    /// Reads the generations of the layers in this directory.
    pub(crate) fn read(layers: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let file = layers.with_extension(name);
            match fs::read_to_string(&file) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                read => read.with_context(|| format!("cannot read '{}'", file.display())),
            }
        };
        Ok(Self { open: read(FILE)?, locked: read(LOCKED_FILE)? })
    }

    /// Returns a new generation; with `locked` also for layers that a lock file determines.
    pub(crate) fn next(self, locked: bool) -> Self {
        let open = jiff::Timestamp::now().to_string();
        Self { locked: if locked { open.clone() } else { self.locked }, open }
    }

    /// Writes the generations for later builds.
    pub(crate) fn keep(&self, layers: &Path) -> anyhow::Result<()> {
        for (name, generation) in [(FILE, &self.open), (LOCKED_FILE, &self.locked)] {
            let file = layers.with_extension(name);
            atomic_file::write(&file, generation.as_bytes(), 0o644)
                .with_context(|| format!("cannot write '{}'", file.display()))?;
        }
        Ok(())
    }

    /// Returns the text that goes into a key; `None` in the first generation.
    pub(crate) fn key_text(&self, locked: bool) -> Option<&str> {
        let generation = if locked { &self.locked } else { &self.open };
        (!generation.is_empty()).then_some(generation.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_generation_lasts_when_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layers = dir.path().join("layers");
        let both = |of: &LayerGenerations| [false, true].map(|locked| of.key_text(locked).map(str::to_owned));
        let read = || LayerGenerations::read(&layers).unwrap();
        assert_eq!(both(&read()), [None, None]);
        let anew = read().next(false);
        assert!(anew.key_text(false).is_some() && anew.key_text(true).is_none());
        assert_eq!(both(&read()), [None, None], "it was not kept");
        anew.keep(&layers).unwrap();
        assert_eq!(both(&read()), both(&anew));
        let all = anew.next(true);
        assert!(all.key_text(true).is_some() && all.key_text(true) == all.key_text(false));
        all.keep(&layers).unwrap();
        assert_eq!(both(&read()), both(&all));
    }
}
