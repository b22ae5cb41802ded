//! Accounts of the host by name or number, without the C library: its look-up loads further libraries, which a program
//! linked statically must not. What `/etc/passwd` does not know (LDAP, systemd's own users) `getent` does.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Account {
    /// The account of this name, or of this number where none has such a name; `None` when there is none.
    pub(crate) fn find(key: &OsStr) -> Result<Option<Self>> {
        let Some(key) = key.to_str().filter(|key| !key.is_empty() && !key.contains(['\n', ':'])) else {
            return Ok(None);
        };
        let passwd = fs::read("/etc/passwd").context("cannot read '/etc/passwd'")?;
        if let Some(account) = Self::among(&passwd, key) {
            return Ok(Some(account));
        }
        Ok(Self::among(&getent(key)?, key))
    }

    /// The first line with this name, else the first with this number.
    fn among(passwd: &[u8], key: &str) -> Option<Self> {
        let accounts = || passwd.split(|byte| *byte == b'\n').filter_map(Self::parse);
        let number = key.parse().ok().map(Uid::from_raw);
        let named = accounts().find(|(name, _)| *name == key);
        named
            .or_else(|| accounts().find(|(_, account)| Some(account.uid) == number))
            .map(|(_, account)| account)
    }

    /// `name:password:uid:gid:…`; nothing for a line that is none.
    fn parse(line: &[u8]) -> Option<(&str, Self)> {
        let mut fields = line.split(|byte| *byte == b':').map(|field| std::str::from_utf8(field).ok());
        let name = fields.next()??;
        let uid = fields.nth(1)??.parse().ok().map(Uid::from_raw)?;
        let gid = fields.next()??.parse().ok().map(Gid::from_raw)?;
        Some((name, Self { uid, gid }))
    }
}

/// What the host's other lists of users say; nothing where there is no `getent`.
fn getent(key: &str) -> Result<Vec<u8>> {
    let mut command = Command::new("getent");
    let output = command.args(["--", "passwd", key]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = match output {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        output => output.context("cannot run getent")?,
    };
    // 2: there is none.
    ensure!(matches!(output.status.code(), Some(0 | 2)), "getent passwd ended with {}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n+bad\n\n7:x:1:2::/seven:\nblog:x:7:8::/home/blog:/bin/sh\n";

    #[test]
    fn names_come_before_numbers() {
        let group = |key| Account::among(PASSWD, key).map(|account| account.gid.as_raw());
        assert_eq!(group("blog"), Some(8));
        assert_eq!(group("7"), Some(2));
        assert_eq!(group("0"), Some(0));
        assert_eq!(group("8"), None);
        assert_eq!(group("+bad"), None);
    }

    #[test]
    fn this_machine() {
        assert_eq!(Account::find(OsStr::new("root")).unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(Account::find(OsStr::new("no-such-user")).unwrap(), None);
        assert_eq!(Account::find(OsStr::new("a:b")).unwrap(), None);
    }
}
