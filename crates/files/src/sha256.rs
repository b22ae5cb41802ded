//! SHA-256 in hex digits: names of parts, layers and submodules.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of everything that `content` yields.
pub fn hash_reader(content: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    io::copy(content, &mut hash)?;
    Ok(hash.finalize().into())
}

/// Returns two lower-case hex digits for each byte.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_of_abc_is_that_of_the_standard() {
        let hash = super::hash_reader(&mut "abc".as_bytes()).unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::to_hex(&hash), expected);
    }
}
