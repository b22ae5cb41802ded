//! A scene for level 2. As root it brings /etc/subuid and /etc/subgid of its own, in a mount namespace of its
//! own; nothing of the machine is changed.

use std::fs::{self};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::scene::{NOBODY, Outcome, Scene, User, run, users};

/// Takes /etc/subuid and /etc/subgid from a file and becomes a user, then the rest of the line, with a PATH
/// of its own where there is one for it.
pub(crate) const ENTER: &str = r#"mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid || exit 99
    uid=$2 groups=$3; shift 3
    set -- env PATH="${JAIL_PATH:-$PATH}" "$@"
    if [ "$uid" = 0 ]; then exec "$@"; fi
    if [ -n "$groups" ]; then groups=--groups=$groups; else groups=--clear-groups; fi
    exec setpriv --reuid "$uid" --regid "$uid" "$groups" "$@""#;
/// A group that nobody is in.
pub(crate) const SECRET: u32 = 4242;

/// A scene whose user has a range.
pub(crate) struct Two {
    pub(crate) scene: Scene,
    pub(crate) caller: u32,
    /// As root: the file that stands for /etc/subuid and /etc/subgid.
    pub(crate) ranges: Option<PathBuf>,
}

impl Two {
    /// Returns a scene for each user; none, with a report, if level 2 cannot be tried.
    pub(crate) fn each() -> Vec<Self> {
        let found: Vec<Self> = users().into_iter().filter_map(Self::new).collect();
        if found.is_empty() {
            eprintln!(
                "skipped: level 2 needs newuidmap and, for who is not root, lines in /etc/subuid and /etc/subgid"
            );
            assert!(std::env::var_os("CI").is_none(), "with CI set nothing may be skipped");
        }
        found
    }

    pub(crate) fn new(user: User) -> Option<Self> {
        let scene = Scene::new(user);
        let root = geteuid().is_root();
        let caller = if user == User::Nobody { NOBODY } else { geteuid().as_raw() };
        let ranges = root.then(|| scene.file("ranges", "nobody:700000:100\nroot:800000:100\n"));
        let two = Self { scene, caller, ranges };
        let tried = run(two.command(&["--check", "--format", "json", "--uid-range", "probe"]));
        (tried.code == Some(0)).then_some(two)
    }

    pub(crate) fn command(&self, options: &[&str]) -> Command {
        self.command_with("", options)
    }

    /// With these groups besides; only as somebody else than root.
    pub(crate) fn command_with(&self, groups: &str, options: &[&str]) -> Command {
        let mut command = match &self.ranges {
            Some(ranges) => {
                let mut command = Command::new("unshare");
                command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
                command.current_dir(self.scene.path(""));
                command
                    .args(["-m", "sh", "-c", ENTER, "sh"])
                    .arg(ranges)
                    .arg(self.caller.to_string())
                    .arg(groups);
                command.arg(self.scene.program());
                command
            }
            None => self.scene.jail(&[]),
        };
        if options.contains(&"--uid-range") {
            command.args(["--uid-registry", "registry"]);
        }
        command.args(options);
        command
    }

    pub(crate) fn sh(&self, name: &str, options: &[&str], script: &str) -> Outcome {
        let mut command = self.command(&["--root-from-host", "--uid-range", name]);
        run(command.args(options).args(["--", "sh", "-c", script]))
    }

    pub(crate) fn ok(&self, name: &str, options: &[&str], script: &str) -> String {
        let outcome = self.sh(name, options, script);
        assert!(outcome.code == Some(0) && outcome.err.is_empty(), "uid {}: {outcome:#?}", self.caller);
        outcome.out
    }

    /// The error that keeps a command from being started.
    pub(crate) fn error(&self, name: &str, options: &[&str]) -> String {
        let outcome = self.sh(name, options, "echo in");
        assert!(outcome.code == Some(125) && outcome.out.is_empty(), "{outcome:#?}");
        assert!(
            outcome.err.starts_with("piku-chroot: ") && outcome.err.lines().count() <= 2,
            "{}",
            outcome.err
        );
        outcome.err
    }

    pub(crate) fn uid(&self, name: &str) -> u32 {
        self.ok(name, &[], "id -u").trim().parse().unwrap()
    }

    pub(crate) fn give_back(&self, name: &str, dir: &str) -> Outcome {
        run(self.command(&["--uid-range", name, "--data", dir, "--give-back"]))
    }

    /// A folder that belongs to the caller.
    pub(crate) fn folder(&self, name: &str) -> String {
        self.scene.folder(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scene.path(name)
    }

    /// Gives it to the caller, when root made it.
    pub(crate) fn own(&self, path: &Path) {
        if self.ranges.is_some() {
            std::os::unix::fs::lchown(path, Some(self.caller), Some(self.caller)).unwrap();
        }
    }
}

pub(crate) fn owner(path: &Path) -> (u32, u32) {
    let about = fs::symlink_metadata(path).unwrap();
    (about.uid(), about.gid())
}
