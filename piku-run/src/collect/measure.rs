//! How much a removal frees. Releases share files: one is freed with the last of its names.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a block is to `stat`, whatever the file system.
const BLOCK: u64 = 512;

/// Counts what is freed by removing one thing after the other.
#[derive(Debug, Default)]
pub(super) struct Measure {
    /// How many names of a shared file are gone so far.
    names: HashMap<(u64, u64), u64>,
}

impl Measure {
    /// What this one frees, after those that were asked for before.
    pub(super) fn frees(&mut self, path: &Path) -> u64 {
        let mut sum = 0;
        walk(path, &mut |meta| {
            if meta.is_dir() || meta.nlink() <= 1 {
                sum += meta.blocks() * BLOCK;
                return;
            }
            let names = self.names.entry((meta.dev(), meta.ino())).or_default();
            *names += 1;
            if *names == meta.nlink() {
                sum += meta.blocks() * BLOCK;
            }
        });
        sum
    }
}

/// What it takes on the disk, if nothing else shares it.
pub(super) fn size(path: &Path) -> u64 {
    let mut sum = 0;
    walk(path, &mut |meta| {
        sum += meta.blocks() * BLOCK / if meta.is_dir() { 1 } else { meta.nlink().max(1) }
    });
    sum
}

/// Everything below, links not followed. What cannot be read is passed over: it is a count, and builds leave odd modes.
fn walk(path: &Path, visit: &mut dyn FnMut(&Metadata)) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    visit(&meta);
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), visit);
        }
    }
}
