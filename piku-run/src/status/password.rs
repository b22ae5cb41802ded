//! `status:password`: who may read the page that nginx serves.

#![expect(clippy::disallowed_methods, reason = "the passwords of the status page, which only piku writes")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::process::Stdio;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::diagnostic::readable;
use piku_report::output;
use piku_report::progress;
use piku_report::user_error::{BUSY, USAGE, UserError};

use crate::cli::StatusPasswordArgs;
use crate::lock;
use crate::nginx::{WebServer, openssl_command};
use crate::releases::current;

/// Shortest password that is accepted, in bytes.
const SHORTEST: usize = 12;
/// Longest one, as openssl reads it.
const LONGEST: usize = 200;
/// Cost of a hash, the least of crypt(3): nginx computes it for each request, and serves nothing else meanwhile.
const ROUNDS: &str = "rounds=1000";

/// Sets the password of a reader, or removes it, and has nginx serve the page accordingly. Without `--stdin`, the
/// password is made and printed.
pub(crate) fn set_password(root: &PikuRoot, typed: &StatusPasswordArgs) -> anyhow::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if typed.user.is_empty() || typed.user.len() > 32 || !typed.user.bytes().all(is_plain) {
        let what = format!("'{}' is not a user's name", readable(&typed.user));
        return Err(UserError::new(what).hint("use 1 to 32 letters, digits and '._-'").code(USAGE).into());
    }
    let web = WebServer::load(root)?;
    let password = match typed {
        StatusPasswordArgs { remove: true, .. } => None,
        StatusPasswordArgs { stdin: true, .. } => Some(read_password()?),
        _ => Some(random_hex(16)?),
    };
    let hash = password.as_deref().map(hash_password).transpose()?;
    store(root, &typed.user, hash.as_deref())?;
    if let Some(password) = password.filter(|_| !typed.stdin) {
        output::write(format!("{password}\n").as_bytes())?;
    }
    let is_served = HostSettings::read(&root.settings())?.status.enabled && web.ask_to_reload();
    if typed.remove {
        return Ok(());
    }
    progress::detail(&match web.status_url().filter(|_| is_served) {
        Some(url) => format!("{} can read {url}", typed.user),
        None if is_served => "the page is served to this machine, for a tunnel: docs/status.md".to_owned(),
        None => {
            "the page is not served: 'status: true' in host.yaml and piku's nginx do that; docs/status.md"
                .to_owned()
        }
    });
    Ok(())
}

/// Stores the hash of a reader's password, or removes the reader. Without any reader, there is no file.
fn store(root: &PikuRoot, user: &str, hash: Option<&str>) -> anyhow::Result<()> {
    for dir in [root.run(), root.status()] {
        current::create_dir(&dir)?;
    }
    let path = root.run().join("status-password.lock");
    let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(_lock) = lock else {
        return Err(UserError::new("another 'status:password' runs").hint("try again").code(BUSY).into());
    };
    let path = root.status_passwords();
    let before = match fs::read_to_string(&path) {
        Err(err) if err.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read '{}'", path.display()))?,
    };
    let is_own = |line: &&str| line.split(':').next() == Some(user);
    if hash.is_none() && !before.lines().any(|line| is_own(&line)) {
        return Err(UserError::new(format!("'{user}' has no password for the status page")).into());
    }
    let mut text = String::new();
    for line in before.lines().filter(|line| !is_own(line)) {
        text.extend([line, "\n"]);
    }
    if let Some(hash) = hash {
        text.extend([user, ":", hash, "\n"]);
    }
    if text.is_empty() {
        return current::remove_dir(&path);
    }
    atomic_file::write(&path, text.as_bytes(), 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))
}

/// Reads the password, without its newline.
fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(4096).read_to_string(&mut text).context("cannot read the password")?;
    let password = text.trim_end_matches(['\r', '\n']);
    let is_good = (SHORTEST..=LONGEST).contains(&password.len()) && !password.chars().any(char::is_control);
    if !is_good {
        let what = format!("the password must have {SHORTEST} to {LONGEST} characters in one line");
        return Err(UserError::new(what).hint("without --stdin, piku makes one").into());
    }
    Ok(password.to_owned())
}

/// Returns this many random bytes in hexadecimal digits.
fn random_hex(count: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; count];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    Ok(piku_files::sha256::to_hex(&bytes))
}

/// Returns the password as crypt(3) hashes it, by openssl. It is passed on stdin: all users can see arguments.
fn hash_password(password: &str) -> anyhow::Result<String> {
    let salt = format!("{ROUNDS}${}", random_hex(8)?);
    let mut child = openssl_command()?
        .args(["passwd", "-6", "-salt", &salt, "-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run openssl")?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it has ended, its exit status tells.
        let _ = stdin.write_all(format!("{password}\n").as_bytes());
    }
    let out = child.wait_with_output().context("cannot wait for openssl")?;
    let hash = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    anyhow::ensure!(out.status.success() && hash.starts_with("$6$"), "openssl made no hash of the password");
    Ok(hash)
}
