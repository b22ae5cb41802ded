//! Decides whether steps run in the jail: from the operator's choice, from what this machine could do when
//! piku was installed, and from what it can do now. If the jail fails for another reason than the machine
//! itself, the build fails.

use std::thread;

use piku_chroot::jail::{self, TrialError};
use piku_chroot::report::JailStart;
use piku_layout::settings::{HostSettings, Protection, SandboxMode};
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::errors;

/// The settings that decide whether a build is jailed, besides the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct SandboxPolicy {
    sandbox: SandboxMode,
    /// The protections that the machine had when they were recorded.
    recorded: Vec<Protection>,
}

impl SandboxPolicy {
    /// Returns the policy of the host settings; the command line overrides it.
    pub(crate) fn new(said: Option<SandboxMode>, settings: &HostSettings) -> Self {
        Self {
            sandbox: said.unwrap_or(settings.sandbox),
            recorded: settings.protections.clone().unwrap_or_default(),
        }
    }

    /// Starts to check what this machine can do, in the background.
    pub(crate) fn start_check(&self) {
        if self.sandbox != SandboxMode::Off {
            thread::spawn(jail::available);
        }
    }

    /// Returns whether to use the jail. With `loud`, prints its protections, or why there is no jail.
    ///
    /// # Errors
    /// Fails if the jail is required or was there before, and cannot be used; and whenever the reason may
    /// pass.
    pub(crate) fn use_jail(&self, loud: bool) -> anyhow::Result<bool> {
        if self.sandbox == SandboxMode::Off {
            if loud {
                progress::detail("the sandbox is off: the steps run with all rights of this user");
            }
            return Ok(false);
        }
        match jail::available() {
            Ok(holds) => {
                self.check(holds)?;
                if loud {
                    // Each build prints what this machine lacks, so that nothing is lost silently.
                    progress::detail(&format!(
                        "Sandbox: {} for the steps of the build (piku doctor explains)",
                        holds.brief_line()
                    ));
                }
                Ok(true)
            }
            Err(err) => {
                self.refuse_missing_jail(err)?;
                if loud {
                    let what = "the steps run without a jail, with all rights of this user";
                    progress::warning(&format!("{what}: {err}"));
                    for hint in err.hints() {
                        progress::detail(&format!("hint: {hint}"));
                    }
                }
                Ok(false)
            }
        }
    }

    /// Refuses a jail without a protection that this machine had.
    fn check(&self, holds: &JailStart) -> Result<(), UserError> {
        let now = holds.protections();
        let lost: Vec<_> = self.recorded.iter().copied().filter(|one| !now.contains(one)).collect();
        if lost.is_empty() { Ok(()) } else { Err(errors::lost_protections(&lost)) }
    }

    /// Refuses to build without a jail, unless this machine never had one and none is required.
    fn refuse_missing_jail(&self, err: &TrialError) -> Result<(), UserError> {
        if !err.is_absence() {
            return Err(err.failure());
        }
        if self.sandbox == SandboxMode::Require {
            return Err(errors::no_jail(err));
        }
        if self.recorded.contains(&Protection::Namespaces) {
            return Err(errors::lost_jail(err));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_chroot::report::JailObstacle;
    use piku_report::user_error::{BUSY, FAILED, advice};

    fn policy(sandbox: SandboxMode, recorded: &[Protection]) -> SandboxPolicy {
        SandboxPolicy { sandbox, recorded: recorded.to_vec() }
    }

    /// Returns the exit code of a build that finds no jail; `None` if it goes on without one.
    fn code(sandbox: SandboxMode, recorded: &[Protection], obstacle: JailObstacle) -> Option<u8> {
        let err = TrialError::new("no jail can be made".to_owned(), Vec::new(), obstacle);
        policy(sandbox, recorded).refuse_missing_jail(&err).err().map(|failure| advice(&failure.into()).1)
    }

    #[test]
    fn only_a_machine_that_never_had_jails_builds_without_one() {
        use JailObstacle::{Absent, Temporary};
        let had = [Protection::Namespaces];
        assert_eq!(code(SandboxMode::Prefer, &[], Absent), None);
        assert_eq!(code(SandboxMode::Prefer, &had, Absent), Some(FAILED));
        assert_eq!(code(SandboxMode::Require, &[], Absent), Some(FAILED));
        for (sandbox, recorded) in [
            (SandboxMode::Prefer, &[][..]),
            (SandboxMode::Prefer, &had),
            (SandboxMode::Require, &[]),
            (SandboxMode::Require, &had),
        ] {
            assert_eq!(code(sandbox, recorded, Temporary), Some(BUSY), "{sandbox:?}, {recorded:?}");
        }
    }

    #[test]
    fn a_protection_that_was_there_is_missed() {
        let jail = JailStart {
            level: 1,
            layers: vec!["namespaces".into(), "seccomp".into()],
            missing: Vec::new(),
            limits: Vec::new(),
            read_only_app: false,
        };
        assert!(policy(SandboxMode::Prefer, &[]).check(&jail).is_ok());
        assert!(
            policy(SandboxMode::Prefer, &[Protection::Namespaces, Protection::Seccomp]).check(&jail).is_ok()
        );
        let err = policy(SandboxMode::Prefer, &Protection::ALL).check(&jail).unwrap_err().to_string();
        assert!(err.contains("landlock, abstract-sockets, listen-ports"), "{err}");
    }
}
