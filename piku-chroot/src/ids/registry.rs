//! The file that records the subordinate uid and gid of each name. A name keeps its ids for good, since files
//! on the disk carry them. Anything unexpected in the file is an error and never leads to other ids.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::{Gid, Uid, geteuid};
use piku_files::{FileLock, atomic_file};
use piku_nss::{UserAccount, is_taken};
use piku_report::user_error::{UserError, WithHint};

use crate::errors::SETUP_FAILED;
use crate::errors::quoted;
use crate::ids::caller::CallerIdentity;
use crate::ids::ranges::{IdRanges, UserRanges};

/// First line. A file without it is something else, or has lost its content.
const HEAD: &str =
    "# piku-chroot uid-ranges 1: NAME UID GID; a line that is removed gives its numbers to somebody else";
/// Path below the user's home directory.
const DEFAULT_PATH: &str = ".local/state/piku-chroot/uid-ranges";

#[derive(Clone, Debug, PartialEq, Eq)]
struct RegistryEntry {
    name: String,
    own: CallerIdentity,
}

/// Returns the named file, or the user's own, whose directory is made.
pub(crate) fn locate(named: Option<&Path>, user: &UserAccount) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let file = user.home.join(DEFAULT_PATH);
    if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make {}", quoted(folder)))
            .hint("--uid-registry names another file")?;
    }
    Ok(file)
}

/// Returns the ids of a name; `None` if it has none yet.
pub(crate) fn find_ids(file: &Path, name: &str) -> Result<Option<CallerIdentity>> {
    Ok(read_entries(file)?.into_iter().find(|entry| entry.name == name).map(|entry| entry.own))
}

/// Returns the ids of a name, which gets new ones if it has none yet.
pub(crate) fn find_or_add(file: &Path, name: &str, ranges: &UserRanges) -> Result<CallerIdentity> {
    let own = match find_ids(file, name)? {
        Some(own) => own,
        None => add_name(file, name, ranges)?,
    };
    let still = |ranges: &IdRanges, id: u32, kind: &str| {
        let failure = || {
            let what = format!(
                "'{name}' has {kind} {id} in {}, which is no longer in the caller's ranges in {}",
                quoted(file),
                ranges.file
            );
            UserError::new(what).code(SETUP_FAILED).hint(format!(
                "give it back in {}, unless another user has it there: two users must not share ids",
                ranges.file
            ))
        };
        ranges.contains(id).then_some(()).ok_or_else(failure)
    };
    still(&ranges.uids, own.uid.as_raw(), "uid")?;
    still(&ranges.gids, own.gid.as_raw(), "gid")?;
    Ok(own)
}

/// Gives the ids of one name to another. Those that it had itself are kept from all names. Can be repeated.
///
/// # Errors
/// Fails if the file cannot be read or written. A name without ids is no error.
pub fn rename_own_user(file: &Path, from: &str, to: &str) -> Result<()> {
    if find_ids(file, from)?.is_none() {
        return Ok(());
    }
    let _lock = lock_registry(file)?;
    let mut entries = read_entries(file)?;
    for entry in &mut entries {
        if entry.name == from {
            to.clone_into(&mut entry.name);
        } else if entry.name == to {
            // Under a name that no app can have.
            entry.name = format!("{to}@{}", entry.own.uid);
        }
    }
    atomic_file::write(file, format_entries(&entries).as_bytes(), 0o600)
        .with_context(|| format!("cannot write {}", quoted(file)))
}

/// Gives a name the last ids that are free.
fn add_name(file: &Path, name: &str, ranges: &UserRanges) -> Result<CallerIdentity> {
    let _lock = lock_registry(file)?;
    let mut entries = read_entries(file)?;
    // Another start with the same name may have been faster.
    if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
        return Ok(entry.own);
    }
    let uids: HashSet<u32> = entries.iter().map(|entry| entry.own.uid.as_raw()).collect();
    let gids: HashSet<u32> = entries.iter().map(|entry| entry.own.gid.as_raw()).collect();
    let none = |ranges: &IdRanges| {
        UserError::new(format!(
            "the caller's ranges in {} are used up by the {} names in {}",
            ranges.file,
            entries.len(),
            quoted(file)
        ))
        .code(SETUP_FAILED)
        .hint(format!("give the caller a larger range in {}", ranges.file))
    };
    // A range may contain real users by mistake.
    let uid = ranges.uids.find_last(|id| Ok(!uids.contains(&id) && !is_taken("passwd", id)?))?;
    let gid = ranges.gids.find_last(|id| Ok(!gids.contains(&id) && !is_taken("group", id)?))?;
    let (uid, gid) = (uid.ok_or_else(|| none(&ranges.uids))?, gid.ok_or_else(|| none(&ranges.gids))?);
    let own = CallerIdentity { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
    entries.push(RegistryEntry { name: name.to_owned(), own });
    atomic_file::write(file, format_entries(&entries).as_bytes(), 0o600)
        .with_context(|| format!("cannot write {}", quoted(file)))
        .hint("--uid-registry names another file")?;
    Ok(own)
}

