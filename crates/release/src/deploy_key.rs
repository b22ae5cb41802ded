//! The private key by which git fetches private repositories for one app. The operator stores it as a variable
//! of the app; no process of the app gets it, and no other app.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use piku_report::user_error::UserError;

/// The beginning of every private key that ssh reads.
const BEGIN: &str = "-----BEGIN ";

/// A private key for ssh, as the content of its file.
pub struct DeployKey(String);

impl DeployKey {
    /// Reads the value of `DEPLOY_KEY`: the file itself, or the file in base64, which is one word. A blank one
    /// is no key.
    ///
    /// # Errors
    /// Fails if the value is not a private key. It is never repeated: it may be a key after all.
    pub fn parse(value: &str) -> Result<Option<Self>, UserError> {
        if value.trim().is_empty() {
            return Ok(None);
        }
        let mut text = value.replace("\\n", "\n");
        if !text.trim_start().starts_with(BEGIN) {
            let word: String = text.split_whitespace().collect();
            let decoded = STANDARD.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            text = decoded.unwrap_or_default();
        }
        if !text.trim_start().starts_with(BEGIN) {
            return Err(UserError::new("DEPLOY_KEY is not a private key").hint(
                "its value is the file that ssh-keygen wrote, without a passphrase, in base64: config:set APP DEPLOY_KEY=$(base64 -w0 < KEY)",
            ));
        }
        // ssh refuses a key whose last line does not end.
        Ok(Some(Self(format!("{}\n", text.trim().replace("\r\n", "\n")))))
    }

    /// Returns the content of the key's file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn a_key_is_a_file_or_one_word() {
        for value in
            [KEY.to_owned(), KEY.trim().replace('\n', "\\n"), STANDARD.encode(KEY), format!("\n{KEY}")]
        {
            let key = DeployKey::parse(&value).unwrap();
            assert_eq!(key.as_ref().map(DeployKey::text), Some(KEY), "{value}");
        }
        assert!(DeployKey::parse(" ").unwrap().is_none());
        let err = DeployKey::parse("secret").err().unwrap().to_string();
        assert!(!err.contains("secret"), "{err}");
    }
}
