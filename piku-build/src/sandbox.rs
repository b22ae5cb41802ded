//! Whether the steps run in the jail: what the operator chose, and what this machine can do.

use std::thread;

use piku_chroot::jail;
use piku_procfile::failure::advice;
use piku_procfile::settings::Sandbox;

use crate::{explain, talk};

/// Begins to find out what this machine can do, beside what the caller does until it has to know.
pub(crate) fn begin(sandbox: Sandbox) {
    if sandbox != Sandbox::Off {
        thread::spawn(jail::available);
    }
}

/// Whether to use the jail. `loud` says so where it is not used.
///
/// # Errors
/// When it is required and cannot be had.
pub(crate) fn decide(sandbox: Sandbox, loud: bool) -> anyhow::Result<bool> {
    match sandbox {
        Sandbox::Off => {
            if loud {
                talk::detail("the sandbox is off: the steps run with all rights of this user");
            }
            Ok(false)
        }
        Sandbox::Prefer => match jail::available() {
            Ok(holds) => Ok(jailed(holds, loud)),
            Err(err) => {
                if loud {
                    talk::warning(&format!(
                        "the steps run without a jail, with all rights of this user: {err:#}"
                    ));
                    for hint in advice(&err).0 {
                        talk::detail(&format!("hint: {hint}"));
                    }
                }
                Ok(false)
            }
        },
        Sandbox::Require => match jail::available() {
            Ok(holds) => Ok(jailed(holds, loud)),
            Err(err) => Err(explain::no_jail(&err).into()),
        },
    }
}

/// Nothing degrades without a word: what holds on this machine is said each time.
fn jailed(holds: &str, loud: bool) -> bool {
    if loud {
        talk::detail(&format!("Sandbox: {holds}"));
    }
    true
}
