//! Reads what an app ships, and only that: a file that is not one, that has no end, or that is a link to somebody else's
//! secrets is not read. The text of a bad line is shown to whoever pushed it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use piku_files::TreeHandle;

use crate::failure::Failure;

/// No Procfile or ENV is as long as this; an endless one (`/dev/zero`) must end somewhere.
const MAX_BYTES: u64 = 64 << 20;

/// The file's bytes; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", path.display());
    // A shell's <(command), /dev/stdin: not from an app's tree, and not regular files.
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return match open_of_system(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            file => read_from(file.with_context(about)?).with_context(about).map(Some),
        };
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = Path::new(path.file_name().unwrap_or(OsStr::new(".")));
    let tree = match TreeHandle::open_following(parent) {
        Err(err) if err.is_missing() => return Ok(None),
        tree => tree?,
    };
    if tree.find(name)?.is_none() {
        return Ok(None);
    }
    let file = match tree.open_file(name) {
        Err(err) if err.leads_out() => {
            return Err(Failure::new(format!("{}: it is a link that leads out of its folder", about()))
                .hint("put the file itself there")
                .into());
        }
        Err(err) if err.kind() == io::ErrorKind::IsADirectory => {
            return Err(Failure::new(format!("{}: it is a folder", about()))
                .hint("name the file in it")
                .into());
        }
        Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
            return Err(Failure::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file?,
    };
    read_from(file.file).with_context(about).map(Some)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the caller's shell or the kernel holds, not an app's tree"
)]
fn open_of_system(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The bytes of a file below `root`, also when a link inside leads elsewhere inside; `None` when there is no such file.
pub(crate) fn read_below(root: &Path, below: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", below.display());
    let file = match TreeHandle::open_following(root)?.open_file(below) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) if err.leads_out() => {
            return Err(Failure::new(format!("{}: a link leads out of the app's folder", about())).into());
        }
        Err(err) if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory) => {
            return Err(Failure::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file.with_context(about)?,
    };
    read_from(file.file).with_context(about).map(Some)
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
