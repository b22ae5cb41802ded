//! Accounts by name or number. What `/etc/passwd` does not know (LDAP, systemd's own users) `getent` does.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid};

/// An account of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAccount {
    /// Its number.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its name.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
}

impl UserAccount {
    /// The account of this name, or of this number where none has such a name; `None` when there is none.
    pub fn find(key: &OsStr) -> Result<Option<Self>> {
        let Some(key) = key.to_str().filter(|key| !key.is_empty() && !key.contains(['\n', ':'])) else {
            return Ok(None);
        };
        let passwd = fs::read("/etc/passwd").context("cannot read '/etc/passwd'")?;
        if let Some(account) = Self::among(&passwd, key) {
            return Ok(Some(account));
        }
        Ok(Self::among(&getent("passwd", key)?, key))
    }

    /// The first account of this number.
    pub fn of(uid: Uid) -> Result<Option<Self>> {
        let passwd = fs::read("/etc/passwd").context("cannot read '/etc/passwd'")?;
        let first = |passwd: &[u8]| Self::all(passwd).find(|account| account.uid == uid);
        match first(&passwd) {
            None => Ok(first(&getent("passwd", &uid.to_string())?)),
            account => Ok(account),
        }
    }

    /// The first line with this name, else the first with this number.
    fn among(passwd: &[u8], key: &str) -> Option<Self> {
        let number = parse_number(key).map(Uid::from_raw);
        let named = Self::all(passwd).find(|account| account.name == key);
        named.or_else(|| Self::all(passwd).find(|account| Some(account.uid) == number))
    }

    fn all(passwd: &[u8]) -> impl Iterator<Item = Self> {
        passwd.split(|byte| *byte == b'\n').filter_map(Self::parse)
    }

    /// `name:password:uid:gid:…`; nothing for a line that is none.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let mut text = |skip| fields.nth(skip).map(|field| std::str::from_utf8(field).ok());
        let name = text(0)??.to_owned();
        let uid = parse_number(text(1)??).map(Uid::from_raw)?;
        let gid = parse_number(text(0)??).map(Gid::from_raw)?;
        let home = OsString::from_vec(fields.nth(1).unwrap_or_default().to_vec()).into();
        Some(Self { uid, gid, name, home })
    }
}

/// Parses digits and nothing else: to Rust, `+5` is a number too.
fn parse_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Returns whether an entry of `list` (`passwd` or `group`) has this number.
pub fn is_taken(list: &str, number: u32) -> Result<bool> {
    let file = format!("/etc/{list}");
    let text = fs::read(&file).with_context(|| format!("cannot read '{file}'"))?;
    let number = number.to_string();
    let has = |text: &[u8]| {
        let third = |line: &[u8]| line.split(|byte| *byte == b':').nth(2) == Some(number.as_bytes());
        text.split(|byte| *byte == b'\n').any(third)
    };
    Ok(has(&text) || has(&getent(list, &number)?))
}

/// Seconds in which `getent` has to answer.
const PATIENCE: &str = "10";

/// What the host's other lists say; nothing where there is no `getent`.
fn getent(list: &str, key: &str) -> Result<Vec<u8>> {
    ask("getent", list, key, PATIENCE)
}

/// Asks a program that answers as `getent` does, for so many seconds.
fn ask(program: &str, list: &str, key: &str, patience: &str) -> Result<Vec<u8>> {
    // None has such a name, and getents differ in what they take for an option.
    if key.starts_with('-') {
        return Ok(Vec::new());
    }
    // A directory service that does not answer must not hold up a deploy.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", patience, program, list, key]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = match output {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        output => output.context("cannot run timeout")?,
    };
    ensure!(
        !matches!(output.status.code(), Some(124 | 137)),
        "{program} {list} has not answered within {patience} s: is the directory service of nsswitch.conf reached?"
    );
    // 2: there is none. 127: there is no getent.
    ensure!(
        matches!(output.status.code(), Some(0 | 2 | 127)),
        "{program} {list} ended with {}",
        output.status
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n+bad\n\n7:x:1:2::/seven:\nblog:x:7:8::/home/blog:/bin/sh\n";

    #[test]
    fn names_come_before_numbers() {
        let group = |key| UserAccount::among(PASSWD, key).map(|account| account.gid.as_raw());
        assert_eq!(group("blog"), Some(8));
        assert_eq!(group("7"), Some(2));
        assert_eq!(group("0"), Some(0));
        assert_eq!(group("8"), None);
        assert_eq!(group("+bad"), None);
        assert_eq!((group("+0"), group("-0"), group("")), (None, None, None));
        assert_eq!(UserAccount::among(b"odd:x:+5:+6::/odd:\n", "odd"), None);
        assert_eq!(UserAccount::among(PASSWD, "blog").unwrap().home, PathBuf::from("/home/blog"));
        assert_eq!(UserAccount::among(PASSWD, "7").unwrap().home, PathBuf::from("/seven"));
    }

    #[test]
    fn who_does_not_answer_is_waited_for_so_long() {
        let err = ask("sleep", "600", "0", "1").unwrap_err();
        assert!(err.to_string().contains("sleep 600 has not answered within 1 s"), "{err:#}");
        // No such program; a key that it would take for an option.
        assert_eq!(ask("no-such-getent", "passwd", "blog", "1").unwrap(), b"");
        assert_eq!(ask("echo", "passwd", "-n", "1").unwrap(), b"");
        assert_eq!(ask("echo", "passwd", "blog", "1").unwrap(), b"passwd blog\n");
    }

    #[test]
    fn this_machine() {
        assert_eq!(UserAccount::find(OsStr::new("root")).unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(UserAccount::find(OsStr::new("no-such-user")).unwrap(), None);
        assert_eq!(UserAccount::find(OsStr::new("a:b")).unwrap(), None);
        assert_eq!(UserAccount::find(OsStr::new("--help")).unwrap(), None);
        assert_eq!(UserAccount::of(Uid::from_raw(0)).unwrap().unwrap().name, "root");
        assert!(is_taken("passwd", 0).unwrap() && is_taken("group", 0).unwrap());
        assert!(!is_taken("passwd", 3_999_999_999).unwrap() && !is_taken("group", 3_999_999_999).unwrap());
    }
}
