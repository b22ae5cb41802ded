//! `create APP`: makes an app without a push, so that settings can be stored for its first release.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that the repository exists, which only git and piku write"
)]

use piku_report::progress;
use piku_report::user_error::UserError;

use super::setup;
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;
use crate::{child_env, client};

/// Creates the app's directory and repository, and prints how to push to it. `if_missing` makes an existing
/// app no error, without any output.
pub(crate) fn create_app(context: &AppContext<'_>, if_missing: bool) -> anyhow::Result<()> {
    child_env::refuse_root(context.root)?;
    child_env::set_umask();
    let (app, dir) = (context.app, context.dir());
    setup::check_hooks(context.scripts)?;
    let _lock = AppLock::acquire(&dir, context.key)?;
    if dir.repo().exists() {
        if if_missing {
            return Ok(());
        }
        let address = client::push_address(app);
        return Err(UserError::new(format!("{app} exists already"))
            .hint(format!("to deploy to it: git push {address} main"))
            .into());
    }
    let has_data = dir.data().exists();
    setup::ensure_repository(&dir, context.scripts)?;
    progress::step(&format!("Created {app}; push to it with: git push {} main", client::push_address(app)));
    if has_data {
        progress::detail("it has the data of a destroyed app of that name");
    }
    Ok(())
}
