//! Reads what an app ships, and only that: a file that is not one, that has no end, or that is a link to somebody else's
//! secrets is not read. The text of a bad line is shown to whoever pushed it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;

use crate::failure::Failure;

/// No Procfile or ENV is as long as this; an endless one (`/dev/zero`) must end somewhere.
const MAX_BYTES: u64 = 64 << 20;

/// The file's bytes; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", path.display());
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(about),
    };
    // A shell's <(command), /dev/stdin: not from an app's tree, and not regular files.
    let of_the_system = path.starts_with("/dev") || path.starts_with("/proc");
    if found.is_symlink() && !of_the_system {
        let target = fs::canonicalize(path).with_context(about)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !target.starts_with(fs::canonicalize(parent).with_context(about)?) {
            return Err(Failure::new(format!("{}: it is a link that leads out of its folder", about()))
                .hint("put the file itself there")
                .into());
        }
    }
    let kind = fs::metadata(path).with_context(about)?;
    if kind.is_dir() {
        return Err(Failure::new(format!("{}: it is a folder", about())).hint("name the file in it").into());
    }
    if !kind.is_file() && !of_the_system {
        return Err(Failure::new(format!("{}: it is not a regular file", about())).into());
    }
    let file = File::open(path).with_context(about)?;
    read_from(file).with_context(about).map(Some)
}

/// The bytes of a file below `root`, also when a link inside leads elsewhere inside; `None` when there is no such file.
pub(crate) fn read_below(root: &Path, below: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", below.display());
    let top = fs::canonicalize(root).with_context(|| format!("cannot read '{}'", root.display()))?;
    let path = match fs::canonicalize(top.join(below)) {
        Ok(path) => path,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(about),
    };
    if !path.starts_with(&top) {
        return Err(Failure::new(format!("{}: a link leads out of the app's folder", about())).into());
    }
    if !fs::metadata(&path).with_context(about)?.is_file() {
        return Err(Failure::new(format!("{}: it is not a regular file", about())).into());
    }
    read_from(File::open(&path).with_context(about)?).with_context(about).map(Some)
}

/// All that comes from `input`.
pub(crate) fn read_from(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The name that diagnostics give the file.
pub(crate) fn label(path: &Path, otherwise: &str) -> String {
    path.file_name().map_or_else(|| otherwise.to_owned(), |name| name.to_string_lossy().into_owned())
}
