//! A complete piku server in a temporary directory, with its own root, keys, sshd and daemon, and a laptop
//! that pushes to it. Dropping it ends every process that it started, also when the test fails.

mod app_state;
mod held_lock;

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::account::Account;
use crate::repo::Repo;
use crate::sshd::Sshd;
use crate::{ports, tools};

/// Time after which a test gives up; no test depends on it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A server and a laptop.
pub struct World {
    account: Account,
    bin: PathBuf,
    daemon: Option<Child>,
    nginx: Option<Child>,
    sshd: Option<Sshd>,
    /// Keeps these ports from other servers as long as it listens.
    _guard: TcpListener,
    dir: TempDir,
}

impl World {
    /// Starts a server with one key, `laptop`, without restrictions.
    #[must_use]
    pub fn new() -> Self {
        Self::with_settings("")
    }

    /// Starts a server with these lines in `host.yaml`.
    #[must_use]
    pub fn with_settings(settings: &str) -> Self {
        Self::listening_on("127.0.0.1", settings)
    }

    /// Starts a server whose sshd listens on `address`.
    #[must_use]
    pub fn listening_on(address: &str, settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("piku-").tempdir().expect("a folder");
        open_to_others(dir.path());
        let account = Account::for_tests();
        let bin = tools::reachable_by(&account, dir.path());
        let (ports, guard) = ports::reserve_hundred();
        let mut world = Self { account, bin, daemon: None, nginx: None, sshd: None, _guard: guard, dir };
        for folder in ["home", "home/.ssh", "root", "log"] {
            fs::create_dir(world.path(folder)).expect(folder);
            world.account.take_ownership(&world.path(folder));
        }
        fs::set_permissions(world.root(), fs::Permissions::from_mode(0o700)).expect("mode of the root");
        fs::create_dir(world.path("laptop")).expect("laptop");
        fs::create_dir_all(world.path("lib")).expect("lib");
        for script in
            ["pre-receive", "post-receive", "receive-release", "piku", "complete", "doctor", "installation"]
        {
            let from = tools::repository().join("scripts").join(script);
            if from.exists() {
                fs::copy(&from, world.path("lib").join(script)).expect(script);
            }
        }
        let kinds = tools::repository().join("scripts/services");
        let copied = Command::new("cp").arg("-r").arg(kinds).arg(world.path("lib")).status();
        assert!(copied.expect("cp").success(), "the kinds of services");
        let settings = format!(
            "{settings}\nports: {{first: {ports}, last: {}}}\n\
             service_ports: {{first: {}, last: {}}}\n",
            ports + 78,
            ports + 79,
            ports + 98
        );
        fs::write(world.root().join("host.yaml"), settings).expect("host.yaml");
        world.account.take_ownership(&world.root().join("host.yaml"));
        world.add_key("laptop", &[]);
        world.sshd = Some(Sshd::start_on(address, &world.path("sshd"), &world.authorized_keys()));
        world.start_daemon();
        world
    }

    /// Returns a path below the temporary directory.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Returns `PIKU_ROOT`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// Returns the directory of an app.
    #[must_use]
    pub fn app(&self, app: &str) -> PathBuf {
        self.root().join("apps").join(app)
    }

    /// Returns the path of the file with the keys of its account.
    #[must_use]
    pub fn authorized_keys(&self) -> PathBuf {
        self.path("home/.ssh/authorized_keys")
    }

    /// Creates a key pair on the laptop and authorizes it as `name`, for all apps if `apps` is empty.
    pub fn add_key(&self, name: &str, apps: &[&str]) {
        let key = self.key(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&key)
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        self.authorize_key(name, &key.with_extension("pub"), apps);
    }

    /// Authorizes an existing public key.
    pub fn authorize_key(&self, name: &str, public: &Path, apps: &[&str]) {
        let mut add = self.tool("piku-receive");
        add.args(["key", "add", name, "--authorized-keys"]).arg(self.authorized_keys());
        for app in apps {
            add.args(["--app", app]);
        }
        let public = fs::File::open(public).expect("the public key");
        let out = add.stdin(public).output().expect("piku-receive runs");
        assert!(out.status.success(), "{out:?}");
    }

