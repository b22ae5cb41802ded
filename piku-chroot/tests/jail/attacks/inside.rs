//! A jail with the attacking program in it: as `/app/attack`, and, where root can make them, as a set-uid program and as
//! one with file capabilities.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};
use tempfile::TempDir;

use super::program;
use crate::scene::{NOBODY, Scene, User, copy_program, run};

pub(super) struct Jailed<'a> {
    scene: &'a Scene,
    /// piku-chroot, owned by who runs it.
    launcher: PathBuf,
    before: Vec<u8>,
    /// Not below /tmp, which is often mounted nosuid itself.
    privileged: Option<TempDir>,
}

/// What came of one attack.
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
    pub(super) fn new(scene: &'a Scene) -> Self {
        scene.folder("app");
        scene.folder("data");
        let attack = scene.path("app/attack");
        copy_program(program::path(), &attack);
        let launcher = scene.path("launcher");
        copy_program(scene.program(), &launcher);
        for file in [&attack, &launcher] {
            scene.owns(file);
        }
        let before = fs::read(&launcher).unwrap();
        let privileged = nix::unistd::geteuid().is_root().then(|| privileged(scene));
        Self { scene, launcher, before, privileged }
    }

    /// These attacks, each in a jail with these options beside the usual ones.
    pub(super) fn attack(&self, options: &[&str], names: &[&str]) -> Vec<Row> {
        let mut outside = self.scene.command(self.scene.path("app/attack"));
        outside.arg("outside").args(names).args(["own=ro", "tmp=1048576", "devshm=67108864"]);
        let mut mounts = Vec::new();
        if let Some(folder) = &self.privileged {
            outside.args(["suid=/privileged/suid", "filecap=/privileged/filecap"]);
            mounts.push(format!("--ro={}:/privileged", folder.path().display()));
        }
        outside.arg("--").arg(&self.launcher).args(["--root-from-host", "--app=app", "--data=data"]);
        outside.arg("--tmpfs=/tmp:1m").args(mounts).args(options).args(["--", "/app/attack"]);
        let outcome = run(outside);
        let rows: Vec<Row> = outcome
            .out
            .lines()
            .map(|line| {
                let (name, said) = line.split_once(" | ").unwrap_or((names[0], line));
                Row { name: name.to_owned(), said: said.to_owned() }
            })
            .collect();
        assert!(!rows.is_empty(), "{outcome:#?}");
        rows
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
    // struct vfs_cap_data: version 2 and "effective", then permitted and inheritable, lower and upper half: CAP_NET_RAW.
    let capability = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    setxattr(&filecap, c"security.capability", &capability, XattrFlags::empty()).unwrap();
    if scene.user() == User::Nobody {
        let whoami = |file: &Path| run(scene.command(file).arg("whoami")).out;
        assert!(whoami(&suid).starts_with(&format!("{NOBODY} 0 ")), "the test is no test");
        assert!(whoami(&filecap).contains(" 0000000000002000 "), "the test is no test");
    }
    folder
}
