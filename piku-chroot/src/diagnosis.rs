//! Why the kernel refused, in words that lead somewhere. The same error number means something else at each step, and
//! "No space left on device" has nothing to do with a disk here.

use std::io;
use std::path::Path;

use anyhow::Error;
use nix::errno::Errno;
use nix::libc::{EACCES, EAGAIN, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM, EUSERS};
use piku_procfile::failure::{Failure, advice};
use serde::{Deserialize, Serialize};

use crate::SETUP;

/// The code of an error that no later attempt mends (`EX_UNAVAILABLE` of sysexits.h). It never leaves this program, which ends
/// with [`SETUP`] whatever keeps the jail from being made.
const NO_JAILS: u8 = 69;

/// The reach of what kept a jail from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Obstacle {
    /// This machine makes no jails for this user, at any time: the kernel, its settings or an outer sandbox refuse them.
    Absent,
    /// Something is used up, broken or in the way now. An app may have brought it about, so it is never a reason to run
    /// anything without a jail.
    Temporary,
}

impl Obstacle {
    /// Classifies what kept a jail from being made. What is not known to be the machine's own is temporary.
    pub(crate) fn of(err: &Error) -> Self {
        if lacks_a_call(err) || advice(err).1 == NO_JAILS { Self::Absent } else { Self::Temporary }
    }
}

/// Returns whether the kernel has not got a system call that was made.
fn lacks_a_call(err: &Error) -> bool {
    let is_missing = |errno: Option<i32>| errno == Some(ENOSYS);
    err.chain().any(|cause| {
        is_missing(cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error))
            || is_missing(cause.downcast_ref::<Errno>().map(|errno| *errno as i32))
            || is_missing(cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error()))
    })
}

/// Returns what mends an error that no step has explained: `mount_setattr` is the newest call that every jail needs.
pub(crate) fn mend(err: &Error) -> Option<&'static str> {
    (lacks_a_call(err) && advice(err).0.is_empty())
        .then_some("use Linux 5.12 or newer; an outer sandbox that hides system calls has the same effect")
}

/// A step that some kernels, distributions and containers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A process in new namespaces.
    Namespaces,
    /// Saying who is who in the new user namespace.
    Map,
    /// The first use of the rights that the new user namespace gives.
    Rights,
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
    let (why, mend, obstacle) = reason(step, err.raw_os_error().unwrap_or_default(), &Facts::gather());
    let what = match step {
        Step::Namespaces => "cannot make the namespaces",
        Step::Map | Step::Rights => "cannot use a user namespace",
        Step::Proc => "cannot mount an own /proc",
    };
    let code = if obstacle == Obstacle::Absent { NO_JAILS } else { SETUP };
    let failure = Failure::new(format!("{what}: {}", why.map_or(err.to_string(), str::to_owned))).code(code);
    mend.into_iter().fold(failure, Failure::hint).into()
}