    /// Replaces the lines of `host.yaml`, except for the ports.
    pub fn set_settings(&self, settings: &str) {
        let path = self.root().join("host.yaml");
        let old = fs::read_to_string(&path).expect("host.yaml");
        let ports: Vec<&str> = old.lines().filter(|line| line.contains("ports: {first")).collect();
        assert_eq!(ports.len(), 2, "{old}");
        fs::write(&path, format!("{settings}\n{}\n", ports.join("\n"))).expect("host.yaml");
    }

    /// Creates a key pair in the server's home; returns the path of the private key.
    #[must_use]
    pub fn create_server_key(&self, name: &str) -> PathBuf {
        let key = crate::sshd::key_pair(&self.path("home"), name);
        self.account.take_ownership(&key);
        key
    }

    /// Returns the port of sshd.
    #[must_use]
    pub fn ssh_port(&self) -> u16 {
        self.sshd().port()
    }

    /// Returns the process id of sshd.
    #[must_use]
    pub fn sshd_pid(&self) -> i32 {
        self.sshd().pid()
    }

    fn key(&self, name: &str) -> PathBuf {
        self.path("laptop").join(format!("{name}_key"))
    }

    /// Returns a command for one of the five tools, run as the server's account.
    #[must_use]
    pub fn tool(&self, name: &str) -> Command {
        self.command(self.bin.join(name))
    }

