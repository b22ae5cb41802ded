//! Everything outside that one attack needs. It is removed when the attack is over.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::ipc::Objects;
use super::keys::Keys;
use super::random;
use super::terminal::Terminal;
use crate::sys::call;

pub(super) struct Scene {
    text: String,
    name: String,
    folder: PathBuf,
    listeners: [UnixListener; 2],
    victim: Child,
    objects: Objects,
    keys: Option<Keys>,
    terminal: Option<Terminal>,
    launcher: (PathBuf, Option<Stamp>),
    _left_open: [File; 2],
}

/// The properties of a file that a write changes.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    Some((meta.dev(), meta.ino(), meta.len(), times.0, times.1, times.2, times.3))
}

impl Scene {
    pub(super) fn new(launcher: &str) -> io::Result<Self> {
        let random = random()?;
        let (text, name) = (format!("s3cret-{random}"), format!("piku-attack-{random}"));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("secret"), &text)?;
        fs::write(folder.join("authorized_keys"), "ssh-ed25519 AAAA laptop\n")?;
        let listeners = [
            UnixListener::bind(folder.join("agent.sock"))?,
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?,
        ];
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let left_open = [File::open("/")?, File::open(folder.join("secret"))?];
        for file in &left_open {
            call!(libc::SYS_fcntl, file.as_raw_fd(), libc::F_SETFD, 0)
                .map_err(io::Error::from_raw_os_error)?;
        }
        let mut victim = Command::new("sleep");
        victim.arg("3600").env("SECRET", &text).stdin(Stdio::null()).stdout(Stdio::null());
        let terminal = Terminal::new();
        Ok(Self {
            victim: victim.spawn()?,
            objects: Objects::new(&name, &text),
            keys: Keys::new(&name, &text),
            launcher: (launcher.into(), stamp(launcher.as_ref())),
            _left_open: left_open,
            text,
            name,
            folder,
            listeners,
            terminal,
        })
    }

    /// Returns the program's end of the terminal.
    pub(super) fn terminal(&self) -> Option<&File> {
        self.terminal.as_ref().map(|terminal| &terminal.program)
    }

    /// Sets variables that the caller of a jail may have.
    pub(super) fn environment(&self, command: &mut Command) {
        for name in ["SSH_CLIENT", "GIT_DIR", "SECRET", "PYTHONPATH", "BASH_ENV"] {
            command.env(name, &self.text);
        }
        command.env("SSH_AUTH_SOCK", self.folder.join("agent.sock")).env("LD_PRELOAD", "");
    }

    /// Returns the facts for the attacker.
    pub(super) fn facts(&self) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut facts = vec![
            format!("text={}", self.text),
            format!("secret={}", path("secret")),
            format!("write={}", path("authorized_keys")),
            format!("socket={}", path("agent.sock")),
            format!("abstract={}", self.name),
            format!("pid={}", self.victim.id()),
            format!("parent={}", std::process::id()),
        ];
        if let Ok(namespace) = fs::read_link("/proc/self/ns/pid") {
            facts.push(format!("pidns={}", namespace.display()));
        }
        if let Some(address) = environment_of(self.victim.id()) {
            facts.push(format!("address={address}"));
        }
        facts.extend(self.objects.facts());
        facts.extend(self.keys.iter().flat_map(Keys::facts));
        facts.extend(self.terminal.iter().map(|_| "tty=0".to_owned()));
        facts
    }

    /// Returns everything that has changed.
    pub(super) fn changes(mut self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut check = |same: bool, what: &str| {
            if !same {
                changes.push(what.to_owned());
            }
        };
        check(self.victim.try_wait().is_ok_and(|ended| ended.is_none()), "a process outside was ended");
        let secret = fs::read_to_string(self.folder.join("secret")).unwrap_or_default();
        check(secret == self.text, "the secret file was changed");
        let keys = fs::read_to_string(self.folder.join("authorized_keys")).unwrap_or_default();
        check(keys == "ssh-ed25519 AAAA laptop\n", "the host's file was changed");
        let count = fs::read_dir(&self.folder).map_or(0, Iterator::count);
        check(count == 3, "the host's folder has something new");
        check(
            self.listeners.iter().all(|listener| listener.accept().is_err()),
            "a socket of the host was connected to",
        );
        check(stamp(&self.launcher.0) == self.launcher.1, "the launcher was changed");
        check(self.objects.are_there(), "a queue or memory of the host is gone");
        check(self.keys.as_ref().is_none_or(Keys::are_there), "a key of the caller is gone");
        check(self.terminal.as_mut().is_none_or(Terminal::is_silent), "the terminal got something");
        changes
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The process may have ended, and the directory may be gone; `changes` has reported that.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the address of a process's environment (field 50 of `proc_pid_stat(5)`).
fn environment_of(pid: u32) -> Option<usize> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // What comes after the name begins with field 3.
    stat.rsplit(") ").next()?.split(' ').nth(47)?.parse().ok()
}
