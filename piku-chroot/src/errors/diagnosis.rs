//! Why the kernel refused, in words that lead somewhere. The same error number means something else at each step, and
//! "No space left on device" has nothing to do with a disk here.

use std::io;
use std::path::Path;

use anyhow::Error;
use nix::errno::Errno;
use nix::libc::{EACCES, EAGAIN, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM, EUSERS};
use piku_report::user_error::{UserError, advice};
use serde::{Deserialize, Serialize};

use crate::errors::SETUP_FAILED;

/// The code of an error that no later attempt mends (`EX_UNAVAILABLE` of sysexits.h). It never leaves this program, which ends
/// with [`SETUP_FAILED`] whatever keeps the jail from being made.
const NO_JAILS: u8 = 69;

/// The reach of what kept a jail from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JailObstacle {
    /// This machine makes no jails for this user, at any time: the kernel, its settings or an outer sandbox refuse them.
    Absent,
    /// Something is used up, broken or in the way now. An app may have brought it about, so it is never a reason to run
    /// anything without a jail.
    Temporary,
}

impl JailObstacle {
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
pub(crate) fn missing_call_hint(err: &Error) -> Option<&'static str> {
    (lacks_a_call(err) && advice(err).0.is_empty())
        .then_some("use Linux 5.12 or newer; an outer sandbox that hides system calls has the same effect")
}

/// A step that some kernels, distributions and containers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetupStep {
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
pub(crate) struct HostFacts {
    /// The kernel has user namespaces at all.
    pub(crate) built_in: bool,
    /// Debian's `kernel.unprivileged_userns_clone`.
    pub(crate) clone_allowed: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(crate) limit: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    pub(crate) apparmor: Option<u64>,
}

