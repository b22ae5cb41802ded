//! Why the kernel refused, in words that lead somewhere. The same error number means something else at each step, and
//! "No space left on device" has nothing to do with a disk here.

use std::io;
use std::path::Path;

use anyhow::Error;
use nix::libc::{EACCES, EAGAIN, EINVAL, ENOSPC, ENOSYS, EPERM, EUSERS};
use piku_procfile::failure::Failure;

use crate::SETUP;

/// A step that some kernels, distributions and containers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A process in new namespaces.
    Namespaces,
    /// Saying who is who in the new user namespace.
    Map,
    /// An own `/proc`.
    Proc,
}

/// What this machine says about itself. `None` where it has no such setting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The kernel has user namespaces at all.
    pub(crate) built_in: bool,
    /// Debian's `kernel.unprivileged_userns_clone`.
    pub(crate) clone_allowed: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(crate) limit: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    pub(crate) apparmor: Option<u64>,
}

impl Facts {
    /// Asks the kernel.
    pub(crate) fn gather() -> Self {
        let setting = |name: &str| -> Option<u64> {
            std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
        };
        Self {
            built_in: Path::new("/proc/self/ns/user").exists(),
            clone_allowed: setting("kernel/unprivileged_userns_clone"),
            limit: setting("user/max_user_namespaces"),
            apparmor: setting("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }
}

/// The error of a step, with what is behind it and what mends it.
pub(crate) fn explain(step: Step, err: &io::Error) -> Error {
    let (why, mend) = reason(step, err.raw_os_error().unwrap_or_default(), &Facts::gather());
    let what = match step {
        Step::Namespaces => "cannot make the namespaces",
        Step::Map => "cannot use a user namespace",
        Step::Proc => "cannot mount an own /proc",
    };
    let failure = Failure::new(format!("{what}: {}", why.map_or(err.to_string(), str::to_owned))).code(SETUP);
    mend.into_iter().fold(failure, Failure::hint).into()
}

/// Why, and what mends it, as far as that is known.
fn reason(step: Step, errno: i32, facts: &Facts) -> (Option<&'static str>, Option<&'static str>) {
    const PROFILE: &str = "install piku, whose installer adds an AppArmor profile for piku-chroot, or: sysctl \
                           kernel.apparmor_restrict_unprivileged_userns=0";
    const CONTAINER: &str = "allow nested containers in the outer one (Docker: --security-opt seccomp=unconfined \
                             --security-opt systempaths=unconfined)";
    match (step, errno) {
        (Step::Namespaces, EPERM | EACCES) if facts.clone_allowed == Some(0) => (
            Some("kernel.unprivileged_userns_clone is 0, which forbids user namespaces to all but root"),
            Some("sysctl kernel.unprivileged_userns_clone=1, and the same line in a file of /etc/sysctl.d"),
        ),
        (Step::Namespaces | Step::Map, EPERM | EACCES) if facts.apparmor.is_some_and(|on| on > 0) => (
            Some("AppArmor forbids user namespaces to programs without a profile (Ubuntu 23.10 and later)"),
            Some(PROFILE),
        ),
        (Step::Namespaces, EPERM) => (
            Some("the user may not make namespaces: an outer container's filter, or a chroot, is in the way"),
            Some(CONTAINER),
        ),
        (Step::Namespaces, ENOSPC) if facts.limit == Some(0) => (
            Some("user.max_user_namespaces is 0, which forbids user namespaces"),
            Some("sysctl user.max_user_namespaces=10000, and the same line in a file of /etc/sysctl.d"),
        ),
        (Step::Namespaces, ENOSPC | EUSERS) => (
            Some(
                "there are as many namespaces as the limits in /proc/sys/user allow (this is not about a disk)",
            ),
            Some("raise the limits in /proc/sys/user, or end some jails"),
        ),
        (Step::Namespaces, EAGAIN) => (
            Some("the user has as many processes as it may have"),
            Some("raise the limit (ulimit -u; in a unit of systemd: LimitNPROC= and TasksMax=), or end some"),
        ),
        (Step::Namespaces, EINVAL | ENOSYS) if !facts.built_in => (
            Some("this kernel was built without user namespaces"),
            Some("use a kernel with CONFIG_USER_NS=y"),
        ),
        (Step::Namespaces, EINVAL | ENOSYS) => (
            Some("this kernel was built without one of the namespaces"),
            Some("use a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS and CONFIG_UTS_NS"),
        ),
        (Step::Proc, EPERM) => (
            Some("the outer container hides parts of its own /proc, so the kernel gives out no new one"),
            Some(CONTAINER),
        ),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(step: Step, errno: i32, facts: &Facts) -> String {
        let (why, mend) = reason(step, errno, facts);
        format!("{} | {}", why.unwrap_or("-"), mend.unwrap_or("-"))
    }

    fn debian() -> Facts {
        Facts { built_in: true, clone_allowed: Some(1), limit: Some(1000), apparmor: None }
    }

    #[test]
    fn no_space_is_never_a_full_disk() {
        let none = Facts { limit: Some(0), ..debian() };
        assert!(said(Step::Namespaces, ENOSPC, &none).contains("sysctl user.max_user_namespaces=10000"));
        assert!(said(Step::Namespaces, ENOSPC, &debian()).contains("not about a disk"));
    }

    #[test]
    fn each_distribution_has_its_own_switch() {
        let old = Facts { clone_allowed: Some(0), ..debian() };
        assert!(said(Step::Namespaces, EPERM, &old).contains("sysctl kernel.unprivileged_userns_clone=1"));
        let ubuntu = Facts { clone_allowed: Some(1), apparmor: Some(1), ..debian() };
        for step in [Step::Namespaces, Step::Map] {
            assert!(said(step, EPERM, &ubuntu).contains("AppArmor"));
            assert!(said(step, EACCES, &ubuntu).contains("AppArmor"));
        }
        assert!(said(Step::Namespaces, EPERM, &debian()).contains("container"));
        let bare = Facts { built_in: false, ..Facts::default() };
        assert!(said(Step::Namespaces, EINVAL, &bare).contains("CONFIG_USER_NS=y"));
        assert!(said(Step::Proc, EPERM, &debian()).contains("systempaths"));
        assert!(said(Step::Namespaces, EAGAIN, &debian()).contains("as many processes"));
        assert_eq!(said(Step::Map, ENOSPC, &debian()), "- | -");
    }
}
