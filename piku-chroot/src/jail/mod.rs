//! The caller's side: values that become a `piku-chroot` command line.
//!
//! The command's variables are passed under other names: piku-chroot itself, outside of the jail, would
//! otherwise load the library that an app names in `LD_PRELOAD`. Each name gets [`PREFIX`], which piku-chroot
//! removes (`--env-prefix`). Values never appear on a command line, which every user can read.

mod prepared_root;
mod systemd_scope;
mod trial;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use piku_layout::jail::{APP, DATA};
use piku_layout::settings::Protection;
use piku_layout::writable_path::WritablePath;

pub use self::prepared_root::PreparedSpec;
pub use self::trial::{TrialError, available};
use crate::cli;
use crate::profile::BuiltinProfile;

/// Prefix of each variable that is meant for the command in the jail.
pub const PREFIX: &str = "PIKU_JAILED_";
/// Variable that names the `piku-chroot` program if it is neither beside its caller nor on PATH.
pub(crate) const PROGRAM_VARIABLE: &str = "PIKU_CHROOT";
const PROGRAM: &str = "piku-chroot";
const OWN_USER: &str = "--uid-range";
const GIVE_BACK: &str = "--give-back";

/// Saves 55 kB in the monitor and init of each jail, which wait for months: the C library otherwise keeps
/// freed memory for the next call. The command does not see this variable.
const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// Options of a jail, as arguments of `piku-chroot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JailSpec {
    options: Vec<OsString>,
    /// Options of a prepared root for it.
    common: Vec<OsString>,
    /// Start it in a scope of the user's systemd.
    scoped: bool,
}

