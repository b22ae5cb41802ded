//! The part of the cgroup tree that belongs to this user: finds it and turns its controllers on.
//!
//! systemd hands the cgroup of a unit with `Delegate=` over for good. All other cgroups are systemd's own,
//! and it silently undoes changes there; so root too stays in a delegated cgroup.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use nix::libc::EBUSY;
use nix::unistd::geteuid;
use piku_report::user_error::UserError;
use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};

use crate::limits::{CgroupController, systemd};

/// Child cgroup for monitors that would otherwise be in the way.
pub(crate) const MONITORS: &str = "monitors";
/// File with the controllers that a cgroup hands to its children.
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// Cause and fix of a controller that cannot limit anything here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingController {
    pub(crate) why: String,
    pub(crate) fix: Option<String>,
}

impl MissingController {
    fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { why: why.into(), fix: Some(fix.into()) }
    }
}

/// A delegated part of the cgroup tree.
#[derive(Debug)]
pub(crate) struct CgroupTree {
    /// The delegated cgroup.
    pub(crate) root: PathBuf,
    /// Cgroup of this process.
    own: PathBuf,
    /// Top of the cgroup tree that this process sees.
    top: PathBuf,
}

impl CgroupTree {
    /// Finds the part of the tree that this process runs in.
    pub(crate) fn find() -> Result<Self, MissingController> {
        let read = |path: &str| {
            let text = piku_procfs::read_file(path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))
            });
            text.map_err(|err| MissingController { why: format!("{path}: {err}"), fix: None })
        };
        let cgroups = read("/proc/self/cgroup")?;
        let place = match locate_at_usual_place(&cgroups) {
            None => locate_cgroup(&cgroups, &read("/proc/self/mountinfo")?),
            found => found,
        };
        let Some((top, own)) = place else {
            return Err(MissingController::new(
                "no cgroup v2 is mounted",
                "boot with systemd.unified_cgroup_hierarchy=1",
            ));
        };
        let root = find_delegated(&top, &own).ok_or_else(|| {
            let name = own.strip_prefix(&top).unwrap_or(&own).display();
            MissingController::new(
                format!("the cgroup '/{name}' is not delegated to this user"),
                "run it in a unit with Delegate=yes, or: systemd-run --user --scope -p Delegate=yes piku-chroot …",
            )
        })?;
        Ok(Self { root, own, top })
    }

    /// Turns controllers on for the children of the root and returns those that it cannot. If only this
    /// process is in the way, it moves into the child `leaf`.
    pub(crate) fn enable(
        &self,
        controllers: &[CgroupController],
        leaf: &str,
    ) -> Vec<(CgroupController, MissingController)> {
        let on = read_words(&self.root.join(SUBTREE_CONTROL));
        let there = read_words(&self.root.join("cgroup.controllers"));
        let has = |list: &[String], one: CgroupController| list.iter().any(|word| word == one.name());
        let mut missing = Vec::new();
        for one in controllers.iter().copied().filter(|one| !has(&on, *one)) {
            if !has(&there, one) {
                missing.push((one, self.explain_absent(one)));
            } else if let Err(err) = self.turn_on(one, leaf) {
                missing.push((one, self.explain_refusal(one, &err)));
            }
        }
        missing
    }

    /// Turns a controller on if no other process is in the root. The kernel itself refuses that for memory
    /// alone; with the others it makes child cgroups that no process can ever enter.
    fn turn_on(&self, controller: CgroupController, leaf: &str) -> io::Result<()> {
        let own = std::process::id().to_string();
        let inside = read_words(&self.root.join("cgroup.procs"));
        if inside.iter().any(|pid| *pid != own) {
            return Err(io::Error::from_raw_os_error(EBUSY));
        }
        if !inside.is_empty() {
            move_into(&self.root.join(leaf))?;
        }
        fs::write(self.root.join(SUBTREE_CONTROL), format!("+{}", controller.name()))
    }

    /// Explains why the root has no such controller.
    fn explain_absent(&self, controller: CgroupController) -> MissingController {
        let name = controller.name();
        let above = read_words(&self.top.join("cgroup.controllers")).iter().any(|word| word == name);
        if above {
            return MissingController::new(
                format!("the unit does not get the {name} controller"),
                format!("set Delegate=yes in the unit, or add {name} to it"),
            );
        }
        if is_bound_to_v1(&fs::read_to_string("/proc/cgroups").unwrap_or_default(), name) {
            return MissingController::new(
                "its controller is used by cgroup v1",
                "boot with systemd.unified_cgroup_hierarchy=1",
            );
        }
        MissingController::new(format!("no {name} controller"), boot_hint(controller))
    }

    /// Explains why the kernel refuses to turn a controller on.
    fn explain_refusal(&self, controller: CgroupController, err: &io::Error) -> MissingController {
        let name = controller.name();
        if err.raw_os_error() == Some(EBUSY) {
            let what = format!("the cgroup '{}' has processes of its own", self.systemd_name());
            return MissingController::new(
                what,
                "set DelegateSubgroup= in the unit (systemd 254), or restart what runs there",
            );
        }
        MissingController {
            why: format!("the {name} controller cannot be turned on in '{}': {err}", self.systemd_name()),
            fix: None,
        }
    }

    /// Returns the root's name as systemd shows it.
    fn systemd_name(&self) -> String {
        format!("/{}", self.root.strip_prefix(&self.top).unwrap_or(&self.root).display())
    }
}

