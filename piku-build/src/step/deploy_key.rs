//! The key by which git in a build step fetches private repositories. The operator stores it as a variable; a
//! step gets it as a file in its private HOME, for as long as it runs, and never as a variable. No process of
//! the app gets it, and no other app.

use std::path::Path;

use piku_files::{TreeError, TreeHandle};
use piku_release::deploy_key::DeployKey;
use piku_release::manifest::DEPLOY_KEY;

use crate::step::environment::Variables;

/// Names of the files in HOME.
const FILE: &str = "deploy_key";
const KNOWN_HOSTS: &str = "known_hosts";

/// The key of the app in the HOME of a step.
pub(crate) struct KeyFile(DeployKey);

impl KeyFile {
    /// Takes the key out of the variables of a step.
    ///
    /// # Errors
    /// Fails if the value is not a private key.
    pub(crate) fn take(env: &mut Variables) -> anyhow::Result<Option<Self>> {
        let value = env.remove(DEPLOY_KEY).unwrap_or_default();
        Ok(DeployKey::parse(&value)?.map(Self))
    }

    /// Writes the key into the HOME of a step, which sees it at `inside`, and adds the variables by which git
    /// uses it.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn install(&self, home: &Path, inside: &Path, env: &mut Variables) -> Result<(), TreeError> {
        TreeHandle::open(home)?.write(FILE, self.0.text(), 0o600)?;
        let place = |name: &str| inside.join(name).display().to_string();
        // The first key of a host is accepted: a build cannot ask, and its folder is new each time.
        let ssh = format!(
            "ssh -F /dev/null -i '{}' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile='{}'",
            place(FILE),
            place(KNOWN_HOSTS)
        );
        for (name, value) in [
            ("GIT_SSH_COMMAND", ssh.as_str()),
            // cargo's own git does not call ssh.
            ("CARGO_NET_GIT_FETCH_WITH_CLI", "true"),
        ] {
            env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(home: &Path) -> Result<(), TreeError> {
        TreeHandle::open(home)?.remove_all(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn the_file_is_private_and_replaces_what_a_step_has_left() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        symlink("other", dir.path().join(FILE)).unwrap();
        let mut env = Variables::new();
        env.insert(DEPLOY_KEY.to_owned(), KEY.to_owned());
        let key = KeyFile::take(&mut env).unwrap().unwrap();
        assert!(env.is_empty(), "no step gets the variable");
        key.install(dir.path(), Path::new("/build"), &mut env).unwrap();
        let meta = fs::symlink_metadata(dir.path().join(FILE)).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600);
        assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "");
        assert!(env["GIT_SSH_COMMAND"].contains("-i '/build/deploy_key'"));
        KeyFile::remove(dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
