//! The part of the cgroup tree that is ours: found, and its controllers turned on.
//!
//! systemd gives a unit with `Delegate=` its cgroup for good. What lies above it, and every cgroup of a unit without that,
//! is systemd's own, and what others do there it undoes without a word. So root too stays in what was given away.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use nix::libc::EBUSY;
use nix::unistd::geteuid;
use piku_report::user_error::UserError;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::limits::{CgroupController, systemd};

/// Where monitors go that would stand in the way themselves.
pub(crate) const MONITORS: &str = "monitors";
/// What a parent hands to its children.
const HANDED_DOWN: &str = "cgroup.subtree_control";

/// Why a controller holds nothing here, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingController {
    pub(crate) why: String,
    pub(crate) mend: Option<String>,
}

impl MissingController {
    fn new(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: Some(mend.into()) }
    }
}

/// Our part of the tree.
#[derive(Debug)]
pub(crate) struct CgroupTree {
    /// Its top.
    pub(crate) root: PathBuf,
    /// Where this process is in it.
    own: PathBuf,
    /// The top of all that this process can see.
    top: PathBuf,
}

impl CgroupTree {
    /// The one that this process runs in.
    pub(crate) fn find() -> Result<Self, MissingController> {
        let read = |path: &str| {
            fs::read_to_string(path)
                .map_err(|err| MissingController { why: format!("{path}: {err}"), mend: None })
        };
        let place = place(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
        let Some((top, own)) = place else {
            return Err(MissingController::new(
                "no cgroup v2 is mounted",
                "boot with systemd.unified_cgroup_hierarchy=1",
            ));
        };
        let root = delegated(&top, &own).ok_or_else(|| {
            let name = own.strip_prefix(&top).unwrap_or(&own).display();
            MissingController::new(
                format!("the cgroup '/{name}' is not delegated to this user"),
                "run it in a unit with Delegate=yes, or: systemd-run --user --scope -p Delegate=yes piku-chroot …",
            )
        })?;
        Ok(Self { root, own, top })
    }

    /// Turns the controllers on for what lies below the root; returns those that cannot be had. When this process itself
    /// is in the way, and nobody else is, it goes into the `leaf`.
    pub(crate) fn enable(
        &self,
        controllers: &[CgroupController],
        leaf: &str,
    ) -> Vec<(CgroupController, MissingController)> {
        let on = words(&self.root.join(HANDED_DOWN));
        let there = words(&self.root.join("cgroup.controllers"));
        let has = |list: &[String], one: CgroupController| list.iter().any(|word| word == one.name());
        let mut missing = Vec::new();
        for one in controllers.iter().copied().filter(|one| !has(&on, *one)) {
            if !has(&there, one) {
                missing.push((one, self.absent(one)));
            } else if let Err(err) = self.turn_on(one, leaf) {
                missing.push((one, self.refused(one, &err)));
            }
        }
        missing
    }

    /// Only where nobody is right in the root any more. The kernel itself refuses that for memory alone: for the others it
    /// makes the cgroups below such as can be made and never be entered.
    fn turn_on(&self, controller: CgroupController, leaf: &str) -> io::Result<()> {
        let own = std::process::id().to_string();
        let inside = words(&self.root.join("cgroup.procs"));
        if inside.iter().any(|pid| *pid != own) {
            return Err(io::Error::from_raw_os_error(EBUSY));
        }
        if !inside.is_empty() {
            enter(&self.root.join(leaf))?;
        }
        fs::write(self.root.join(HANDED_DOWN), format!("+{}", controller.name()))
    }

    /// Why the root has not got it to hand down.
    fn absent(&self, controller: CgroupController) -> MissingController {
        let name = controller.name();
        let above = words(&self.top.join("cgroup.controllers")).iter().any(|word| word == name);
        if above {
            return MissingController::new(
                format!("the unit is not given the {name} controller"),
                format!("Delegate=yes, or with {name} among others, in the unit"),
            );
        }
        if bound_to_v1(&fs::read_to_string("/proc/cgroups").unwrap_or_default(), name) {
            return MissingController::new(
                "its controller serves cgroup v1",
                "boot with systemd.unified_cgroup_hierarchy=1",
            );
        }
        MissingController::new(format!("no {name} controller"), turn_it_on(controller))
    }

    /// Why the kernel does not turn it on.
    fn refused(&self, controller: CgroupController, err: &io::Error) -> MissingController {
        let name = controller.name();
        if err.raw_os_error() == Some(EBUSY) {
            let what = format!("the cgroup '{}' has processes of its own", self.shown());
            return MissingController::new(
                what,
                "DelegateSubgroup= in the unit (systemd 254), or start anew what runs there",
            );
        }
        MissingController {
            why: format!("the {name} controller cannot be turned on in '{}': {err}", self.shown()),
            mend: None,
        }
    }

    /// The root's name as systemd shows it.
    fn shown(&self) -> String {
        format!("/{}", self.root.strip_prefix(&self.top).unwrap_or(&self.root).display())
    }
}

/// For a process that starts jails for months, such as a supervisor: goes out of their way into the `leaf` of its own part
/// of the tree, and turns all controllers on that there are.
///
/// # Errors
/// When jails will be limited by rlimits only; nothing has been moved then.
pub fn take_up(leaf: &str) -> Result<()> {
    let failed = |missing: MissingController| {
        let failure = UserError::new(missing.why);
        anyhow!(missing.mend.into_iter().fold(failure, UserError::hint))
    };
    let tree = CgroupTree::find().map_err(failed)?;
    // What systemd started right in a service's cgroup it will start there again, and could not while controllers are on and
    // jails run: a restart of the service would fail for as long as they do.
    if tree.own == tree.root && tree.root.extension().is_some_and(|extension| extension == "service") {
        let what = format!("the service was started right in its own cgroup '{}'", tree.shown());
        return Err(failed(MissingController::new(
            what,
            format!("DelegateSubgroup={leaf} in the unit, for which systemd 254 is needed"),
        )));
    }
    let missing = tree.enable(&CgroupController::ALL, leaf);
    missing.into_iter().next().map_or(Ok(()), |(_, missing)| Err(failed(missing)))
}

/// Moves this process.
fn enter(cgroup: &Path) -> io::Result<()> {
    match fs::create_dir(cgroup) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// The top of the mounted tree, and this process's cgroup in it.
fn place(cgroups: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let own = Path::new(cgroups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        // 31 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (shown, at) = (fields.next()?, fields.next()?);
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        Some((PathBuf::from(at), Path::new(at).join(own.strip_prefix(shown).ok()?)))
    })
}

/// The cgroup that was given away, this process's own or one above it.
fn delegated(top: &Path, own: &Path) -> Option<PathBuf> {
    let all: Vec<&Path> = own.ancestors().take_while(|dir| dir.starts_with(top)).collect();
    if let Some(marked) = all.iter().find(|dir| systemd::has_delegation_mark(dir)) {
        // The manager of a user's own units has a part of the tree too, and shares of it what it was asked to.
        return if is_managed(marked) {
            systemd::innermost_unit(marked, own)
                .filter(|unit| is_ours(unit) && systemd::is_delegated_by_user_manager(unit))
                .map(Path::to_path_buf)
        } else {
            is_ours(marked).then(|| marked.to_path_buf())
        };
    }
    // Root may write everywhere; what no systemd has given away is free only where there is none.
    if geteuid().is_root() && Path::new("/run/systemd/system").exists() {
        return None;
    }
    all.into_iter().take_while(|dir| is_ours(dir) && !is_managed(dir)).last().map(Path::to_path_buf)
}

/// Whether a systemd keeps its own processes there.
fn is_managed(dir: &Path) -> bool {
    dir.join("init.scope").exists()
}

/// Whether we may make cgroups there, hand down controllers and move processes.
fn is_ours(dir: &Path) -> bool {
    let may = |path: PathBuf| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(dir.to_path_buf()) && may(dir.join("cgroup.procs")) && may(dir.join(HANDED_DOWN))
}

/// The words of a file; none where it cannot be read.
fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// From /proc/cgroups: name, hierarchy, number of cgroups, enabled.
fn bound_to_v1(text: &str, name: &str) -> bool {
    let mut lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.any(|fields| matches!(fields.as_slice(), [one, hierarchy, ..] if *one == name && *hierarchy != "0"))
}

/// Where a Raspberry Pi's kernel is told its options, on systems since Debian 12 and before.
const CMDLINES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];

