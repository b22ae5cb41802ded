//! `release:front`: stores the key by which nginx recognizes the requests of the front of an app, which is on
//! the host that sends its releases.

use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::front_key::FrontKey;
use piku_report::user_error::UserError;

use crate::app_context::AppContext;
use crate::repository::create;

/// Reads the key from stdin. The deploy that follows makes nginx use it.
pub(crate) fn store_front_key(context: &AppContext<'_>) -> anyhow::Result<()> {
    create::check_name(context)?;
    let mut text = String::new();
    io::stdin().lock().take(1 << 10).read_to_string(&mut text).context("cannot read the key")?;
    let key: FrontKey = text.trim().parse().map_err(UserError::new)?;
    let app = context.dir();
    let cannot = || format!("cannot write '{}'", app.front_key().display());
    DirBuilder::new().recursive(true).mode(0o700).create(app.path()).with_context(cannot)?;
    atomic_file::write(&app.front_key(), format!("{key}\n").as_bytes(), 0o600).with_context(cannot)
}
