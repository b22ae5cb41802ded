//! The frame behind the archive: a skippable frame of zstd with the hash of everything before it.

use sha2::{Digest, Sha256};

/// Magic number of a skippable frame, and the size of its content: 32 bytes.
const BEGIN: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
/// Size of the frame.
pub(crate) const SIZE: usize = 40;

/// Returns the frame for these bytes before it.
pub(crate) fn render(hash: Sha256) -> [u8; SIZE] {
    let mut frame = [0; SIZE];
    frame[..BEGIN.len()].copy_from_slice(&BEGIN);
    frame[BEGIN.len()..].copy_from_slice(&hash.finalize());
    frame
}
