//! The key of the front of an app. A front passes requests to other machines, whose nginx recognizes them by a
//! host name that contains the key: no other client knows it.

#![expect(clippy::disallowed_methods, reason = "a file that only piku writes")]

use std::fmt;
use std::fs;
use std::str::FromStr;

use piku_files::sha256;

use crate::paths::AppDir;

/// Domain of the host names; piku's nginx lets no app have a name in it.
pub const FRONT_DOMAIN: &str = "front.piku.internal";

/// 128 bits in 32 hex digits. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct FrontKey(String);

impl FrontKey {
    /// Creates a key of these random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(sha256::to_hex(&bytes))
    }

    /// Reads the key that the app's front has sent to this machine, if there is one.
    #[must_use]
    pub fn read(app: &AppDir) -> Option<Self> {
        fs::read_to_string(app.front_key()).ok()?.trim().parse().ok()
    }

    /// Returns the host name of the front's requests.
    #[must_use]
    pub fn host_name(&self) -> String {
        format!("{}.{FRONT_DOMAIN}", self.0)
    }

    /// Returns the key itself, for names of headers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FrontKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err("the key of a front is 32 hex digits".to_owned()) }
    }
}

impl fmt::Display for FrontKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FrontKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrontKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_hex_digits() {
        let key = FrontKey::from_bytes([0xa5; 16]);
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(key.host_name(), format!("{}.front.piku.internal", "a5".repeat(16)));
        assert_eq!(format!("{key:?}"), "FrontKey(…)");
        for bad in ["", "a5", &"A5".repeat(16), &"a5".repeat(17), "../../../../../../../../../../../"] {
            assert!(bad.parse::<FrontKey>().is_err(), "{bad}");
        }
    }
}
