//! Names of destroyed apps of which something is kept: a new app must not get the data of the old one, whose owner
//! may have been another.

#![expect(clippy::disallowed_methods, reason = "looks for an app's own folders")]

use piku_report::user_error::UserError;

use crate::name::AppName;
use crate::paths::AppDir;

/// Returns the error about a destroy that was interrupted.
#[must_use]
pub fn unfinished_destroy(app: &str) -> UserError {
    let what = format!("{app} was being destroyed, and that has not come to its end");
    UserError::new(what).hint(format!("destroy it again: piku destroy {app} --confirm {app}"))
}

/// Checks that the name is not that of a destroyed app of which something is kept.
///
/// # Errors
/// Fails with how to bring the app back, and how to make the name free.
pub fn check_nothing_kept(app: &AppName, dir: &AppDir) -> Result<(), UserError> {
    if dir.is_there() {
        return Ok(());
    }
    if dir.destroying().exists() {
        return Err(unfinished_destroy(app.as_str()));
    }
    let is_kept = dir.destroyed().is_dir();
    // An older piku has left the data alone. A new app has one of the other folders before its data.
    if !is_kept && (!dir.data().is_dir() || dir.releases().is_dir() || dir.log().is_dir()) {
        return Ok(());
    }
    let mut error = UserError::new(format!("{app} was destroyed, and what it had is kept"));
    if is_kept {
        error = error.hint(format!("to bring it back: piku restore {app}"));
    }
    Err(error.hint(format!("to remove it, and begin anew: piku data:remove {app} --confirm {app}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::paths::PikuRoot;

    #[test]
    fn name_is_free_only_without_a_destroyed_app() {
        let place = tempfile::tempdir().unwrap();
        let name: AppName = "blog".parse().unwrap();
        let dir = PikuRoot::new(Some(place.path().to_owned())).unwrap().app(&name);
        check_nothing_kept(&name, &dir).unwrap();
        fs::create_dir_all(dir.data()).unwrap();
        check_nothing_kept(&name, &dir).unwrap_err();
        // A first release that another machine has sent, and that has failed.
        fs::create_dir_all(dir.releases()).unwrap();
        check_nothing_kept(&name, &dir).unwrap();
        fs::create_dir_all(dir.destroyed()).unwrap();
        check_nothing_kept(&name, &dir).unwrap_err();
        fs::create_dir_all(dir.repo()).unwrap();
        check_nothing_kept(&name, &dir).unwrap();
    }
}