/// Returns why, and what mends it, as far as that is known; and whether a later attempt may succeed.
fn reason(step: Step, errno: i32, facts: &Facts) -> (Option<&'static str>, Option<&'static str>, Obstacle) {
    use Obstacle::{Absent, Temporary};
    const PROFILE: &str = "install piku, whose installer adds an AppArmor profile for piku-chroot, or: sysctl \
                           kernel.apparmor_restrict_unprivileged_userns=0";
    const CONTAINER: &str = "allow nested containers in the outer one (Docker: --security-opt seccomp=unconfined \
                             --security-opt systempaths=unconfined)";
    match (step, errno) {
        (Step::Namespaces, EPERM | EACCES) if facts.clone_allowed == Some(0) => (
            Some("kernel.unprivileged_userns_clone is 0, which forbids user namespaces to all but root"),
            Some("sysctl kernel.unprivileged_userns_clone=1, and the same line in a file of /etc/sysctl.d"),
            Absent,
        ),
        (Step::Namespaces | Step::Map, EPERM | EACCES) if facts.apparmor.is_some_and(|on| on > 0) => (
            Some("AppArmor forbids user namespaces to programs without a profile (Ubuntu 23.10 and later)"),
            Some(PROFILE),
            Absent,
        ),
        // Ubuntu 24.04 lets anybody make one, moves who does into the profile "unprivileged_userns", and denies every capability
        // there.
        (Step::Rights, EPERM | EACCES) if facts.apparmor.is_some_and(|on| on > 0) => (
            Some("AppArmor denies all rights in it to programs without a profile (Ubuntu 24.04 and later)"),
            Some(PROFILE),
            Absent,
        ),
        (Step::Namespaces, EPERM | EACCES) => (
            Some("the user may not make namespaces: an outer container's filter, or a chroot, is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (Step::Namespaces, ENOSPC) if facts.limit == Some(0) => (
            Some("user.max_user_namespaces is 0, which forbids user namespaces"),
            Some("sysctl user.max_user_namespaces=10000, and the same line in a file of /etc/sysctl.d"),
            Absent,
        ),
        (Step::Namespaces, ENOSPC | EUSERS) => (
            Some(
                "there are as many namespaces as the limits in /proc/sys/user allow (this is not about a disk)",
            ),
            Some("raise the limits in /proc/sys/user, or end some jails"),
            Temporary,
        ),
        (Step::Namespaces, ENOMEM) => (
            Some("the machine has no memory left for it"),
            Some("end something, or give the machine more memory"),
            Temporary,
        ),
        (Step::Namespaces, EAGAIN) => (
            Some("the user has as many processes as it may have"),
            Some("raise the limit (ulimit -u; in a unit of systemd: LimitNPROC= and TasksMax=), or end some"),
            Temporary,
        ),
        (Step::Namespaces, EINVAL | ENOSYS) if !facts.built_in => (
            Some("this kernel was built without user namespaces"),
            Some("use a kernel with CONFIG_USER_NS=y"),
            Absent,
        ),
        (Step::Namespaces, EINVAL | ENOSYS) => (
            Some("this kernel was built without one of the namespaces"),
            Some("use a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS and CONFIG_UTS_NS"),
            Absent,
        ),
        (Step::Map, EPERM) => (
            Some("the user may not say who is who in it: an outer sandbox is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (Step::Rights, EPERM | EACCES) => (
            Some("the user has no rights in it: a security module, or an outer sandbox, is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (Step::Proc, EPERM) => (
            Some("the outer container hides parts of its own /proc, so the kernel gives out no new one"),
            Some(CONTAINER),
            Absent,
        ),
        _ => (None, None, Temporary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(step: Step, errno: i32, facts: &Facts) -> String {
        let (why, mend, _) = reason(step, errno, facts);
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
        for step in [Step::Namespaces, Step::Map, Step::Rights] {
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

    /// Checks which errors let a machine with `sandbox: prefer` run without a jail. An app can cause none of those that do.
    #[test]
    fn only_the_machine_itself_lets_jails_be_absent() {
        use nix::libc::{EBUSY, EDQUOT, EIO, EMFILE, ENFILE, ENOENT, ENOTDIR};
        let kind = |step, errno, facts: &Facts| reason(step, errno, facts).2;
        let none = Facts { limit: Some(0), ..debian() };
        let ubuntu = Facts { apparmor: Some(1), ..debian() };
        let old = Facts { clone_allowed: Some(0), ..debian() };
        let bare = Facts { built_in: false, ..Facts::default() };
        for (step, errno, facts) in [
            (Step::Namespaces, EPERM, debian()),
            (Step::Namespaces, EACCES, debian()),
            (Step::Namespaces, EPERM, old),
            (Step::Namespaces, EPERM, ubuntu.clone()),
            (Step::Namespaces, EINVAL, bare.clone()),
            (Step::Namespaces, EINVAL, debian()),
            (Step::Namespaces, ENOSYS, bare),
            (Step::Namespaces, ENOSPC, none),
            (Step::Map, EPERM, debian()),
            (Step::Map, EACCES, ubuntu.clone()),
            (Step::Rights, EPERM, ubuntu.clone()),
            (Step::Rights, EACCES, ubuntu),
            (Step::Rights, EPERM, debian()),
            (Step::Proc, EPERM, debian()),
        ] {
            assert_eq!(kind(step, errno, &facts), Obstacle::Absent, "{step:?} {errno} {facts:?}");
        }
        for step in [Step::Namespaces, Step::Map, Step::Rights, Step::Proc] {
            for errno in
                [EAGAIN, ENOSPC, EUSERS, EDQUOT, ENOMEM, EMFILE, ENFILE, EBUSY, EIO, ENOENT, ENOTDIR, 0]
            {
                assert_eq!(kind(step, errno, &debian()), Obstacle::Temporary, "{step:?} {errno}");
            }
        }
        assert_eq!(kind(Step::Map, EACCES, &debian()), Obstacle::Temporary);
    }

    #[test]
    fn a_call_that_the_kernel_has_not_is_no_shortage() {
        let of = |errno: i32| {
            let step = anyhow::Error::new(io::Error::from_raw_os_error(errno));
            [
                step.context("cannot mount"),
                Error::new(Errno::from_raw(errno)).context("cannot mount"),
                Error::new(rustix::io::Errno::from_raw_os_error(errno)).context("cannot mount"),
            ]
            .map(|err| Obstacle::of(&err))
        };
        assert_eq!(of(ENOSYS), [Obstacle::Absent; 3]);
        assert_eq!(of(EPERM), [Obstacle::Temporary; 3]);
        assert_eq!(of(nix::libc::EDQUOT), [Obstacle::Temporary; 3]);
        let explained =
            |errno| Obstacle::of(&explain(Step::Map, &io::Error::from_raw_os_error(errno)).context("x"));
        assert_eq!((explained(EPERM), explained(EAGAIN)), (Obstacle::Absent, Obstacle::Temporary));
    }
}