/// What mends a kernel that was started without it.
fn turn_it_on(controller: CgroupController) -> String {
    let cmdline = CMDLINES.into_iter().find(|path| Path::new(path).exists());
    // A Raspberry Pi's firmware puts cgroup_disable=memory in front of what stands in the file; its kernel alone knows the other
    // word, which comes later and counts.
    match (controller, cmdline) {
        (CgroupController::Memory, Some(file)) => {
            format!("add cgroup_enable=memory at the end of the line in {file}, then reboot")
        }
        (other, _) => format!("boot without cgroup_disable={}, with a kernel that has it", other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_process() {
        let mounts = "\
23 30 0:22 / /sys rw,nosuid - sysfs sysfs rw
31 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw
";
        let (top, own) = place("0::/system.slice/piku.service/daemon\n", mounts).unwrap();
        assert_eq!(top, Path::new("/sys/fs/cgroup"));
        assert_eq!(own, Path::new("/sys/fs/cgroup/system.slice/piku.service/daemon"));
        let hybrid = "9:name=systemd:/\n4:memory:/x\n0::/\n";
        assert_eq!(place(hybrid, mounts).unwrap().1, Path::new("/sys/fs/cgroup"));
        assert_eq!(place("4:memory:/x\n", mounts), None);
        assert_eq!(place("0::/\n", "31 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
        // A container that is shown its own part only, and runs somewhere else.
        let part = "31 23 0:26 /box /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(place("0::/box/a\n", part).unwrap().1, Path::new("/sys/fs/cgroup/a"));
        assert_eq!(place("0::/../other\n", part), None);
    }

    #[test]
    fn controllers_of_the_old_kind() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t90\t1\ncpu\t0\t1\t1\n";
        assert!(bound_to_v1(text, "memory"));
        assert!(!bound_to_v1(text, "cpu"));
        assert!(!bound_to_v1(text, "pids"));
    }
}