/// Locks a file beside the registry, which is never removed, while the registry is replaced.
fn lock_registry(file: &Path) -> Result<FileLock> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let take = || -> io::Result<FileLock> {
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .clone();
        FileLock::exclusive(options.open(&path)?)
    };
    take().with_context(|| format!("cannot lock {}", quoted(&path))).hint("--uid-registry names another file")
}

/// Reads all entries; none if the file does not exist.
fn read_entries(file: &Path) -> Result<Vec<RegistryEntry>> {
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(file);
    let mut opened = match opened {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.with_context(|| format!("cannot read {}", quoted(file)))?,
    };
    let about = opened.metadata().with_context(|| format!("cannot read {}", quoted(file)))?;
    let own = about.uid() == geteuid().as_raw() || about.uid() == 0;
    ensure!(
        about.is_file() && own && about.mode() & 0o022 == 0,
        "{} is not a file that only the caller can write to",
        quoted(file)
    );
    let mut text = String::new();
    opened.read_to_string(&mut text).with_context(|| format!("cannot read {}", quoted(file)))?;
    parse(&text)
        .with_context(|| format!("bad list of names in {}", quoted(file)))
        .hint("correct the line; do not remove the file, or every name gets other ids")
}

fn parse(text: &str) -> Result<Vec<RegistryEntry>> {
    let Some(rest) = text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n')) else {
        bail!("line 1: expected: {HEAD}");
    };
    ensure!(rest.is_empty() || rest.ends_with('\n'), "the last line is cut off");
    let (mut names, mut uids, mut gids) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut entries = Vec::new();
    for (line, number) in rest.lines().zip(2..) {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, uid, gid): (&str, u32, u32) = match words.as_slice() {
            [name, uid, gid] if !name.is_empty() => match (uid.parse(), gid.parse()) {
                (Ok(uid @ 1..), Ok(gid @ 1..)) => (name, uid, gid),
                _ => bail!("line {number}: expected NAME UID GID"),
            },
            _ => bail!("line {number}: expected NAME UID GID"),
        };
        ensure!(
            names.insert(name) && uids.insert(uid) && gids.insert(gid),
            "line {number}: a line above has the same name or number"
        );
        let own = CallerIdentity { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
        entries.push(RegistryEntry { name: name.to_owned(), own });
    }
    Ok(entries)
}

fn format_entries(entries: &[RegistryEntry]) -> String {
    let mut text = format!("{HEAD}\n");
    for RegistryEntry { name, own } in entries {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name} {} {}", own.uid, own.gid);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let own = |id| CallerIdentity { uid: Uid::from_raw(id), gid: Gid::from_raw(id + 1) };
        let entries = vec![
            RegistryEntry { name: "blog".to_owned(), own: own(7) },
            RegistryEntry { name: "--a:ö".to_owned(), own: own(9) },
        ];
        assert_eq!(parse(&format_entries(&entries)).unwrap(), entries);
        assert_eq!(parse(&format_entries(&[])).unwrap(), []);
    }

    #[test]
    fn renamed_name_keeps_its_ids() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ids");
        rename_own_user(&file, "blog", "shop").unwrap();
        let write = |lines: &str| std::fs::write(&file, format!("{HEAD}\n{lines}")).unwrap();
        let read = || std::fs::read_to_string(&file).unwrap()[HEAD.len() + 1..].to_owned();
        write("blog 7 7\nwiki 8 8\n");
        rename_own_user(&file, "none", "shop").unwrap();
        rename_own_user(&file, "blog", "shop").unwrap();
        assert_eq!(read(), "shop 7 7\nwiki 8 8\n");
        rename_own_user(&file, "shop", "wiki").unwrap();
        assert_eq!(read(), "wiki 7 7\nwiki@8 8 8\n", "files of a removed app get no other owner");
        rename_own_user(&file, "shop", "wiki").unwrap();
        assert_eq!(read(), "wiki 7 7\nwiki@8 8 8\n", "repeated after an interruption");
    }

    #[test]
    fn odd_lines_are_named() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("").starts_with("line 1"));
        assert!(error("blog 1 1\n").starts_with("line 1"));
        for (lines, said) in [
            ("a 5 5\nb 5 6\n", "line 3: a line above"),
            ("a 5 5\nb 6 5\n", "line 3: a line above"),
            ("a 5 5\na 6 6\n", "line 3: a line above"),
            ("a 5\n", "line 2: expected NAME UID GID"),
            ("a 5 5 \n", "line 2: expected"),
            ("a 0 5\n", "line 2: expected"),
            ("a -1 5\n", "line 2: expected"),
            ("a 5 x\n", "line 2: expected"),
            ("\n", "line 2: expected"),
            ("a 5 5", "the last line is cut off"),
        ] {
            let told = error(&format!("{HEAD}\n{lines}"));
            assert!(told.starts_with(said), "{lines:?}: {told}");
        }
    }
}
