//! Base64 (RFC 4648, 4) as public keys are written: read strictly, written without padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes; `None` when the text is not base64 with its padding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if bytes.len() % 4 != 0 {
        return None;
    }
    let digits = text.trim_end_matches('=').as_bytes();
    if bytes.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut value = 0_u32;
        for digit in group {
            let at = ALPHABET.iter().position(|known| known == digit)?;
            value = value << 6 | u32::try_from(at).ok()?;
        }
        let missing = 4 - group.len();
        value <<= 6 * missing;
        let [_, three @ ..] = value.to_be_bytes();
        let (used, unused) = three.split_at(3 - missing);
        // Bits beyond the last byte are zero, so that one key has one spelling.
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(used);
    }
    Some(out)
}

/// The text, without padding, as ssh-keygen prints a fingerprint.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut four = [0; 4];
        four[1..=group.len()].copy_from_slice(group);
        let value = u32::from_be_bytes(four);
        for at in 0..=group.len() {
            let digit = value >> (18 - 6 * at) & 63;
            out.push(char::from(ALPHABET[digit as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text.trim_end_matches('='));
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for bad in ["Z", "Zg", "Zg=", "Zg===", "====", "Zh==", "Zm9=", "Zm 8", "Zm9v\n", "Zg==Zg==", "Zm9-"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_the_inverse_of_writing(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&bytes);
            let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
            prop_assert_eq!(decode(&padded), Some(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/=é \n-]{0,40}") {
            decode(&text);
        }
    }
}
