//! What systemd marks a cgroup with that it has given away.

use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};

/// The second one since version 251, and everybody can read it.
const NAMES: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// Whether a cgroup has one.
pub(super) fn is_on(dir: &Path) -> bool {
    NAMES.iter().any(|name| {
        let mut value = [0_u8; 1];
        getxattr(dir, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
    })
}

/// Marks one as systemd would.
pub(super) fn put(dir: &Path) -> io::Result<()> {
    Ok(setxattr(dir, NAMES[1], b"1", XattrFlags::empty())?)
}