impl HostFacts {
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
pub(crate) fn explain(step: SetupStep, err: &io::Error) -> Error {
    let (why, mend, obstacle) = reason(step, err.raw_os_error().unwrap_or_default(), &HostFacts::gather());
    let what = match step {
        SetupStep::Namespaces => "cannot make the namespaces",
        SetupStep::Map | SetupStep::Rights => "cannot use a user namespace",
        SetupStep::Proc => "cannot mount an own /proc",
    };
    let code = if obstacle == JailObstacle::Absent { NO_JAILS } else { SETUP_FAILED };
    let failure =
        UserError::new(format!("{what}: {}", why.map_or(err.to_string(), str::to_owned))).code(code);
    mend.into_iter().fold(failure, UserError::hint).into()
}

/// Returns why, and what mends it, as far as that is known; and whether a later attempt may succeed.
fn reason(
    step: SetupStep,
    errno: i32,
    facts: &HostFacts,
) -> (Option<&'static str>, Option<&'static str>, JailObstacle) {
    use JailObstacle::{Absent, Temporary};
    const PROFILE: &str = "install piku, whose installer adds an AppArmor profile for piku-chroot, or: sysctl \
                           kernel.apparmor_restrict_unprivileged_userns=0";
    const CONTAINER: &str = "allow nested containers in the outer one (Docker: --security-opt seccomp=unconfined \
                             --security-opt systempaths=unconfined)";
    match (step, errno) {
        (SetupStep::Namespaces, EPERM | EACCES) if facts.clone_allowed == Some(0) => (
            Some("kernel.unprivileged_userns_clone is 0, which forbids user namespaces to all but root"),
            Some("sysctl kernel.unprivileged_userns_clone=1, and the same line in a file of /etc/sysctl.d"),
            Absent,
        ),
        (SetupStep::Namespaces | SetupStep::Map, EPERM | EACCES)
            if facts.apparmor.is_some_and(|on| on > 0) =>
        {
            (
                Some(
                    "AppArmor forbids user namespaces to programs without a profile (Ubuntu 23.10 and later)",
                ),
                Some(PROFILE),
                Absent,
            )
        }
        // Ubuntu 24.04 lets anybody make one, moves who does into the profile "unprivileged_userns", and denies every capability
        // there.
        (SetupStep::Rights, EPERM | EACCES) if facts.apparmor.is_some_and(|on| on > 0) => (
            Some("AppArmor denies all rights in it to programs without a profile (Ubuntu 24.04 and later)"),
            Some(PROFILE),
            Absent,
        ),
        (SetupStep::Namespaces, EPERM | EACCES) => (
            Some("the user may not make namespaces: an outer container's filter, or a chroot, is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (SetupStep::Namespaces, ENOSPC) if facts.limit == Some(0) => (
            Some("user.max_user_namespaces is 0, which forbids user namespaces"),
            Some("sysctl user.max_user_namespaces=10000, and the same line in a file of /etc/sysctl.d"),
            Absent,
        ),
        (SetupStep::Namespaces, ENOSPC | EUSERS) => (
            Some(
                "there are as many namespaces as the limits in /proc/sys/user allow (this is not about a disk)",
            ),
            Some("raise the limits in /proc/sys/user, or end some jails"),
            Temporary,
        ),
        (SetupStep::Namespaces, ENOMEM) => (
            Some("the machine has no memory left for it"),
            Some("end something, or give the machine more memory"),
            Temporary,
        ),
        (SetupStep::Namespaces, EAGAIN) => (
            Some("the user has as many processes as it may have"),
            Some("raise the limit (ulimit -u; in a unit of systemd: LimitNPROC= and TasksMax=), or end some"),
            Temporary,
        ),
        (SetupStep::Namespaces, EINVAL | ENOSYS) if !facts.built_in => (
            Some("this kernel was built without user namespaces"),
            Some("use a kernel with CONFIG_USER_NS=y"),
            Absent,
        ),
        (SetupStep::Namespaces, EINVAL | ENOSYS) => (
            Some("this kernel was built without one of the namespaces"),
            Some("use a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS and CONFIG_UTS_NS"),
            Absent,
        ),
        (SetupStep::Map, EPERM) => (
            Some("the user may not say who is who in it: an outer sandbox is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (SetupStep::Rights, EPERM | EACCES) => (
            Some("the user has no rights in it: a security module, or an outer sandbox, is in the way"),
            Some(CONTAINER),
            Absent,
        ),
        (SetupStep::Proc, EPERM) => (
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

    fn said(step: SetupStep, errno: i32, facts: &HostFacts) -> String {
        let (why, mend, _) = reason(step, errno, facts);
        format!("{} | {}", why.unwrap_or("-"), mend.unwrap_or("-"))
    }

    fn debian() -> HostFacts {
        HostFacts { built_in: true, clone_allowed: Some(1), limit: Some(1000), apparmor: None }
    }

    #[test]
    fn no_space_is_never_a_full_disk() {
        let none = HostFacts { limit: Some(0), ..debian() };
        assert!(said(SetupStep::Namespaces, ENOSPC, &none).contains("sysctl user.max_user_namespaces=10000"));
        assert!(said(SetupStep::Namespaces, ENOSPC, &debian()).contains("not about a disk"));
    }

    #[test]
    fn each_distribution_has_its_own_switch() {
        let old = HostFacts { clone_allowed: Some(0), ..debian() };
        assert!(
            said(SetupStep::Namespaces, EPERM, &old).contains("sysctl kernel.unprivileged_userns_clone=1")
        );
        let ubuntu = HostFacts { clone_allowed: Some(1), apparmor: Some(1), ..debian() };
        for step in [SetupStep::Namespaces, SetupStep::Map, SetupStep::Rights] {
            assert!(said(step, EPERM, &ubuntu).contains("AppArmor"));
            assert!(said(step, EACCES, &ubuntu).contains("AppArmor"));
        }
        assert!(said(SetupStep::Namespaces, EPERM, &debian()).contains("container"));
        let bare = HostFacts { built_in: false, ..HostFacts::default() };
        assert!(said(SetupStep::Namespaces, EINVAL, &bare).contains("CONFIG_USER_NS=y"));
        assert!(said(SetupStep::Proc, EPERM, &debian()).contains("systempaths"));
        assert!(said(SetupStep::Namespaces, EAGAIN, &debian()).contains("as many processes"));
        assert_eq!(said(SetupStep::Map, ENOSPC, &debian()), "- | -");
    }

    /// Checks which errors let a machine with `sandbox: prefer` run without a jail. An app can cause none of those that do.
    #[test]
    fn only_the_machine_itself_lets_jails_be_absent() {
        use nix::libc::{EBUSY, EDQUOT, EIO, EMFILE, ENFILE, ENOENT, ENOTDIR};
        let kind = |step, errno, facts: &HostFacts| reason(step, errno, facts).2;
        let none = HostFacts { limit: Some(0), ..debian() };
        let ubuntu = HostFacts { apparmor: Some(1), ..debian() };
        let old = HostFacts { clone_allowed: Some(0), ..debian() };
        let bare = HostFacts { built_in: false, ..HostFacts::default() };
        for (step, errno, facts) in [
            (SetupStep::Namespaces, EPERM, debian()),
            (SetupStep::Namespaces, EACCES, debian()),
            (SetupStep::Namespaces, EPERM, old),
            (SetupStep::Namespaces, EPERM, ubuntu.clone()),
            (SetupStep::Namespaces, EINVAL, bare.clone()),
            (SetupStep::Namespaces, EINVAL, debian()),
            (SetupStep::Namespaces, ENOSYS, bare),
            (SetupStep::Namespaces, ENOSPC, none),
            (SetupStep::Map, EPERM, debian()),
            (SetupStep::Map, EACCES, ubuntu.clone()),
            (SetupStep::Rights, EPERM, ubuntu.clone()),
            (SetupStep::Rights, EACCES, ubuntu),
            (SetupStep::Rights, EPERM, debian()),
            (SetupStep::Proc, EPERM, debian()),
        ] {
            assert_eq!(kind(step, errno, &facts), JailObstacle::Absent, "{step:?} {errno} {facts:?}");
        }
        for step in [SetupStep::Namespaces, SetupStep::Map, SetupStep::Rights, SetupStep::Proc] {
            for errno in
                [EAGAIN, ENOSPC, EUSERS, EDQUOT, ENOMEM, EMFILE, ENFILE, EBUSY, EIO, ENOENT, ENOTDIR, 0]
            {
                assert_eq!(kind(step, errno, &debian()), JailObstacle::Temporary, "{step:?} {errno}");
            }
        }
        assert_eq!(kind(SetupStep::Map, EACCES, &debian()), JailObstacle::Temporary);
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
            .map(|err| JailObstacle::of(&err))
        };
        assert_eq!(of(ENOSYS), [JailObstacle::Absent; 3]);
        assert_eq!(of(EPERM), [JailObstacle::Temporary; 3]);
        assert_eq!(of(nix::libc::EDQUOT), [JailObstacle::Temporary; 3]);
        let explained = |errno| {
            JailObstacle::of(&explain(SetupStep::Map, &io::Error::from_raw_os_error(errno)).context("x"))
        };
        assert_eq!((explained(EPERM), explained(EAGAIN)), (JailObstacle::Absent, JailObstacle::Temporary));
    }
}
