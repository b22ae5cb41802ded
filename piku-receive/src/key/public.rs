//! Public keys in the form of `id_ed25519.pub`: `TYPE BASE64 COMMENT`. Refuses keys that sshd would ignore
//! silently.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use piku_report::user_error::UserError;
use sha2::{Digest, Sha256};

use crate::client::quoted;

/// A public key that sshd accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    kind: String,
    blob: Vec<u8>,
    text: String,
    comment: String,
}

/// Shortest RSA key that sshd accepts, in bits.
const LEAST_RSA_BITS: usize = 1024;

impl PublicKey {
    /// Parses the text of a `.pub` file: one key without options.
    pub(crate) fn parse_file(text: &str) -> Result<Self, UserError> {
        if text.contains("PRIVATE KEY-----") {
            let refusal = UserError::new("this is a private key, which must not leave its machine");
            return Err(refusal.hint("give the file that ends in .pub"));
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(line) = lines.next() else {
            return Err(UserError::new("there is no public key on stdin")
                .hint("piku keys:add NAME < ~/.ssh/id_ed25519.pub"));
        };
        if line.starts_with("---- BEGIN SSH2") || line.starts_with("-----BEGIN") {
            return Err(
                UserError::new("this key is not in OpenSSH's form").hint("ssh-keygen -i -f FILE converts it")
            );
        }
        if lines.next().is_some() {
            return Err(UserError::new("there is more than one line on stdin")
                .hint("add one key at a time, each under its name"));
        }
        Self::parse_line(line)
    }

    /// Parses `TYPE BASE64 COMMENT`.
    pub(crate) fn parse_line(line: &str) -> Result<Self, UserError> {
        if let Some(control) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(UserError::new(format!("the key holds the control character {control:?}")));
        }
        let (kind, rest) = split_first_word(line);
        let (text, comment) = split_first_word(rest);
        let Some(fields) = fields_of(kind) else { return Err(not_a_type(kind)) };
        if text.is_empty() {
            return Err(UserError::new(format!("there is nothing after '{kind}'")));
        }
        let bad = |why: &str| {
            UserError::new(format!("the key is damaged: {why}")).hint("copy the whole line of the .pub file")
        };
        let blob = STANDARD.decode(text).map_err(|_| bad("it is not base64"))?;
        let parts = split_blob(&blob).ok_or_else(|| bad("it is cut off"))?;
        if parts.first() != Some(&kind.as_bytes()) {
            return Err(bad("its content has another type"));
        }
        if parts.len() != fields {
            return Err(bad("it has the wrong number of parts"));
        }
        match kind {
            "ssh-ed25519" if parts[1].len() != 32 => return Err(bad("an ed25519 key has 32 bytes")),
            "ssh-rsa" if count_bits(parts[2]) < LEAST_RSA_BITS => {
                let refusal = UserError::new(format!(
                    "this RSA key has {} bits, too few to be safe",
                    count_bits(parts[2])
                ));
                return Err(refusal.hint("ssh-keygen -t ed25519 creates a good one"));
            }
            _ => {}
        }
        Ok(Self { kind: kind.to_owned(), text: text.to_owned(), comment: comment.to_owned(), blob })
    }

    /// Returns `SHA256:…`, as `ssh-keygen -lf` prints it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// Returns `TYPE BASE64`.
    pub(crate) fn type_and_base64(&self) -> String {
        format!("{} {}", self.kind, self.text)
    }

    /// Returns the comment, which may be empty.
    pub(crate) fn comment(&self) -> &str {
        &self.comment
    }

