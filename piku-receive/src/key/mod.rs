//! `key add`, `key list`, `key remove`: the lines of `authorized_keys` that piku has written. Other lines
//! are kept byte for byte.

mod file;
mod line;
mod public;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::Serialize;

use crate::client::quoted;
use crate::now;
use file::KeyFileEdit;
use public::PublicKey;

/// Largest input in bytes, more than any key has.
const MAX_INPUT: u64 = 64 * 1024;

/// Name of a key: `[A-Za-z0-9][A-Za-z0-9._@-]*`, at most 63 characters, such as `alice` or `alice@laptop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct KeyName(String);

impl KeyName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let good = given.starts_with(|c: char| c.is_ascii_alphanumeric())
            && given.len() <= 63
            && given.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c));
        if good {
            Ok(Self(given.to_owned()))
        } else {
            let rule = "use 1 to 63 of letters, digits and '.', '_', '@', '-', the first a letter or digit";
            Err(format!("bad key name {}: {rule}", quoted(given)))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Debug)]
pub(crate) struct NewKeyArgs {
    pub(crate) name: KeyName,
    /// Apps in the scope of the key; empty for all apps.
    pub(crate) apps: Vec<AppName>,
    /// Root, if it is not the default.
    pub(crate) root: Option<PathBuf>,
    /// Directory of the scripts, if it is not the default.
    pub(crate) scripts: Option<PathBuf>,
}

/// A key in the output of `key list`.
#[derive(Debug, Serialize)]
struct ListedKey {
    name: KeyName,
    fingerprint: String,
    apps: Vec<AppName>,
    added: Option<Timestamp>,
}

/// Reads a public key from stdin and adds it.
pub(crate) fn add_key(path: &Path, added: &NewKeyArgs) -> anyhow::Result<()> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text).context("cannot read the key from stdin")?;
    let key = PublicKey::parse_file(&text)?;
    let mut edit = KeyFileEdit::begin(path)?;
    for there in edit.text_lines() {
        let ours = line::parse(&there);
        if ours.as_ref().is_some_and(|line| line.name == added.name) {
            let failure = UserError::new(format!("a key named '{}' already exists", added.name));
            return Err(failure.hint(format!("piku keys:remove {}", added.name)).into());
        }
        if line::key_of(&there).is_some_and(|other| other.is_same_key(&key)) {
            let failure = match ours {
                Some(line) => UserError::new(format!("this key already exists as '{}'", line.name)),
                None => UserError::new(format!(
                    "this key is already in '{}', in a line that piku did not write",
                    path.display()
                ))
                .hint("sshd uses the first matching line; remove that line by hand"),
            };
            return Err(failure.into());
        }
    }
    let program = std::env::current_exe().context("cannot find this program's own path")?;
    edit.append(&line::render_line(&program, added, now(), &key)?);
    edit.finish()?;
    let apps: Vec<&str> = added.apps.iter().map(AppName::as_str).collect();
    let scope = if apps.is_empty() { "all apps".to_owned() } else { apps.join(", ") };
    progress::step(&format!("key '{}' is added for {scope}", added.name));
    if let Ok(root) = PikuRoot::new(added.root.clone()) {
        for app in added.apps.iter().filter(|app| !root.app(app).is_there()) {
            progress::detail(&format!(
                "hint: {app} does not exist yet; the first push of this key creates it"
            ));
        }
    }
    Ok(())
}

/// Prints the keys of piku, in the order of the file.
pub(crate) fn list_keys(path: &Path, format: OutputFormat) -> anyhow::Result<()> {
    let lines = file::read_lines(path)?;
    let keys: Vec<ListedKey> = lines
        .iter()
        .filter_map(|text| line::parse(text))
        .map(|line| ListedKey {
            name: line.name,
            fingerprint: line.key.fingerprint(),
            apps: line.apps,
            added: line.added,
        })
        .collect();
    output::print(format, &keys, || keys.iter().map(for_people).collect())
}

fn for_people(key: &ListedKey) -> String {
    let apps: Vec<&str> = key.apps.iter().map(AppName::as_str).collect();
    let apps = if apps.is_empty() { "all apps".to_owned() } else { apps.join(",") };
    let added = key.added.map_or_else(|| "-".to_owned(), |added| added.to_string());
    format!("{:<20} {} {added:<20} {apps}\n", key.name, key.fingerprint)
}

/// Replaces an app of this root by another in the scope of each key. A missing file has no keys.
pub(crate) fn rename_app(path: &Path, root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    // The environment of a forced command has no PIKU_ROOT.
    let default = PikuRoot::new(None).ok();
    let is_of_root = |text: &str| {
        let of_line = line::parse(text).and_then(|line| line.root.map(|path| PikuRoot::new(Some(path)).ok()));
        of_line.unwrap_or_else(|| default.clone()).is_some_and(|of_line| is_same_root(&of_line, root))
    };
    let renamed = |text: &str| line::rename_app(text, from, to).filter(|_| is_of_root(text));
    if !file::read_lines(path)?.iter().any(|text| renamed(text).is_some()) {
        return Ok(());
    }
    let mut edit = KeyFileEdit::begin(path)?;
    edit.replace_lines(renamed);
    edit.finish()
}

/// Returns whether both lead to the same directory, also through symlinks.
#[expect(clippy::disallowed_methods, reason = "looks up piku's own directory")]
fn is_same_root(one: &PikuRoot, other: &PikuRoot) -> bool {
    let real = |root: &PikuRoot| std::fs::canonicalize(root.path()).ok();
    one.path() == other.path() || real(one).is_some_and(|path| Some(path) == real(other))
}

pub(crate) fn remove_key(path: &Path, name: &KeyName) -> anyhow::Result<()> {
    let mut edit = KeyFileEdit::begin(path)?;
    if !edit.remove_lines(|text| line::parse(text).is_some_and(|line| line.name == *name)) {
        let failure = UserError::new(format!("cannot find key '{name}' in '{}'", path.display()));
        return Err(failure.hint("piku keys").into());
    }
    edit.finish()?;
    progress::step(&format!("key '{name}' is removed"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_renamed_in_keys_of_its_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authorized_keys");
        let (own, other) = (dir.path().join("own"), dir.path().join("other"));
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, dir.path().join("link")).unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoBSfbhZqMVgdOPVlrXH1CKrWdNuZQm2K9fFcqlgXIB";
        let roots = [own.clone(), other, dir.path().join("link")];
        let lines: String = roots
            .iter()
            .map(|root| {
                let root = root.display();
                format!("restrict,pty,command=\"/bin/piku-receive --key a --app blog --root {root}\" {key}\n")
            })
            .chain([format!("restrict,pty,command=\"/bin/piku-receive --key a --app blog\" {key}\n")])
            .collect();
        std::fs::write(&file, lines).unwrap();
        let root = PikuRoot::new(Some(own)).unwrap();
        rename_app(&file, &root, &"blog".parse().unwrap(), &"shop".parse().unwrap()).unwrap();
        let after = std::fs::read_to_string(&file).unwrap();
        let apps: Vec<&str> =
            after.lines().map(|line| if line.contains("--app shop") { "shop" } else { "blog" }).collect();
        assert_eq!(apps, ["shop", "blog", "shop", "blog"], "{after}");
    }
}
