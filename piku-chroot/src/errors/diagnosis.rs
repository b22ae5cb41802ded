//! Explains why the kernel refused a step. The same error number means something else at each step, and "No
//! space left on device" is not about a disk here.

use std::io;
use std::path::Path;

use anyhow::Error;
use nix::errno::Errno;
use nix::libc::{EACCES, EAGAIN, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM, EUSERS};
use piku_report::user_error::{UserError, advice};
use serde::{Deserialize, Serialize};

use crate::errors::SETUP_FAILED;
use crate::errors::kernel_version::KernelVersion;

/// Code of an error that no later attempt can avoid (`EX_UNAVAILABLE` of sysexits.h). It stays inside this
/// program, which ends with [`SETUP_FAILED`] whenever it cannot make a jail.
const NO_JAILS: u8 = 69;

/// Duration of an obstacle that keeps a jail from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JailObstacle {
    /// This machine can never make jails for this user: the kernel, its settings or an outer sandbox refuse
    /// them.
    Absent,
    /// Something is used up, broken or in the way now. An app may have caused it, so it is never a reason to
    /// run a command without a jail.
    Temporary,
}

impl JailObstacle {
    /// Classifies an error. Unknown errors are temporary.
    pub(crate) fn from_error(err: &Error) -> Self {
        if lacks_system_call(err) || advice(err).1 == NO_JAILS { Self::Absent } else { Self::Temporary }
    }
}

/// Returns whether the kernel lacks a system call.
fn lacks_system_call(err: &Error) -> bool {
    let is_missing = |errno: Option<i32>| errno == Some(ENOSYS);
    err.chain().any(|cause| {
        is_missing(cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error))
            || is_missing(cause.downcast_ref::<Errno>().map(|errno| *errno as i32))
            || is_missing(cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error()))
    })
}

/// Returns a hint for a missing system call that no step has explained: `mount_setattr` is the newest call
/// that every jail needs.
pub(crate) fn missing_call_hint(err: &Error) -> Option<&'static str> {
    (lacks_system_call(err) && advice(err).0.is_empty()).then(|| {
        if KernelVersion::running() < KernelVersion::new(5, 12) {
            "use Linux 5.12 or newer"
        } else {
            "this kernel is new enough: have the container or sandbox around it allow all system calls of Linux 5.12, \
             such as mount_setattr"
        }
    })
}

/// A step that some kernels, distributions and containers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetupStep {
    /// Start a process in new namespaces.
    Namespaces,
    /// Write the id maps of the new user namespace.
    Map,
    /// Use a capability in the new user namespace for the first time.
    Rights,
    /// Mount a new `/proc`.
    Proc,
}

/// Settings of this machine; `None` if it has no such setting.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFacts {
    /// The kernel has user namespaces.
    pub(crate) built_in: bool,
    /// Debian's `kernel.unprivileged_userns_clone`.
    pub(crate) clone_allowed: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(crate) limit: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    pub(crate) apparmor: Option<u64>,
}