/// Prepares the delegated cgroup of a process that starts jails for months, such as a supervisor: moves the
/// process out of their way into the child `leaf` and turns on all controllers.
///
/// # Errors
/// Fails if jails will be limited by rlimits only; nothing is moved then.
pub fn claim_delegated_cgroup(leaf: &str) -> Result<()> {
    let failed = |missing: MissingController| {
        let failure = UserError::new(missing.why);
        anyhow!(missing.fix.into_iter().fold(failure, UserError::hint))
    };
    let tree = CgroupTree::find().map_err(failed)?;
    // systemd would start a service in the same cgroup again, which fails as long as controllers are on and
    // jails run.
    if tree.own == tree.root && tree.root.extension().is_some_and(|extension| extension == "service") {
        let what = format!("the service runs directly in its own cgroup '{}'", tree.systemd_name());
        return Err(failed(MissingController::new(
            what,
            format!("set DelegateSubgroup={leaf} in the unit (systemd 254)"),
        )));
    }
    let missing = tree.enable(&CgroupController::ALL, leaf);
    missing.into_iter().next().map_or(Ok(()), |(_, missing)| Err(failed(missing)))
}

/// Moves this process into a cgroup, which is made if it does not exist.
fn move_into(cgroup: &Path) -> io::Result<()> {
    match fs::create_dir(cgroup) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// Mount points of the cgroup tree: systemd's, and those of a machine that uses version 1 beside it.
const USUAL_PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The first cgroup namespace, in which nothing of the tree is hidden. Its number is part of the kernel's interface.
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

/// Returns what [`locate_cgroup`] finds in the list of mounts, which the kernel takes long to write: every start of
/// a jail does this. `None` if the whole tree is not at a usual place, as in containers.
fn locate_at_usual_place(cgroups: &str) -> Option<(PathBuf, PathBuf)> {
    let own = Path::new(own_line(cgroups)?).strip_prefix("/").ok()?;
    let namespace = fs::read_link("/proc/self/ns/cgroup").ok()?;
    if namespace != Path::new(FIRST_NAMESPACE) {
        return None;
    }
    // Every cgroup but the topmost has this file.
    let is_topmost = |top: &Path| !top.join("cgroup.events").exists();
    let top = USUAL_PLACES.map(Path::new).into_iter().find(|top| is_cgroup_tree(top))?;
    is_topmost(top).then(|| (top.to_path_buf(), top.join(own)))
}

/// Returns whether a directory is in a cgroup v2 file system.
fn is_cgroup_tree(dir: &Path) -> bool {
    const CGROUP2: u64 = 0x6367_7270;
    statfs(dir).is_ok_and(|about| u64::try_from(about.f_type).is_ok_and(|kind| kind == CGROUP2))
}

/// Returns the path of this process's cgroup in a `/proc/self/cgroup`.
fn own_line(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Returns the top of the mounted cgroup tree, and the cgroup of this process.
fn locate_cgroup(cgroups: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let own = Path::new(own_line(cgroups)?);
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

/// Returns the delegated cgroup: that of this process or one above it.
fn find_delegated(top: &Path, own: &Path) -> Option<PathBuf> {
    let all: Vec<&Path> = own.ancestors().take_while(|dir| dir.starts_with(top)).collect();
    if let Some(marked) = all.iter().find(|dir| systemd::has_delegation_mark(dir)) {
        // The user's manager owns a part of the tree too, and delegates some of its units.
        return if is_managed(marked) {
            systemd::innermost_unit(marked, own)
                .filter(|unit| is_ours(unit) && systemd::is_delegated_by_user_manager(unit))
                .map(Path::to_path_buf)
        } else {
            is_ours(marked).then(|| marked.to_path_buf())
        };
    }
    // Root may write everywhere: with systemd, only what it has delegated is free.
    if geteuid().is_root() && Path::new("/run/systemd/system").exists() {
        return None;
    }
    all.into_iter().take_while(|dir| is_ours(dir) && !is_managed(dir)).last().map(Path::to_path_buf)
}

/// Returns whether a systemd keeps its own processes in this cgroup.
fn is_managed(dir: &Path) -> bool {
    dir.join("init.scope").exists()
}

/// Returns whether we may make cgroups, hand down controllers and move processes here.
fn is_ours(dir: &Path) -> bool {
    let may = |path: PathBuf| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(dir.to_path_buf()) && may(dir.join("cgroup.procs")) && may(dir.join(SUBTREE_CONTROL))
}

/// Reads the words of a file; none if it cannot be read.
fn read_words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Searches /proc/cgroups, whose columns are name, hierarchy, number of cgroups and enabled.
fn is_bound_to_v1(text: &str, name: &str) -> bool {
    let mut lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.any(|fields| matches!(fields.as_slice(), [one, hierarchy, ..] if *one == name && *hierarchy != "0"))
}

/// Files with the kernel options of a Raspberry Pi, on Debian 12 and newer and on older systems.
const CMDLINES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];

/// Returns how to boot the kernel with this controller.
fn boot_hint(controller: CgroupController) -> String {
    let cmdline = CMDLINES.into_iter().find(|path| Path::new(path).exists());
    // A Raspberry Pi's firmware puts cgroup_disable=memory before the options of the file. Only its kernel
    // knows cgroup_enable, which comes later and wins.
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
        let (top, own) = locate_cgroup("0::/system.slice/piku.service/daemon\n", mounts).unwrap();
        assert_eq!(top, Path::new("/sys/fs/cgroup"));
        assert_eq!(own, Path::new("/sys/fs/cgroup/system.slice/piku.service/daemon"));
        let hybrid = "9:name=systemd:/\n4:memory:/x\n0::/\n";
        assert_eq!(locate_cgroup(hybrid, mounts).unwrap().1, Path::new("/sys/fs/cgroup"));
        assert_eq!(locate_cgroup("4:memory:/x\n", mounts), None);
        assert_eq!(locate_cgroup("0::/\n", "31 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
        // A container that is shown its own part only, and runs somewhere else.
        let part = "31 23 0:26 /box /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(locate_cgroup("0::/box/a\n", part).unwrap().1, Path::new("/sys/fs/cgroup/a"));
        assert_eq!(locate_cgroup("0::/../other\n", part), None);
    }

    #[test]
    fn a_usual_place_is_what_the_mounts_say() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for cgroups in ["0::/\n", "4:memory:/x\n0::/system.slice/piku.service/daemon\n"] {
            if let Some(found) = locate_at_usual_place(cgroups) {
                assert_eq!(Some(found), locate_cgroup(cgroups, &mounts));
            }
        }
        for bad in ["", "4:memory:/x\n", "0::relative\n"] {
            assert_eq!(locate_at_usual_place(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn controllers_of_the_old_kind() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t90\t1\ncpu\t0\t1\t1\n";
        assert!(is_bound_to_v1(text, "memory"));
        assert!(!is_bound_to_v1(text, "cpu"));
        assert!(!is_bound_to_v1(text, "pids"));
    }
}