    /// Returns a command for any program, run as the server's account.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.as_server(&mut command);
        command
    }

    /// Gives `command` the server's account and environment.
    fn as_server(&self, command: &mut Command) {
        self.account.apply_to(command);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", self.bin.display()))
            .env("PIKU_ROOT", self.root())
            .env("PIKU_SCRIPTS", self.path("lib"))
            // Nothing of a test reaches the journal of the machine.
            .env("PIKU_JOURNAL_SOCKET", self.path("journal.sock"))
            .current_dir(self.path("home"));
    }

    /// Starts the daemon and waits for its socket.
    pub fn start_daemon(&mut self) {
        self.start_daemon_with(&[]);
    }

    /// Does the same, with these variables in its environment.
    pub fn start_daemon_with(&mut self, vars: &[(&str, &Path)]) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .expect("daemon.log");
        let mut daemon = self.tool("piku-run");
        daemon
            .envs(vars.iter().copied())
            .arg("daemon")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log);
        self.daemon = Some(daemon.spawn().expect("piku-run daemon"));
        let socket = self.root().join("run/daemon.sock");
        wait_for("the daemon's socket", || UnixStream::connect(&socket).is_ok());
    }

    /// Starts `piku-run nginx` and waits until nginx serves.
    pub fn start_nginx(&mut self) {
        self.start_nginx_by(&self.bin.join("piku-run"));
    }

    /// Starts this copy of `piku-run` as `piku-run nginx` and waits until nginx serves.
    pub fn start_nginx_by(&mut self, program: &Path) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.path("nginx.log")).expect("nginx.log");
        let mut nginx = self.command(program);
        nginx.arg("nginx").stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
        let before = self.nginx_log().matches("nginx serves").count();
        self.nginx = Some(nginx.spawn().expect("piku-run nginx"));
        wait_for("nginx", || self.nginx_log().matches("nginx serves").count() > before);
    }

    /// Sends this signal to `piku-run nginx` and waits until it has ended.
    pub fn end_nginx(&mut self, signal: Signal) {
        let mut nginx = self.nginx.take().expect("an nginx");
        kill(pid(&nginx), signal).expect("kill nginx");
        nginx.wait().expect("wait for nginx");
    }

    /// Returns the process id of `piku-run nginx`.
    ///
    /// # Panics
    /// Panics if it was not started.
    #[must_use]
    pub fn nginx_pid(&self) -> i32 {
        pid(self.nginx.as_ref().expect("an nginx")).as_raw()
    }

    /// Returns what `piku-run nginx` has printed.
    #[must_use]
    pub fn nginx_log(&self) -> String {
        fs::read_to_string(self.path("nginx.log")).unwrap_or_default()
    }

    /// Ends the daemon with this signal and waits for it. Its workers keep running.
    pub fn end_daemon(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("a daemon");
        kill(pid(&daemon), signal).expect("kill the daemon");
        daemon.wait().expect("wait for the daemon");
    }

    /// Creates a work tree on the laptop with a remote `piku` for `app`.
    #[must_use]
    pub fn repo(&self, app: &str) -> Repo {
        self.repo_with_key(app, "laptop")
    }

    /// Creates a work tree that pushes with another key.
    #[must_use]
    pub fn repo_with_key(&self, app: &str, key: &str) -> Repo {
        Repo::new(&self.path("laptop").join(format!("{app}-{key}")), &self.url(app), &self.git_ssh(key))
    }

    /// Returns the URL of `app` for git.
    #[must_use]
    pub fn url(&self, app: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}/{app}", self.account.name, self.sshd().port())
    }

    /// Returns the value of `GIT_SSH_COMMAND` for a key.
    #[must_use]
    pub fn git_ssh(&self, key: &str) -> String {
        self.sshd().git_ssh_command(&self.key(key))
    }

    fn sshd(&self) -> &Sshd {
        self.sshd.as_ref().expect("sshd runs")
    }

    /// Runs `ssh piku@host WORDS` on the laptop.
    #[must_use]
    pub fn ssh(&self, key: &str, words: &str) -> Output {
        self.ssh_with("", key, words)
    }

    /// Runs `ssh -tt piku@host WORDS`.
    #[must_use]
    pub fn ssh_on_a_terminal(&self, key: &str, words: &str) -> Output {
        self.ssh_with("-tt", key, words)
    }

    fn ssh_with(&self, option: &str, key: &str, words: &str) -> Output {
        let line = self.git_ssh(key);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {line} {option} {}@127.0.0.1 \"$1\"", self.account.name));
        command.args(["sh", words]).stdin(Stdio::null()).output().expect("ssh runs")
    }

    /// Starts `ssh piku@host WORDS` with pipes.
    #[must_use]
    pub fn start_ssh(&self, key: &str, words: &str) -> Child {
        let line = self.git_ssh(key);
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("exec {line} {}@127.0.0.1 \"$1\"", self.account.name))
            .args(["sh", words]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh runs")
    }

    /// Returns the user that sshd lets in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.account.name
    }

    /// Returns the logs of daemon, nginx and sshd, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        let names = ["daemon.log", "nginx.log", "root/nginx/error.log", "sshd/sshd.log"];
        names.map(|name| format!("--- {name}\n{}", read(name))).concat()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.daemon.as_mut().is_none_or(|daemon| daemon.try_wait().is_ok_and(|ended| ended.is_some())) {
            // A daemon is needed to stop what an ended one has left running.
            self.start_daemon();
        }
        let _ = self.tool("piku-run").args(["stop", "--all"]).output();
        if let Some(mut nginx) = self.nginx.take() {
            // Twice: it does not wait for requests.
            let _ = kill(pid(&nginx), Signal::SIGTERM);
            let _ = kill(pid(&nginx), Signal::SIGINT);
            let _ = nginx.wait();
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = kill(pid(&daemon), Signal::SIGTERM);
            let _ = daemon.wait();
        }
        drop(self.sshd.take());
        if std::thread::panicking() {
            let mut err = std::io::stderr().lock();
            let _ = std::io::Write::write_all(&mut err, self.logs().as_bytes());
        }
    }
}

/// Waits until `is` returns true; panics after [`PATIENCE`].
pub fn wait_for(what: &str, is: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, is);
}

/// Waits for work, such as builds, that takes minutes on a busy machine.
pub fn wait_long(what: &str, is: impl FnMut() -> bool) {
    wait_within(PATIENCE * 10, what, is);
}

fn wait_within(patience: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < patience, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

fn open_to_others(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode of the world's folder");
}
