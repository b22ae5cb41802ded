//! A real sshd for tests: its own host key, one port on loopback, one `authorized_keys` file, ended when
//! dropped.
//!
//! It runs as whoever runs the tests and lets in that user only: a plain user's sshd can log in nobody else,
//! and root's lets root in, by key alone, from this machine alone.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports::free_port;

/// Time limit for sshd's first answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Another program may take the port between our look and sshd's bind.
const ATTEMPTS: usize = 5;

/// A running sshd.
#[derive(Debug)]
pub struct Sshd {
    process: Child,
    port: u16,
    log: PathBuf,
    user: String,
}

impl Sshd {
    /// Starts sshd with its files in `dir` (made when missing) and waits until it answers. `authorized_keys`
    /// is read anew at each login, so it may change, or come to be, later on.
    ///
    /// # Panics
    /// Panics if sshd is missing or does not answer; its log is in the message.
    #[must_use]
    pub fn start(dir: &Path, authorized_keys: &Path) -> Self {
        Self::start_on("127.0.0.1", dir, authorized_keys)
    }

    /// Starts one that listens on another address; with `0.0.0.0` also on loopback.
    ///
    /// # Panics
    /// As [`Sshd::start`].
    #[must_use]
    pub fn start_on(address: &str, dir: &Path, authorized_keys: &Path) -> Self {
        fs::create_dir_all(dir).expect("folder of sshd");
        let dir = dir.canonicalize().expect("folder of sshd");
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
            .expect("user database")
            .expect("who runs the tests is in the user database")
            .name;
        if nix::unistd::geteuid().is_root() {
            // root's sshd wants its empty folder; Debian makes it at boot, which a container has not had.
            let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        }
        let host_key = dir.join("host_key");
        if !host_key.exists() {
            generate(&host_key);
        }
        let log = dir.join("sshd.log");
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let config = dir.join("sshd_config");
            fs::write(&config, settings(address, &dir, port, authorized_keys)).expect("sshd_config");
            let mut process = Command::new(program())
                .args(["-D", "-f"])
                .arg(&config)
                .arg("-E")
                .arg(&log)
                .stdin(Stdio::null())
                .spawn()
                .expect("sshd starts");
            if answers(&mut process, port) {
                return Self { process, port, log, user };
            }
            let _ = process.kill();
            let _ = process.wait();
            said = fs::read_to_string(&log).unwrap_or_default();
        }
        panic!("sshd does not answer; its log:\n{said}");
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a pid")
    }

    /// Returns the only user who can log in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `ssh://USER@127.0.0.1:PORT/PATH`, for `git remote add`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}/{path}", self.user, self.port)
    }

    /// Returns the value of `GIT_SSH_COMMAND` with which git comes in by this private key. The user's own ssh
    /// configuration and agent have no part in it.
    #[must_use]
    pub fn git_ssh_command(&self, key: &Path) -> String {
        let words: Vec<String> =
            self.words(key).iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        words.join(" ")
    }

    /// `ssh … USER@127.0.0.1`, to which a test adds what it wants run.
    #[must_use]
    pub fn ssh(&self, key: &Path) -> Command {
        let words = self.words(key);
        let mut ssh = Command::new(&words[0]);
        ssh.args(&words[1..]).arg(format!("{}@127.0.0.1", self.user)).env_remove("SSH_AUTH_SOCK");
        ssh
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn words(&self, key: &Path) -> Vec<String> {
        let port = self.port.to_string();
        let key = key.to_str().expect("a key's path is text");
        [
            "ssh",
            "-F",
            "none",
            "-i",
            key,
            "-p",
            &port,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The listener alone; a session ends with its client.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a key pair without a passphrase, `DIR/NAME` and `DIR/NAME.pub`, and returns the private key's path.
///
/// # Panics
/// Panics if ssh-keygen fails.
#[must_use]
pub fn key_pair(dir: &Path, name: &str) -> PathBuf {
    let key = dir.join(name);
    generate(&key);
    key
}

fn generate(key: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "made for a test", "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success(), "ssh-keygen failed for {}", key.display());
}

/// Returns the absolute path of sshd, by which it must be started.
fn program() -> &'static Path {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("sshd is installed (Debian: openssh-server)")
}

/// Returns the settings. HOME is the test's own: a login shell would read, and print the output of, the
/// start-up files of the user who runs the tests.
fn settings(address: &str, dir: &Path, port: u16, authorized_keys: &Path) -> String {
    let dir = dir.display();
    let keys = authorized_keys.display();
    format!(
        "ListenAddress {address}:{port}\n\
         HostKey \"{dir}/host_key\"\n\
         PidFile none\n\
         AuthorizedKeysFile \"{keys}\"\n\
         StrictModes no\n\
         UsePAM no\n\
         PermitRootLogin prohibit-password\n\
         PubkeyAuthentication yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         AcceptEnv LANG LC_* GIT_PROTOCOL\n\
         SetEnv \"HOME={dir}\"\n\
         UseDNS no\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         MaxStartups 200\n\
         LogLevel VERBOSE\n"
    )
}

/// Waits for sshd's greeting; `false` when it has ended or says nothing.
fn answers(process: &mut Child, port: u16) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if process.try_wait().expect("state of sshd").is_some() {
            return false;
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut greeting = [0; 4];
            let _ = stream.set_read_timeout(Some(PATIENCE));
            return stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-";
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_key_runs_forced_command() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("authorized_keys");
        let sshd = Sshd::start(&dir.path().join("ssh d"), &keys);
        let key = key_pair(dir.path(), "a'key");
        let public = fs::read_to_string(dir.path().join("a'key.pub")).unwrap();

        assert_eq!(sshd.ssh(&key).arg("x").output().unwrap().status.code(), Some(255), "no key yet");
        fs::write(
            &keys,
            format!("restrict,command=\"echo \\\"$SSH_ORIGINAL_COMMAND\\\"; echo ~; exit 7\" {public}"),
        )
        .unwrap();
        let out = sshd.ssh(&key).args(["hello", "there"]).output().unwrap();
        let home = dir.path().join("ssh d").canonicalize().unwrap();
        let said = format!("hello there\n{}\n", home.display());
        assert_eq!(String::from_utf8_lossy(&out.stdout), said, "{}", sshd.log());
        assert_eq!(out.status.code(), Some(7));
        let out = Command::new("sh")
            .arg("-c")
            .arg(format!("{} {}@127.0.0.1 git", sshd.git_ssh_command(&key), sshd.user()))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("git\n"), "{out:?}");
    }
}
