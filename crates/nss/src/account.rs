//! User accounts by name or number: from `/etc/passwd`, then from `getent` (LDAP, dynamic users of systemd).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid};

/// A user account of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAccount {
    /// User id.
    pub uid: Uid,
    /// Primary group id.
    pub gid: Gid,
    /// User name.
    pub name: String,
    /// Home directory.
    pub home: PathBuf,
}

impl UserAccount {
    /// Finds an account by its name, or else by its number.
    pub fn find_by_key(key: &OsStr) -> Result<Option<Self>> {
        let Some(key) = key.to_str().filter(|key| !key.is_empty() && !key.contains(['\n', ':'])) else {
            return Ok(None);
        };
        let passwd = fs::read("/etc/passwd").context("cannot read '/etc/passwd'")?;
        if let Some(account) = Self::find_in(&passwd, key) {
            return Ok(Some(account));
        }
        Ok(Self::find_in(&run_getent("passwd", key)?, key))
    }

    /// Finds the first account with this number.
    pub fn find_by_uid(uid: Uid) -> Result<Option<Self>> {
        let passwd = fs::read("/etc/passwd").context("cannot read '/etc/passwd'")?;
        let first = |passwd: &[u8]| Self::parse_all(passwd).find(|account| account.uid == uid);
        match first(&passwd) {
            None => Ok(first(&run_getent("passwd", &uid.to_string())?)),
            account => Ok(account),
        }
    }

    /// Finds an account by its name, or else by its number, in the text of a passwd file.
    fn find_in(passwd: &[u8], key: &str) -> Option<Self> {
        let number = parse_number(key).map(Uid::from_raw);
        let named = Self::parse_all(passwd).find(|account| account.name == key);
        named.or_else(|| Self::parse_all(passwd).find(|account| Some(account.uid) == number))
    }

    fn parse_all(passwd: &[u8]) -> impl Iterator<Item = Self> {
        passwd.split(|byte| *byte == b'\n').filter_map(Self::parse_line)
    }

    /// Parses `name:password:uid:gid:…`; returns `None` for another line.
    fn parse_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let mut text = |skip| fields.nth(skip).map(|field| std::str::from_utf8(field).ok());
        let name = text(0)??.to_owned();
        let uid = parse_number(text(1)??).map(Uid::from_raw)?;
        let gid = parse_number(text(0)??).map(Gid::from_raw)?;
        let home = OsString::from_vec(fields.nth(1).unwrap_or_default().to_vec()).into();
        Some(Self { uid, gid, name, home })
    }
}

/// Parses digits only: `u32::from_str` accepts `+5`.
fn parse_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Returns the name of the group with this number.
pub fn find_group_name(gid: Gid) -> Result<Option<String>> {
    let text = fs::read("/etc/group").context("cannot read '/etc/group'")?;
    let number = gid.to_string();
    let find = |text: &[u8]| {
        let name_of = |line: &[u8]| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            let is_it = fields.get(2).is_some_and(|third| *third == number.as_bytes());
            is_it.then(|| String::from_utf8(fields[0].to_vec()).ok())?
        };
        text.split(|byte| *byte == b'\n').find_map(name_of)
    };
    match find(&text) {
        None => Ok(find(&run_getent("group", &number)?)),
        name => Ok(name),
    }
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
    Ok(has(&text) || has(&run_getent(list, &number)?))
}

/// Timeout for `getent` in seconds.
const PATIENCE: &str = "10";

/// Runs `getent`; returns nothing if it is not installed.
fn run_getent(list: &str, key: &str) -> Result<Vec<u8>> {
    run_lookup("getent", list, key, PATIENCE)
}

/// Runs a program with the interface of `getent`, with a timeout in seconds.
fn run_lookup(program: &str, list: &str, key: &str, patience: &str) -> Result<Vec<u8>> {
    // No account has such a name, and versions of getent differ in what they treat as an option.
    if key.starts_with('-') {
        return Ok(Vec::new());
    }
    // A directory service that does not respond must not delay a deploy.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", patience, program, list, key]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = match output {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        output => output.context("cannot run timeout")?,
    };
    ensure!(
        !matches!(output.status.code(), Some(124 | 137)),
        "{program} {list} did not respond within {patience} s: is the directory service of nsswitch.conf reachable?"
    );
    // 2: no entry. 127: no getent.
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
        let group = |key| UserAccount::find_in(PASSWD, key).map(|account| account.gid.as_raw());
        assert_eq!(group("blog"), Some(8));
        assert_eq!(group("7"), Some(2));
        assert_eq!(group("0"), Some(0));
        assert_eq!(group("8"), None);
        assert_eq!(group("+bad"), None);
        assert_eq!((group("+0"), group("-0"), group("")), (None, None, None));
        assert_eq!(UserAccount::find_in(b"odd:x:+5:+6::/odd:\n", "odd"), None);
        assert_eq!(UserAccount::find_in(PASSWD, "blog").unwrap().home, PathBuf::from("/home/blog"));
        assert_eq!(UserAccount::find_in(PASSWD, "7").unwrap().home, PathBuf::from("/seven"));
    }

    #[test]
    fn a_lookup_ends_at_its_timeout() {
        let err = run_lookup("sleep", "600", "0", "1").unwrap_err();
        assert!(err.to_string().contains("sleep 600 did not respond within 1 s"), "{err:#}");
        // A missing program; a key that looks like an option.
        assert_eq!(run_lookup("no-such-getent", "passwd", "blog", "1").unwrap(), b"");
        assert_eq!(run_lookup("echo", "passwd", "-n", "1").unwrap(), b"");
        assert_eq!(run_lookup("echo", "passwd", "blog", "1").unwrap(), b"passwd blog\n");
    }

    #[test]
    fn this_machine() {
        assert_eq!(UserAccount::find_by_key(OsStr::new("root")).unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(UserAccount::find_by_key(OsStr::new("no-such-user")).unwrap(), None);
        assert_eq!(UserAccount::find_by_key(OsStr::new("a:b")).unwrap(), None);
        assert_eq!(UserAccount::find_by_key(OsStr::new("--help")).unwrap(), None);
        assert_eq!(UserAccount::find_by_uid(Uid::from_raw(0)).unwrap().unwrap().name, "root");
        assert!(is_taken("passwd", 0).unwrap() && is_taken("group", 0).unwrap());
        assert!(!is_taken("passwd", 3_999_999_999).unwrap() && !is_taken("group", 3_999_999_999).unwrap());
    }
}
