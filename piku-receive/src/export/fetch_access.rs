//! Access of git to the servers of submodules. Their URLs come from the pushed tree, so a fetch
//! gets nothing of the user piku's: not its keys of ssh, which may open other machines, nor its agent, its
//! settings, its cookies and its passwords. It has the app's own `DEPLOY_KEY`, and what a URL itself says.
//! A step of the app's build could reach the same.

#![expect(clippy::disallowed_methods, reason = "reads the app's config.json, which is piku's own")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use piku_files::atomic_file;
use piku_release::deploy_key::DeployKey;
use piku_release::manifest::DEPLOY_KEY;

/// Protocols for git; `file` and `ext` would reach files and programs of this host.
const PROTOCOLS: &str = "https:http:ssh:git";
/// Options for ssh. git passes this to a shell, which replaces the variables. No user is present to confirm the
/// key of an unknown host: it is accepted the first time, and kept for this app alone.
const SSH: &str = "ssh -F /dev/null -a -x -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
                   -o GSSAPIAuthentication=no -o HostbasedAuthentication=no -o StrictHostKeyChecking=accept-new \
                   -o ConnectTimeout=30 -o \"UserKnownHostsFile=\\\"$PIKU_KNOWN_HOSTS\\\" ~/.ssh/known_hosts\"";
/// Options with a key.
const WITH_KEY: &str = "-o \"IdentityFile=\\\"$PIKU_DEPLOY_KEY\\\"\"";
/// Options without a key.
const WITHOUT_KEY: &str = "-o PubkeyAuthentication=no";
/// Home directory for git, where it looks for `.netrc` and settings.
const NO_HOME: &str = "/nonexistent";

/// Sets the protocols that git may use, and lets it prompt for nothing and read no settings but the
/// repository's.
pub(super) fn bound_command(git: &mut Command) {
    git.env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", NO_HOME)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("SSH_ASKPASS");
}

/// The app's deploy key in a file, until it is dropped.
pub(super) struct FetchAccess {
    key: Option<PathBuf>,
    known_hosts: PathBuf,
}

impl FetchAccess {
    /// Writes the key that is in `config`, if any, to a file in `folder`. A file that a killed fetch has left
    /// is replaced.
    pub(super) fn write(folder: &Path, config: Option<&Path>) -> anyhow::Result<Self> {
        let file = folder.join("deploy-key");
        let mut access = Self { key: None, known_hosts: folder.join("known_hosts") };
        let Some(key) = config.map(read_key).transpose()?.flatten() else { return Ok(access) };
        let cannot = || format!("cannot write '{}'", file.display());
        fs::create_dir_all(folder).with_context(cannot)?;
        atomic_file::write(&file, key.text().as_bytes(), 0o600).with_context(cannot)?;
        access.key = Some(file);
        Ok(access)
    }

    /// Returns true if there is a key.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Lets a git that [`bound_command`] has set up call ssh.
    pub(super) fn grant(&self, git: &mut Command) {
        let how = if self.has_key() { WITH_KEY } else { WITHOUT_KEY };
        git.env("GIT_SSH_COMMAND", format!("{SSH} {how}"))
            .env("GIT_SSH_VARIANT", "ssh")
            .env("PIKU_KNOWN_HOSTS", ssh_path(&self.known_hosts));
        if let Some(key) = &self.key {
            git.env("PIKU_DEPLOY_KEY", ssh_path(key));
        }
    }
}

impl Drop for FetchAccess {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            // The next fetch replaces it.
            let _ = fs::remove_file(key);
        }
    }
}

/// Returns a path as an option of ssh, which replaces `%` and a letter.
fn ssh_path(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

fn read_key(config: &Path) -> anyhow::Result<Option<DeployKey>> {
    let cannot = || format!("cannot read '{}'", config.display());
    let text = match fs::read(config) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(cannot)?,
    };
    // A value is never repeated.
    let variables: BTreeMap<String, String> = serde_json::from_slice(&text)
        .map_err(|err| anyhow::anyhow!("line {}, column {}", err.line(), err.column()))
        .with_context(cannot)?;
    Ok(variables.get(DEPLOY_KEY).map(|value| DeployKey::parse(value)).transpose()?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_tests::processes::shell;

    #[test]
    fn git_gets_neither_the_home_nor_the_agent_of_piku() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".gitconfig"), "[user]\nname = piku\n").unwrap();
        let mut git = shell("env; git config user.name");
        git.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
        git.env("SSH_AUTH_SOCK", "/agent").env("SSH_ASKPASS", "/askpass");
        let before = String::from_utf8(git.output().unwrap().stdout).unwrap();
        bound_command(&mut git);
        let after = String::from_utf8(git.output().unwrap().stdout).unwrap();
        assert!(before.contains("SSH_AUTH_SOCK=/agent\n") && before.ends_with("\npiku\n"), "{before}");
        assert!(after.contains("HOME=/nonexistent\n") && !after.contains("/agent"), "{after}");
        assert!(!after.contains("/askpass") && !after.contains(&*home.path().to_string_lossy()), "{after}");
    }
}