impl HostFacts {
    pub(crate) fn read() -> Self {
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

/// Returns the error of a step with its cause and a hint.
pub(crate) fn explain_step(step: SetupStep, err: &io::Error) -> Error {
    let (why, fix, obstacle) = find_cause(step, err.raw_os_error().unwrap_or_default(), &HostFacts::read());
    let what = match step {
        SetupStep::Namespaces => "cannot make the namespaces",
        SetupStep::Map | SetupStep::Rights => "cannot use a user namespace",
        SetupStep::Proc => "cannot mount a new /proc",
    };
    let code = if obstacle == JailObstacle::Absent { NO_JAILS } else { SETUP_FAILED };
    let failure =
        UserError::new(format!("{what}: {}", why.map_or(err.to_string(), str::to_owned))).code(code);
    fix.into_iter().fold(failure, UserError::hint).into()
}

/// Returns the cause and the fix, if known, and how long the obstacle lasts.
fn find_cause(
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
        // Ubuntu 24.04 lets every user make one, but moves the process into the profile
        // "unprivileged_userns", which denies every capability there.
        (SetupStep::Rights, EPERM | EACCES) if facts.apparmor.is_some_and(|on| on > 0) => (
            Some("AppArmor denies capabilities in it to programs without a profile (Ubuntu 24.04 and later)"),
            Some(PROFILE),
            Absent,
        ),
        (SetupStep::Namespaces, EPERM | EACCES) => (
            Some(
                "the user may not make namespaces: the filter of an outer container, or a chroot, forbids it",
            ),
            Some(CONTAINER),
            Absent,
        ),
        (SetupStep::Namespaces, ENOSPC) if facts.limit == Some(0) => (
            Some("user.max_user_namespaces is 0, which forbids user namespaces"),
            Some("sysctl user.max_user_namespaces=10000, and the same line in a file of /etc/sysctl.d"),
            Absent,
        ),
        (SetupStep::Namespaces, ENOSPC | EUSERS) => (
            Some("all namespaces that /proc/sys/user allows are in use (this is not about a disk)"),
            Some("raise the limits in /proc/sys/user, or end some jails"),
            Temporary,
        ),
        (SetupStep::Namespaces, ENOMEM) => (
            Some("the machine has no memory left"),
            Some("end some processes, or give the machine more memory"),
            Temporary,
        ),
        (SetupStep::Namespaces, EAGAIN) => (
            Some("the user has as many processes as its limit allows"),
            Some(
                "raise the limit (ulimit -u; in a systemd unit: LimitNPROC= and TasksMax=), or end some processes",
            ),
            Temporary,
        ),
        (SetupStep::Namespaces, EINVAL | ENOSYS) if !facts.built_in => {
            (Some("this kernel lacks user namespaces"), Some("use a kernel with CONFIG_USER_NS=y"), Absent)
        }
        (SetupStep::Namespaces, EINVAL | ENOSYS) => (
            Some("this kernel lacks one of the namespaces"),
            Some("use a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS and CONFIG_UTS_NS"),
            Absent,
        ),
        (SetupStep::Map, EPERM) => {
            (Some("the user may not write its id maps: an outer sandbox forbids it"), Some(CONTAINER), Absent)
        }
        (SetupStep::Rights, EPERM | EACCES) => (
            Some("the user has no capabilities in it: a security module or an outer sandbox forbids them"),
            Some(CONTAINER),
            Absent,
        ),
        (SetupStep::Proc, EPERM) => (
            Some("the outer container hides parts of its own /proc, so the kernel refuses a new one"),
            Some(CONTAINER),
            Absent,
        ),
        _ => (None, None, Temporary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(step: SetupStep, errno: i32, facts: &HostFacts) -> String {
        let (why, fix, _) = find_cause(step, errno, facts);
        format!("{} | {}", why.unwrap_or("-"), fix.unwrap_or("-"))
    }

    fn debian() -> HostFacts {
        HostFacts { built_in: true, clone_allowed: Some(1), limit: Some(1000), apparmor: None }
    }

    #[test]
    fn no_space_is_never_a_full_disk() {
        let none = HostFacts { limit: Some(0), ..debian() };
        assert!(
            explained(SetupStep::Namespaces, ENOSPC, &none).contains("sysctl user.max_user_namespaces=10000")
        );
        assert!(explained(SetupStep::Namespaces, ENOSPC, &debian()).contains("not about a disk"));
    }

    #[test]
    fn each_distribution_has_its_own_switch() {
        let old = HostFacts { clone_allowed: Some(0), ..debian() };
        assert!(
            explained(SetupStep::Namespaces, EPERM, &old)
                .contains("sysctl kernel.unprivileged_userns_clone=1")
        );
        let ubuntu = HostFacts { clone_allowed: Some(1), apparmor: Some(1), ..debian() };
        for step in [SetupStep::Namespaces, SetupStep::Map, SetupStep::Rights] {
            assert!(explained(step, EPERM, &ubuntu).contains("AppArmor"));
            assert!(explained(step, EACCES, &ubuntu).contains("AppArmor"));
        }
        assert!(explained(SetupStep::Namespaces, EPERM, &debian()).contains("container"));
        let bare = HostFacts { built_in: false, ..HostFacts::default() };
        assert!(explained(SetupStep::Namespaces, EINVAL, &bare).contains("CONFIG_USER_NS=y"));
        assert!(explained(SetupStep::Proc, EPERM, &debian()).contains("systempaths"));
        assert!(explained(SetupStep::Namespaces, EAGAIN, &debian()).contains("as many processes"));
        assert_eq!(explained(SetupStep::Map, ENOSPC, &debian()), "- | -");
    }

    /// An app must not be able to cause an error that lets a machine with `sandbox: prefer` run without a
    /// jail.
    #[test]
    fn only_the_machine_itself_lets_jails_be_absent() {
        use nix::libc::{EBUSY, EDQUOT, EIO, EMFILE, ENFILE, ENOENT, ENOTDIR};
        let kind = |step, errno, facts: &HostFacts| find_cause(step, errno, facts).2;
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
            .map(|err| JailObstacle::from_error(&err))
        };
        assert_eq!(of(ENOSYS), [JailObstacle::Absent; 3]);
        assert_eq!(of(EPERM), [JailObstacle::Temporary; 3]);
        assert_eq!(of(nix::libc::EDQUOT), [JailObstacle::Temporary; 3]);
        let explained = |errno| {
            JailObstacle::from_error(
                &explain_step(SetupStep::Map, &io::Error::from_raw_os_error(errno)).context("x"),
            )
        };
        assert_eq!((explained(EPERM), explained(EAGAIN)), (JailObstacle::Absent, JailObstacle::Temporary));
    }
}
