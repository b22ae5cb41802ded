//! `import-app APP --from PLATFORM`: takes over the settings and the scale of an app of Heroku or dokku, from what
//! their commands print.

mod export;

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_report::output;
use piku_report::user_error::UserError;

use export::PlatformExport;

use super::read_input;
use crate::app_request;
use crate::cli::ForeignAppArgs;
use crate::commands::config;
use crate::config::ConfigValues;
use crate::ipc::protocol::SupervisorRequest;

/// Largest number of instances of a process type, as `scale` accepts it.
const MOST_INSTANCES: u32 = 1000;

/// Reads the export from stdin, prints what is taken over and what differs, and stores it.
pub(in crate::commands) fn run(root: &PikuRoot, typed: &ForeignAppArgs) -> anyhow::Result<()> {
    let ForeignAppArgs { app, from, dry_run, no_restart } = typed;
    let export = PlatformExport::parse(*from, &read_input()?)?;
    if export.config.is_empty() && export.formation.is_empty() {
        let what = format!("stdin has neither settings nor a scale of {}", from.name());
        return Err(UserError::new(what).hint(from.how_to_export(app)).into());
    }
    let edit = |stored: &ConfigValues| {
        let mut edited = stored.clone();
        for (name, value) in &export.config {
            edited.set(name, value)?;
        }
        Ok((edited, Vec::new()))
    };
    if let Some((kind, count)) = export.formation.iter().find(|(_, count)| **count > MOST_INSTANCES) {
        return Err(UserError::new(format!("bad number of '{kind}', {count}: expected 0 to 1000")).into());
    }
    // A bad value changes nothing.
    edit(&ConfigValues::default())?;
    output::write(export.describe(app).as_bytes())?;
    if *dry_run {
        return Ok(());
    }
    crate::commands::create_if_missing(root, app)?;
    // The settings first: new instances need them. The same import completes one that was cut short in between.
    if !export.config.is_empty() {
        config::change_config(root, app, *no_restart, &edit).context("nothing was taken over")?;
    }
    if !export.formation.is_empty() {
        let counts = export.formation.clone();
        let scaled = app_request::ask(root, app, &SupervisorRequest::Scale { counts });
        scaled.context("the settings are taken over, the scale is not; the same import completes it")?;
    }
    Ok(())
}