impl JailSpec {
    /// Creates a jail with the host's programs and libraries, read-only, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default().common_flag("--root-from-host")
    }

    /// Creates a jail with the options of a profile.
    #[must_use]
    pub fn profile(profile: BuiltinProfile) -> Self {
        Self::default().common_option("--profile", profile.name())
    }

    /// Mounts `dir` read-only at `/app`.
    #[must_use]
    pub fn app(self, dir: &Path) -> Self {
        self.option("--app", dir).place(Path::new(APP))
    }

    /// Mounts `dir` writable at `/data`.
    #[must_use]
    pub fn data(self, dir: &Path) -> Self {
        self.option("--data", dir).place(Path::new(DATA))
    }

    /// Makes `/app` writable: changes go to a folder in `dir` and end with the command.
    #[must_use]
    pub fn scratch(self, dir: &Path) -> Self {
        self.option("--scratch", dir)
    }

    /// Keeps these paths of `/app` in the data.
    #[must_use]
    pub fn keep(self, paths: &[WritablePath]) -> Self {
        let word = |path: &WritablePath| {
            let mut word = path.path().as_os_str().to_owned();
            word.push(if path.is_folder() { "/" } else { "" });
            word
        };
        paths.iter().fold(self, |jail, path| jail.option("--keep", word(path)))
    }

    /// Makes only the paths of [`Self::keep`] writable.
    #[must_use]
    pub fn keep_only(self) -> Self {
        self.flag("--keep-only")
    }

    /// Prints at the end which files of the command in `/app` are lost, and that `setting` keeps them.
    #[must_use]
    pub fn tell_discarded(self, setting: &str) -> Self {
        self.option("--tell-discarded", setting)
    }

    /// Lets the jail end before the folder of [`Self::scratch`] is removed.
    #[must_use]
    pub fn remove_in_background(self) -> Self {
        self.flag("--remove-in-background")
    }

    /// Mounts `src` writable at `dst`.
    #[must_use]
    pub fn bind(self, src: &Path, dst: &Path) -> Self {
        self.mount("--bind", src, dst)
    }

    /// Mounts `src` read-only at `dst`.
    #[must_use]
    pub fn ro(self, src: &Path, dst: &Path) -> Self {
        self.mount("--ro", src, dst)
    }

    /// Mounts a device, or a directory of devices, at `dst`.
    #[must_use]
    pub fn grant_device(self, src: &Path, dst: &Path) -> Self {
        self.mount("--grant-device", src, dst)
    }

    /// Mounts a path of the host without symlinks at `dst`, writable.
    #[must_use]
    pub fn grant(self, src: &Path, dst: &Path) -> Self {
        self.mount("--grant", src, dst)
    }

    /// Does the same, read-only.
    #[must_use]
    pub fn grant_ro(self, src: &Path, dst: &Path) -> Self {
        self.mount("--grant-ro", src, dst)
    }

    /// Puts the command into a group of the host; only with [`Self::own_user`] and a group for which
    /// [`crate::may_lend_group`] returns true.
    #[must_use]
    pub fn group(self, gid: u32) -> Self {
        self.common_option("--group", gid.to_string())
    }

    /// Runs the command as the user that `name` has in `registry`, who becomes the owner of the data.
    #[must_use]
    pub fn own_user(self, name: &str, registry: &Path) -> Self {
        self.common_option(OWN_USER, name).common_option("--uid-registry", registry)
    }

    /// Uses this prepared root of [`PreparedSpec::make`], which saves a quarter of the time of a start. It must have been
    /// made by [`Self::to_prepared`] of such a jail, and the command has to inherit the descriptor under the same number.
    #[must_use]
    pub fn prepared(self, root: BorrowedFd<'_>) -> Self {
        self.option("--prepared", root.as_raw_fd().to_string())
    }

    /// Lets a prepared root have a directory to mount on at `dst`, for jails that mount something there of their own.
    #[must_use]
    pub fn place(mut self, dst: &Path) -> Self {
        self.common.push(option_word("--tmpfs", cli::escape_path(dst)));
        self
    }

    /// Mounts `src` read-only at `dst`, which has to be a [`Self::place`] for a prepared root.
    #[must_use]
    pub fn ro_at_place(self, src: &Path, dst: &Path) -> Self {
        self.option("--ro", cli::join_pair(src, dst))
    }

    /// Undoes [`Self::own_user`]: the caller becomes the owner of the data, and the command runs as the
    /// caller.
    #[must_use]
    pub fn no_own_user(self, name: &str, registry: &Path) -> Self {
        self.own_user(name, registry).flag(GIVE_BACK)
    }

    /// Sets the working directory in the jail.
    #[must_use]
    pub fn chdir(self, dir: &Path) -> Self {
        self.option("--chdir", dir)
    }

    /// Sets the host name in the jail.
    #[must_use]
    pub fn hostname(self, name: &str) -> Self {
        self.common_option("--hostname", name)
    }

    /// Sets limits over those of the profile: `memory=512m,pids=100`.
    #[must_use]
    pub fn limit(self, limits: &str) -> Self {
        self.option("--limit", limits)
    }

    /// Sets the size of `/tmp`, such as `64m`; it never exceeds the limit on memory.
    #[must_use]
    pub fn tmp_size(self, size: &str) -> Self {
        self.option("--tmp-size", size)
    }

    /// Writes a [`crate::report`] to `file`.
    #[must_use]
    pub fn report(self, file: &Path) -> Self {
        self.option("--report", file)
    }

    /// Lets the command bind TCP sockets to `port`. Once a port is named, all others are refused but those
    /// that the kernel picks; port 0 allows these alone.
    #[must_use]
    pub fn listen(self, port: u16) -> Self {
        self.option("--listen", port.to_string())
    }

    /// Lets the command reach `port` at 127.0.0.1 of the host; with [`Self::own_network`], which reaches no other.
    #[must_use]
    pub fn connect(self, port: u16) -> Self {
        self.option("--connect", port.to_string())
    }

    /// Refuses to start if one of these protections is missing.
    #[must_use]
    pub fn require(self, protections: &[Protection]) -> Self {
        protections.iter().fold(self, |jail, protection| jail.option("--require", protection.name()))
    }

    /// Gives the jail its own network, connected by pasta. Incoming connections arrive at the ports of
    /// [`Self::listen`].
    #[must_use]
    pub fn own_network(self) -> Self {
        self.common_option("--net", "own")
    }

    /// Gives the jail no network device at all.
    #[must_use]
    pub fn no_network(self) -> Self {
        self.common_option("--net", "none")
    }

    /// Gives the command its own terminal instead of the caller's.
    #[must_use]
    pub fn tty(self) -> Self {
        self.flag("--tty")
    }

    /// Starts the jail in its own cgroup, which can hold limits, if [`available`] finds that the user's
    /// systemd makes one: for callers in an ssh session, which do not own their cgroup.
    #[must_use]
    pub fn scoped(mut self) -> Self {
        self.scoped = trial::trial_result().as_ref().is_ok_and(|trial| trial.scoped);
        self
    }

    /// Makes nothing before the caller writes a byte to its stdin; the command's stdin is `/dev/null`.
    #[must_use]
    pub fn gate(self) -> Self {
        self.flag("--gate")
    }

    /// Ends the command when the calling process ends, even by SIGKILL. The thread that starts the command
    /// has to live as long as the process.
    #[must_use]
    pub fn die_with_caller(self) -> Self {
        self.option("--die-with", std::process::id().to_string())
    }

    /// Returns the command that runs `argv` in this jail with exactly the environment `env`, and PATH and
    /// HOME if `env` does not set them.
    pub fn command<I, K, V>(&self, env: I, argv: &[String]) -> Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut command = Command::new(find_program());
        command.env_clear().envs([ALLOCATOR]);
        for (name, value) in env {
            let mut prefixed = OsString::from(PREFIX);
            prefixed.push(name);
            command.env(prefixed, value);
        }
        command.args(&self.options).arg(format!("--env-prefix={PREFIX}")).arg("--").args(argv);
        if self.scoped { systemd_scope::wrap(&command).unwrap_or(command) } else { command }
    }

    fn flag(mut self, name: &str) -> Self {
        self.options.push(name.into());
        self
    }

    /// Adds `--name=value` as one argument, so that a value may begin with a dash.
    fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.options.push(option_word(name, value));
        self
    }

    /// Adds an option for a prepared root, too.
    fn common_option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let word = option_word(name, value);
        self.common.push(word.clone());
        self.options.push(word);
        self
    }

    fn common_flag(mut self, name: &str) -> Self {
        self.common.push(name.into());
        self.flag(name)
    }

    /// Adds a mount. A prepared root has a place for those outside of the app's trees.
    fn mount(self, name: &str, src: &Path, dst: &Path) -> Self {
        let pair = cli::join_pair(src, dst);
        let in_app = dst.starts_with(APP) || dst.starts_with(DATA);
        if in_app { self.option(name, pair) } else { self.common_option(name, pair) }
    }
}

