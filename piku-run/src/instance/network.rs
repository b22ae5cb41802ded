//! Network of an app: shared, or its own by `host.yaml` or by `NETWORK=own` in `ENV` and the config.

use piku_layout::settings::NetworkMode;
use piku_report::user_error::UserError;

use crate::instance::environment::Vars;

/// Variable that requests a network.
const VARIABLE: &str = "NETWORK";

/// Returns the network of an app if the host settings say `set`. An app cannot leave a separate network
/// that the operator wants.
///
/// # Errors
/// Fails if the app requests an unknown network.
pub(crate) fn of(vars: &Vars, set: NetworkMode) -> anyhow::Result<NetworkMode> {
    match vars.get(VARIABLE).map(|value| value.trim()) {
        None | Some("" | "shared") => Ok(set),
        Some("own") => Ok(NetworkMode::Own),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            let what = format!("{VARIABLE}: '{shown}' is not a network");
            Err(UserError::new(what)
                .hint(format!("{VARIABLE}=own gives the app a network of its own"))
                .into())
        }
    }
}

/// Checks that the app can have its own network, which requires the jail, pasta and a health check over
/// HTTP.
pub(crate) fn check(is_jailed: bool, speaks_http: bool) -> anyhow::Result<()> {
    if !is_jailed {
        let what = "a network of its own (NETWORK=own) needs the jail, and this release was built without";
        return Err(UserError::new(what).hint("see piku-chroot --check, and build it again").into());
    }
    if piku_chroot::find_pasta().is_none() {
        let what = "a network of its own (NETWORK=own) needs pasta, which is not installed";
        return Err(UserError::new(what).hint("sudo apt install passt").into());
    }
    if !speaks_http {
        let what = "HEALTHCHECK=tcp says nothing of an app with NETWORK=own: pasta accepts its connections";
        return Err(UserError::new(what).hint("leave out one of them").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_may_ask_for_its_own_and_never_leave_it() {
        let read = |value: &str, set| of(&Vars::from([(VARIABLE.to_owned(), value.to_owned())]), set);
        assert_eq!(of(&Vars::new(), NetworkMode::Shared).unwrap(), NetworkMode::Shared);
        assert_eq!(read("own", NetworkMode::Shared).unwrap(), NetworkMode::Own);
        assert_eq!(read("shared", NetworkMode::Own).unwrap(), NetworkMode::Own);
        let told = read("host", NetworkMode::Shared).unwrap_err().to_string();
        assert_eq!(told, "NETWORK: 'host' is not a network");
        let told = check(false, true).unwrap_err().to_string();
        assert!(told.contains("needs the jail"), "{told}");
    }
}
