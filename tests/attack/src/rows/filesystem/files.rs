//! Writing where nothing is one's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 3] = [
    Row {
        name: "create",
        attempt: "create files, folders, links and fifos in /, /usr, /etc, /dev, /proc and the like",
        expected: "refused",
        run: create,
    },
    Row {
        name: "change",
        attempt: "write, chmod, chown, touch and rename programs, files of /etc and devices",
        expected: "refused",
        run: change,
    },
    Row {
        name: "own-release",
        attempt: "change the own release in /app from a worker",
        expected: "read-only",
        run: own_release,
    },
];

/// Everything that can be created in a folder.
fn create_in(ways: &mut Ways, folder: &str) {
    let path = format!("{folder}/piku-attack-new");
    let file = Path::new(&path);
    let mut created = |what: &str, result: std::io::Result<()>| {
        let through = result.is_ok();
        ways.io(&format!("{what} in {folder}"), result);
        if through && fs::remove_file(file).is_err() {
            let _ = fs::remove_dir(file);
        }
    };
    created("a file", fs::File::create_new(file).map(drop));
    created("a folder", fs::create_dir(file));
    created("a link", symlink("/etc/passwd", file));
    created("a hard link", fs::hard_link("/etc/passwd", file));
    let text = format!("{path}\0");
    let fifo = call!(libc::SYS_mknodat, libc::AT_FDCWD, text.as_bytes(), libc::S_IFIFO | 0o666, 0);
    created("a fifo", fifo.map(drop).map_err(std::io::Error::from_raw_os_error));
    let unnamed = format!("{folder}\0");
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
    let answer = call!(libc::SYS_openat, libc::AT_FDCWD, unnamed.as_bytes(), flags, 0o600);
    ways.must_fail(&format!("an unnamed file in {folder}"), answer);
}

fn create(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for folder in [
        "/",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/local/bin",
        "/etc",
        "/etc/ssl",
        "/etc/ssl/certs",
        "/dev",
        "/dev/pts",
        "/proc",
        "/proc/self",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
        "/home",
        "/root",
        "/run",
        "/var",
        "/var/lib",
        "/opt",
        "/srv",
        "/mnt",
        "/boot",
        "/sys",
    ] {
        if Path::new(folder).exists() {
            create_in(&mut ways, folder);
        }
    }
    ways.verdict()
}

/// Everything that can be done to a file that is there; where it gets through it is undone.
fn change_it(ways: &mut Ways, path: &str) {
    let text = format!("{path}\0");
    if let Ok(meta) = fs::metadata(path) {
        let same = Permissions::from_mode(meta.mode() & 0o7777);
        ways.io(&format!("chmod {path}"), fs::set_permissions(path, same));
        let owned = call!(libc::SYS_fchownat, libc::AT_FDCWD, text.as_bytes(), meta.uid(), meta.gid(), 0);
        ways.must_fail(&format!("chown {path}"), owned);
    }
    ways.must_fail(
        &format!("touch {path}"),
        call!(libc::SYS_utimensat, libc::AT_FDCWD, text.as_bytes(), 0, 0),
    );
    let aside = format!("{path}.attacked");
    let moved = fs::rename(path, &aside);
    if moved.is_ok() {
        let _ = fs::rename(&aside, path);
    }
    ways.io(&format!("rename {path}"), moved);
    let attribute = call!(libc::SYS_setxattr, text.as_bytes(), c"user.attack", b"x", 1, 0);
    if attribute.is_ok() {
        let _ = call!(libc::SYS_removexattr, text.as_bytes(), c"user.attack");
    }
    ways.must_fail(&format!("setxattr {path}"), attribute);
    if Path::new(path).is_file() {
        ways.io(&format!("write {path}"), fs::OpenOptions::new().append(true).open(path));
    }
}

fn change(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    // Not /proc and /dev/pts themselves: they are file systems of the jail's own, and root may do so in them.
    for path in [
        "/",
        "/usr",
        "/usr/bin/env",
        "/bin/sh",
        "/etc",
        "/etc/passwd",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/ssl/certs/ca-certificates.crt",
        "/dev",
        "/dev/null",
        "/dev/tty",
        "/dev/urandom",
        "/proc/sys",
        "/usr/lib",
        "/home",
        "/run",
        "/var",
    ] {
        if Path::new(path).exists() {
            change_it(&mut ways, path);
        }
    }
    ways.verdict()
}

fn own_release(facts: &Facts) -> Verdict {
    if facts.get("own") != Some("ro") {
        return Verdict::Untried("it was not told own=ro: /app is not a finished release here".to_owned());
    }
    let mut ways = Ways::default();
    create_in(&mut ways, "/app");
    change_it(&mut ways, "/app");
    for entry in fs::read_dir("/app").into_iter().flatten().flatten() {
        change_it(&mut ways, &entry.path().display().to_string());
    }
    ways.verdict()
}
