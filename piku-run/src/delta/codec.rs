//! What one file differs in from another: zstd with the other as what is known already, as `zstd --patch-from` does it. The frame has
//! a checksum: from another reference than it was made with nothing comes back.

use std::io::{self, Read, Write};

use zstd::{Decoder, Encoder};

/// Fast; more effort finds little more between two builds of one program.
const LEVEL: i32 = 3;

/// What `content` has that `reference` has not.
pub(super) fn encode(content: &[u8], reference: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::with_ref_prefix(Vec::new(), LEVEL, reference)?;
    encoder.include_checksum(true)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(window(content.len() + reference.len()))?;
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    encoder.write_all(content)?;
    encoder.finish()
}

/// The content again, of `most` bytes at most.
pub(super) fn decode(delta: &[u8], reference: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut decoder = Decoder::with_ref_prefix(delta, reference)?;
    decoder.window_log_max(window(most + reference.len()))?;
    let mut content = Vec::new();
    decoder.take(most as u64 + 1).read_to_end(&mut content)?;
    if content.len() > most {
        return Err(io::Error::other("it is larger than it may be"));
    }
    Ok(content)
}

/// As many bits as it takes to look back to the beginning, within what zstd can.
fn window(bytes: usize) -> u32 {
    (usize::BITS - bytes.leading_zeros()).clamp(10, 27)
}
