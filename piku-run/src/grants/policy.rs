//! Rules for granted paths: none may break the jail of the app or of another app, or open the host.

#![expect(
    clippy::disallowed_methods,
    reason = "looks at paths of the host, which are followed only by rules of their own"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, getegid, geteuid};
use piku_layout::paths::PikuRoot;
use piku_layout::settings::GrantedPath;
use piku_nss::{UserAccount, find_group_name};

use super::symlinks::follow_symlinks;
use super::{GrantKind, GrantProblem, NeededGroup, ResolvedGrant, device};

const DEV: &str = "/dev";
/// Directory of the sockets of the machine's servers.
pub(super) const RUN: &str = "/run";
/// Paths of the jail's own, with what it has there.
const OWN_PLACES: [(&str, &str); 13] = [
    ("/app", "the app's tree"),
    ("/data", "the app's data"),
    ("/layers", "the app's dependencies"),
    ("/tmp", "temporary files of its own"),
    ("/var/tmp", "temporary files of its own"),
    ("/dev/shm", "shared memory of its own"),
    ("/dev/pts", "terminals of its own"),
    ("/dev/null", "it already"),
    ("/dev/zero", "it already"),
    ("/dev/full", "it already"),
    ("/dev/random", "it already"),
    ("/dev/urandom", "it already"),
    ("/dev/tty", "it already"),
];
/// Trees of the host that every app sees already, read-only.
const SHOWN: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
/// Directories that are too much as a whole.
const TOO_MUCH: [&str; 11] =
    ["/", "/dev", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/sys", "/var", "/var/lib"];
/// Trees and files of which no part may be granted, nor anything around them.
const FORBIDDEN: [(&str, &str); 21] = [
    ("/proc", "shows and changes processes of the whole machine"),
    ("/root", "belongs to the machine's administrator"),
    ("/etc/passwd-", "is the machine's list of users"),
    ("/etc/shadow", "holds the passwords of the machine"),
    ("/etc/shadow-", "holds the passwords of the machine"),
    ("/etc/gshadow", "holds the passwords of the machine"),
    ("/etc/gshadow-", "holds the passwords of the machine"),
    ("/etc/sudoers", "says who may be root"),
    ("/etc/sudoers.d", "says who may be root"),
    ("/etc/ssh", "holds the keys of the machine"),
    ("/etc/ssl/private", "holds the keys of the machine"),
    ("/etc/pam.d", "says who may log in"),
    ("/sys/kernel", "controls the kernel"),
    ("/sys/fs", "controls the kernel"),
    ("/sys/module", "controls the kernel"),
    ("/sys/firmware", "controls the hardware"),
    ("/run/systemd", "controls the services of the machine"),
    ("/run/user", "belongs to the users who are logged in"),
    ("/var/lib/docker", "makes the app root on this machine"),
    ("/var/lib/containerd", "makes the app root on this machine"),
    ("/var/lib/systemd", "controls the services of the machine"),
];
/// Sockets, and their directories, of servers that execute commands as root.
const ROOT_SERVERS: [&str; 9] = [
    "/run/docker.sock",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/lxd.socket",
    "/run/incus",
    "/run/libvirt",
    "/run/snapd.socket",
];
/// Groups whose members have the machine, or all its disks or passwords.
const POWERFUL_GROUPS: [&str; 13] = [
    "root",
    "adm",
    "disk",
    "docker",
    "incus-admin",
    "kmem",
    "libvirt",
    "lxd",
    "mem",
    "shadow",
    "sudo",
    "tape",
    "wheel",
];
/// Largest number of entries, and of levels, of a directory that is looked into.
const MOST_ENTRIES: usize = 2000;
const DEPTH: usize = 3;

/// Looks up what lies at a granted path, and judges it.
pub(crate) fn resolve_grant(root: &PikuRoot, granted: &GrantedPath) -> Result<ResolvedGrant, GrantProblem> {
    let target = granted.path();
    if let Some((_, what)) = OWN_PLACES.iter().find(|(own, _)| target.starts_with(own)) {
        return Err(refused(format!("cannot be granted: each app has {what}")));
    }
    if SHOWN.iter().any(|shown| target.starts_with(shown)) {
        return Err(refused("need not be granted: each app can read it".to_owned()));
    }
    let not_paths = piku_places(root);
    let check = |path: &Path| check_path(path, &not_paths);
    // First, because this is the better reason for a path that does not exist.
    check(target)?;
    let source = follow_symlinks(target)?;
    check(&source)?;
    let about = fs::symlink_metadata(&source).map_err(|_| GrantProblem::Missing)?;
    let kind = about.file_type();
    let kind = if kind.is_socket() {
        GrantKind::Socket
    } else if kind.is_char_device() || kind.is_block_device() || kind.is_dir() && source.starts_with(DEV) {
        GrantKind::Device
    } else if kind.is_dir() {
        GrantKind::Folder
    } else if kind.is_file() {
        GrantKind::File
    } else {
        return Err(refused("is neither a device, a socket, a directory nor a file".to_owned()));
    };
    if kind == GrantKind::Device && granted.is_read_only() {
        return Err(GrantProblem::Refused {
            why: "cannot be granted read-only: devices have no such mode".to_owned(),
            hint: Some("its owner, group and mode, which udev sets, say who may write to it".to_owned()),
        });
    }
    let mut groups = Vec::new();
    look_into(&source, &about, kind, DEPTH, &mut MOST_ENTRIES.clone(), &mut groups)?;
    let (is_folder, is_ours) = (about.is_dir(), about.uid() == geteuid().as_raw());
    Ok(ResolvedGrant { source, granted: granted.clone(), kind, is_folder, is_ours, groups })
}

fn refused(why: String) -> GrantProblem {
    GrantProblem::Refused { why, hint: None }
}

/// Returns the paths of piku itself: its data, with all apps and keys, and the home of its user.
fn piku_places(root: &PikuRoot) -> Vec<PathBuf> {
    let home = UserAccount::find_by_uid(geteuid()).ok().flatten().map(|user| user.home);
    let given = [Some(root.path().to_owned()), home.filter(|home| home != Path::new("/"))];
    let real = |path: PathBuf| [fs::canonicalize(&path).ok(), Some(path)];
    given.into_iter().flatten().flat_map(real).flatten().collect()
}

/// Refuses a path by its name alone.
fn check_path(path: &Path, piku: &[PathBuf]) -> Result<(), GrantProblem> {
    let overlaps = |other: &Path| path.starts_with(other) || other.starts_with(path);
    if TOO_MUCH.iter().any(|whole| path == Path::new(whole)) {
        return Err(GrantProblem::Refused {
            why: "is more than one app may have".to_owned(),
            hint: Some("grant the paths in it that the app needs".to_owned()),
        });
    }
    if piku.iter().any(|place| overlaps(place)) {
        return Err(refused("holds the apps and keys of piku".to_owned()));
    }
    if let Some((forbidden, why)) = FORBIDDEN.iter().find(|(forbidden, _)| overlaps(Path::new(forbidden))) {
        let whole = if path == Path::new(forbidden) { String::new() } else { format!(": '{forbidden}'") };
        return Err(refused(format!("{why}{whole}")));
    }
    if ROOT_SERVERS.iter().any(|server| path.starts_with(server)) {
        return Err(refused(
            "makes the app root on this machine: its server does what it is told".to_owned(),
        ));
    }
    Ok(())
}

/// Judges a path and, to a depth, what a directory of devices or sockets has in it; adds the groups that they
/// ask for. `left` is the number of entries that are still looked at.
fn look_into(
    path: &Path,
    about: &fs::Metadata,
    kind: GrantKind,
    depth: usize,
    left: &mut usize,
    groups: &mut Vec<NeededGroup>,
) -> Result<(), GrantProblem> {
    if kind == GrantKind::Device {
        if let Some(why) = device::why_forbidden(path, about) {
            return Err(refused(why));
        }
    }
    // Connecting to a socket or opening a device does not need to write to its directory.
    let is_passage = about.is_dir() && (kind == GrantKind::Device || path.starts_with(RUN));
    add_group(about, if is_passage { 0o5 } else { 0o7 }, groups);
    // A folder of files may be large, and its sockets lie at its top.
    let depth = if kind == GrantKind::Folder { depth.min(1) } else { depth };
    if !about.is_dir() || depth == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let Ok(about) = entry.metadata() else { continue };
        let wanted = match kind {
            GrantKind::Device => !about.is_symlink(),
            _ => about.file_type().is_socket(),
        };
        if wanted {
            look_into(&entry.path(), &about, kind, if about.is_dir() { depth - 1 } else { 0 }, left, groups)?;
        }
    }
    Ok(())
}

