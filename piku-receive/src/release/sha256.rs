//! The hash of a file that is sent or received.

use std::fmt::Write;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// 64 hex digits for all that can be read.
pub(crate) fn of(content: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_the_standard_says() {
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::of(&mut "abc".as_bytes()).unwrap(), sum);
    }
}