    /// Compares the keys without their comments.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

/// Returns the number of fields in the blob of a key type, including its name.
fn fields_of(kind: &str) -> Option<usize> {
    match kind {
        "ssh-ed25519" => Some(2),
        "ssh-rsa"
        | "ecdsa-sha2-nistp256"
        | "ecdsa-sha2-nistp384"
        | "ecdsa-sha2-nistp521"
        | "sk-ssh-ed25519@openssh.com" => Some(3),
        "sk-ecdsa-sha2-nistp256@openssh.com" => Some(4),
        _ => None,
    }
}

fn not_a_type(word: &str) -> UserError {
    let failure = UserError::new(format!(
        "expected a public key such as 'ssh-ed25519 AAAA… name', found {}",
        quoted(word)
    ));
    match word {
        "ssh-dss" => {
            failure.hint("sshd no longer accepts DSA keys; ssh-keygen -t ed25519 creates a good one")
        }
        _ if word.contains("-cert-v01@") => failure.hint("this is a certificate; give the key itself"),
        _ if word.contains('=') || word.contains(',') || word == "restrict" || word.starts_with("no-") => {
            failure.hint("piku writes the options in front of a key; give the bare .pub file")
        }
        _ => failure,
    }
}

/// Splits the text after its first word.
fn split_first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once([' ', '\t']).map_or((text, ""), |(first, rest)| (first, rest.trim()))
}

/// Splits a blob into its fields, each after its length (RFC 4251, section 5). Returns `None` if it ends
/// early.
fn split_blob(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        parts.push(part);
        blob = rest;
    }
    Some(parts)
}

/// Returns the bits of a number (`mpint` of RFC 4251).
fn count_bits(number: &[u8]) -> usize {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let number = &number[start..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_report::user_error::advice;
    use std::process::Command;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoBSfbhZqMVgdOPVlrXH1CKrWdNuZQm2K9fFcqlgXIB";

    fn generated(kind: &[&str]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let run = |args: &[&str]| {
            let out = Command::new("ssh-keygen").args(args).arg("-f").arg(&key).output().unwrap();
            assert!(out.status.success(), "{out:?}");
            String::from_utf8(out.stdout).unwrap()
        };
        run(&[&["-q", "-N", "", "-C", "a b c"], kind].concat());
        (std::fs::read_to_string(key.with_extension("pub")).unwrap(), run(&["-l"]))
    }

    #[test]
    fn each_type_has_the_fingerprint_that_ssh_keygen_shows() {
        for kind in [
            &["-t", "ed25519"][..],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "521"],
        ] {
            let (text, shown) = generated(kind);
            let key = PublicKey::parse_file(&text).unwrap();
            assert_eq!(shown.split(' ').nth(1).unwrap(), key.fingerprint());
            assert_eq!(key.comment(), "a b c");
            assert!(text.starts_with(&key.type_and_base64()));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_reason() {
        let cut = &ED25519[..ED25519.len() - 4];
        let lied = ED25519.replace("ssh-ed25519 ", "ssh-rsa ");
        let twice = format!("{ED25519} a\n{ED25519} b\n");
        let options = format!("command=\"id\" {ED25519}");
        let restrict = format!("restrict,pty {ED25519}");
        let damaged = ED25519.replace("AAAAC3", "AAAAC3*");
        let control = format!("{ED25519} a\x1bb");
        for (text, why) in [
            ("", "there is no public key on stdin"),
            ("\n# comment\n", "there is no public key on stdin"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n",
                "this is a private key",
            ),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "not in OpenSSH's form"),
            ("hello", "expected a public key"),
            ("ssh-dss AAAA", "expected a public key"),
            ("ssh-ed25519", "nothing after"),
            (cut, "cut off"),
            (&lied, "another type"),
            (&twice, "more than one line"),
            (&options, "expected a public key"),
            (&restrict, "expected a public key"),
            (&damaged, "not base64"),
            (&control, "control character"),
        ] {
            let failure = PublicKey::parse_file(text).expect_err(text);
            assert!(failure.to_string().contains(why), "{text:?}: {failure}");
            assert!(!failure.to_string().contains('\n'));
        }
        let hints = advice(&PublicKey::parse_file(&options).unwrap_err().into()).0;
        assert_eq!(hints, ["piku writes the options in front of a key; give the bare .pub file"]);
    }

    #[test]
    fn a_good_line_may_have_blanks_around_it() {
        let key = PublicKey::parse_file(&format!("\n  {ED25519}\t me@home  \r\n")).unwrap();
        assert_eq!(key.comment(), "me@home");
        assert!(key.is_same_key(&PublicKey::parse_line(ED25519).unwrap()));
    }
}