/// Adds the path's group, if it has some of these rights (as 0o7 for all) that others do not have, and
/// lending it gives away nothing else.
fn add_group(about: &fs::Metadata, rights: u32, groups: &mut Vec<NeededGroup>) {
    let gid = Gid::from_raw(about.gid());
    let has_more = (about.mode() >> 3) & !about.mode() & rights != 0;
    if !has_more || gid == getegid() || gid.as_raw() == 0 || groups.iter().any(|known| known.gid == gid) {
        return;
    }
    let name = find_group_name(gid).ok().flatten().unwrap_or_else(|| gid.to_string());
    if !is_powerful(&name) {
        groups.push(NeededGroup { gid, name });
    }
}

/// Returns whether members of the group have more than what is granted.
fn is_powerful(group: &str) -> bool {
    POWERFUL_GROUPS.contains(&group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_piku_and_nothing_around_it() {
        let piku = ["/var/lib/piku", "/mnt/disk/piku/.piku"].map(PathBuf::from);
        let check = |path: &str| check_path(Path::new(path), &piku);
        for path in [
            "/var/lib/piku",
            "/var/lib/piku/.ssh/authorized_keys",
            "/mnt/disk/piku/.piku/apps/blog/data",
            "/mnt/disk",
            "/mnt",
            "/var/lib",
            "/etc/ssl",
            "/run/docker",
            "/run/user/1000/bus",
            "/sys/kernel/debug",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
        for path in [
            "/var/lib/pikunet",
            "/mnt/media",
            "/run/postgresql",
            "/dev/i2c-1",
            "/etc/ssl/certs",
            "/sys/class/thermal",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn groups_with_power_over_the_machine_are_not_lent() {
        let mut groups = Vec::new();
        let about = fs::symlink_metadata("/proc/self/status").unwrap();
        // The group has no right that others lack.
        add_group(&about, 0o7, &mut groups);
        assert_eq!(groups, []);
        assert!(
            is_powerful("disk") && is_powerful("shadow") && !is_powerful("gpio") && !is_powerful("audio")
        );
    }
}
