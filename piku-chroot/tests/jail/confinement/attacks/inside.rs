//! A jail with the attacking program in it: as `/app/attack`, and, where root can make them, as a set-uid
//! program and as one with file capabilities.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, setxattr};
use tempfile::TempDir;

use super::program;
use crate::scene::{NOBODY, Scene, User, copy_program, run};
use crate::uid_range::scene::{ENTER, SECRET};

/// Number of users in the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The caller.
    One,
    /// The caller, and the one that the command is.
    Two,
}

pub(super) struct Jailed<'a> {
    scene: &'a Scene,
    level: Level,
    /// piku-chroot, owned by who runs it.
    launcher: PathBuf,
    before: Vec<u8>,
    /// The only port that may be bound, where the kernel can hold that.
    listen: Option<u16>,
    /// Not below /tmp, which is often mounted nosuid itself.
    privileged: Option<TempDir>,
}

impl std::fmt::Debug for Jailed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, level {:?}", self.scene.user(), self.level)
    }
}

/// Result of an attack.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) said: String,
}

impl Row {
    /// `held`, `BROKEN` or `untried`.
    pub(super) fn word(&self) -> &str {
        self.said.split(':').next().unwrap_or_default()
    }
}

impl<'a> Jailed<'a> {
    pub(super) fn new(scene: &'a Scene, level: Level) -> Self {
        scene.folder("app");
        scene.folder("data");
        scene.file("ranges", "nobody:700000:100\nroot:800000:100\n");
        let attack = scene.path("app/attack");
        copy_program(program::path(), &attack);
        let launcher = scene.path("launcher");
        copy_program(scene.program(), &launcher);
        for file in [&attack, &launcher] {
            scene.owns(file);
        }
        let before = fs::read(&launcher).unwrap();
        let privileged = nix::unistd::geteuid().is_root().then(|| privileged(scene));
        let table = run(scene.jail(&["--check"])).out;
        let listen = table.contains("guard on TCP ports                    yes").then_some(18080);
        Self { scene, level, launcher, before, listen, privileged }
    }

    /// These attacks, each in a jail with these options beside the usual ones.
    pub(super) fn attack(&self, options: &[&str], names: &[&str]) -> Vec<Row> {
        let mut outside = self.enter(&self.scene.path("app/attack"));
        outside.arg("outside").args(names).args(["own=ro", "tmp=1048576", "devshm=67108864"]);
        outside.args(self.listen.map(|port| format!("listen={port}")));
        let mut mounts = Vec::new();
        if let Some(folder) = &self.privileged {
            outside.args(["suid=/privileged/suid", "filecap=/privileged/filecap"]);
            mounts.push(format!("--ro={}:/privileged", folder.path().display()));
            if self.level == Level::Two {
                outside.arg("groupfile=/privileged/groupfile");
            }
        }
        outside.arg("--").arg(&self.launcher).args(["--root-from-host", "--app=app"]).args(self.options());
        outside.args(self.listen.map(|port| format!("--listen={port}")));
        outside.arg("--tmpfs=/tmp:1m").args(mounts).args(options).args(["--", "/app/attack"]);
        let outcome = run(outside);
        let rows: Vec<Row> = outcome
            .out
            .lines()
            .map(|line| {
                let (name, said) = line.split_once(" | ").unwrap_or(("", line));
                Row { name: name.to_owned(), said: said.to_owned() }
            })
            .collect();
        assert!(!rows.is_empty(), "{outcome:#?}");
        rows
    }

    /// Returns the options of a jail of this level. A range owns the files in its data, so it has no data.
    fn options(&self) -> &'static [&'static str] {
        match self.level {
            Level::One => &["--data=data"],
            Level::Two => &["--uid-range=attack", "--uid-registry=registry"],
        }
    }

    /// A program as the caller; on level 2 as one who has a range, and as root with a group more.
    fn enter(&self, program: &Path) -> Command {
        if self.level == Level::One || self.privileged.is_none() {
            return self.scene.command(program);
        }
        let (caller, groups) = match self.scene.user() {
            User::Own => ("0".to_owned(), String::new()),
            User::Nobody => (NOBODY.to_string(), SECRET.to_string()),
        };
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.current_dir(self.scene.path("")).args(["-m", "sh", "-c", ENTER, "sh"]);
        command.arg(self.scene.path("ranges")).args([caller, groups]).arg(program);
        command
    }

    /// Checks that such a jail can be made here; the error is the reason if not.
    pub(super) fn works(&self) -> Result<(), String> {
        let mut command = self.enter(&self.launcher);
        let outcome = run(command.arg("--root-from-host").args(self.options()).args(["--", "true"]));
        if outcome.code == Some(0) { Ok(()) } else { Err(outcome.err) }
    }

    /// Nobody has written to it.
    pub(super) fn launcher_is_the_same(&self) -> bool {
        fs::read(&self.launcher).unwrap() == self.before
    }
}

/// Two copies of the attacking program with more rights than who starts them.
fn privileged(scene: &Scene) -> TempDir {
    let folder = tempfile::Builder::new().prefix("piku-chroot-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str, mode| -> PathBuf {
        let file = folder.path().join(name);
        copy_program(program::path(), &file);
        chown(&file, Some(0), Some(0)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        file
    };
    let suid = file("suid", 0o6755);
    let filecap = file("filecap", 0o755);
    let secret = folder.path().join("groupfile");
    fs::write(&secret, "secret").unwrap();
    chown(&secret, Some(0), Some(SECRET)).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
    // struct vfs_cap_data: version 2 and "effective", then permitted and inheritable, lower and upper half:
    // CAP_NET_RAW.
    let capability = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    setxattr(&filecap, c"security.capability", &capability, XattrFlags::empty()).unwrap();
    if scene.user() == User::Nobody {
        let whoami = |file: &Path| run(scene.command(file).arg("whoami")).out;
        assert!(whoami(&suid).starts_with(&format!("{NOBODY} 0 ")), "the test is no test");
        assert!(whoami(&filecap).contains(" 0000000000002000 "), "the test is no test");
    }
    folder
}