fn option_word(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(value);
    word
}

/// Finds the program: the one that [`PROGRAM_VARIABLE`] names, else one beside the running program, one
/// directory above it (tests run in `target/debug/deps`), or on PATH.
pub(crate) fn find_program() -> PathBuf {
    if let Some(named) = std::env::var_os(PROGRAM_VARIABLE).filter(|named| !named.is_empty()) {
        return named.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.ancestors().skip(1).take(2).map(Path::to_owned);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .chain(std::env::split_paths(&on_path))
        .map(|dir| dir.join(PROGRAM))
        .find(|file| file.is_file())
        .unwrap_or_else(|| PROGRAM.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_all_options_and_no_values_of_variables() {
        let jail = JailSpec::new()
            .app(Path::new("/r/app"))
            .data(Path::new("-d"))
            .ro(Path::new("/a:b"), Path::new("/c"));
        let command =
            jail.command([("SECRET", "s3"), ("LD_PRELOAD", "/x")], &["--odd".to_owned(), "a b".to_owned()]);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let expected = [
            "--root-from-host",
            "--app=/r/app",
            "--data=-d",
            r"--ro=/a\:b:/c",
            "--env-prefix=PIKU_JAILED_",
            "--",
            "--odd",
            "a b",
        ];
        assert_eq!(args, expected);
        let env: Vec<_> = command.get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(env, ["GLIBC_TUNABLES", "PIKU_JAILED_LD_PRELOAD", "PIKU_JAILED_SECRET"]);
    }
}
