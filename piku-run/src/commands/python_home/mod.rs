//! `import-piku DIR`: takes over the apps of a Python piku, whose home is only read.

mod app_import;
mod python_settings;
mod source_home;
mod source_repository;
mod untracked_files;

use std::path::Path;

use piku_layout::paths::PikuRoot;
use piku_report::diagnostic::{quote_word, readable};
use piku_report::output;
use piku_report::user_error::UserError;

use app_import::{ImportPlan, is_complete};
use source_home::{SourceApp, SourceHome};

use crate::commands::deploy_tip;
use crate::releases::current;

#[derive(Debug, Clone, Copy)]
pub(crate) struct ImportOptions {
    /// Only print what would be done.
    pub(crate) dry_run: bool,
    /// Do not deploy the apps.
    pub(crate) no_deploy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImportOutcome {
    Imported,
    AlreadyHere,
    Failed,
}

/// Imports the apps of the home in `dir`, or `only` these, and prints for each what was taken over and what
/// differs. An app that fails does not stop the others. Returns whether none failed.
///
/// # Errors
/// Fails if `dir` is not such a home, or if a named app is not in it.
pub(crate) fn import_home(
    root: &PikuRoot,
    dir: &Path,
    only: &[String],
    options: ImportOptions,
) -> anyhow::Result<bool> {
    let home = SourceHome::open(dir, root)?;
    let _alone = home.lock()?;
    let (mut apps, skipped) = home.list_apps()?;
    for name in only {
        if !apps.iter().any(|app| app.is_called(name)) {
            let what = format!("there is no app {} in '{}'", quote_word(name), dir.display());
            let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
            return Err(UserError::new(what).hint(format!("it has: {}", names.join(", "))).into());
        }
    }
    if only.is_empty() {
        for line in &skipped {
            print_line(line)?;
        }
    } else {
        apps.retain(|app| only.iter().any(|name| app.is_called(name)));
    }
    if apps.is_empty() {
        print_line("there is no app to import")?;
    }
    let mut all_well = true;
    let mut undeployed = Vec::new();
    for app in &apps {
        match import_app(root, app, options)? {
            ImportOutcome::Failed => all_well = false,
            _ if options.dry_run || root.app(&app.name).current_number().is_some() => {}
            _ if options.no_deploy => undeployed.push(app.name.as_str()),
            _ if deploy_tip(root, &app.name)? == 0 => print_line(&format!("{}: deployed", app.name))?,
            _ => {
                print_line(&format!("{0}: its deploy failed; to try again: piku deploy {0}", app.name))?;
                all_well = false;
            }
        }
    }
    if !undeployed.is_empty() {
        print_line(&format!("not deployed yet: {}; each by: piku deploy APP", undeployed.join(" ")))?;
    }
    Ok(all_well)
}

fn import_app(root: &PikuRoot, app: &SourceApp<'_>, options: ImportOptions) -> anyhow::Result<ImportOutcome> {
    let name = &app.name;
    let dir = root.app(name);
    if is_complete(&dir) {
        if !options.dry_run {
            // Left by an import that ended just before it.
            current::remove_dir(&dir.importing())?;
        }
        print_line(&format!("{name}: is here already, and is not changed"))?;
        return Ok(ImportOutcome::AlreadyHere);
    }
    let imported = ImportPlan::read(app).and_then(|plan| {
        let done = if options.dry_run { Vec::new() } else { plan.carry_out(root, app)? };
        Ok((plan, done))
    });
    let (plan, done) = match imported {
        Ok(imported) => imported,
        Err(err) => {
            print_line(&format!("{name}: not imported: {err:#}"))?;
            return Ok(ImportOutcome::Failed);
        }
    };
    let verb = if options.dry_run { "would be imported" } else { "imported" };
    let from = if app.old_name == name.as_str() { String::new() } else { format!(" from {}", app.old_name) };
    print_line(&format!("{name}: {verb}{from}: {}", plan.describe()))?;
    for remark in plan.remarks().chain(&done) {
        print_line(&format!("    {remark}"))?;
    }
    Ok(ImportOutcome::Imported)
}

fn print_line(text: &str) -> anyhow::Result<()> {
    output::write(format!("{}\n", readable(text)).as_bytes())
}
