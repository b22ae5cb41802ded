//! `gc [APP]`: removes what no release needs any more, or reports what would be removed.

use anyhow::Context;
use piku_files::free_space::size;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::output;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use super::lifecycle::aside_app::AsideApp;
use super::lifecycle::{app_lock, destroyed_app};
use crate::cli::GcArgs;
use crate::garbage::disk_usage::FreedSpace;
use crate::garbage::{
    self, AppCollector, CollectScope, GarbageItem, GarbageKind, image_bases, scratch, shared_tools,
};
use crate::known_apps;

pub(super) fn run(root: &PikuRoot, typed: &GcArgs) -> anyhow::Result<()> {
    let (app, dry_run, format) = (typed.app.as_ref(), typed.dry_run, typed.format);
    // It needs no settings: broken ones stop no removal.
    if let Some(app) = app.filter(|_| typed.withdrawn) {
        return garbage::remove_in_background(root, app);
    }
    let settings = HostSettings::read(&root.settings())?;
    if typed.expired {
        destroyed_app::remove_expired(root, &settings);
        return Ok(());
    }
    let apps = match app {
        Some(app) => {
            known_apps::must_be_there(root, app)?;
            vec![app.clone()]
        }
        None => root.apps().context("cannot list the apps")?,
    };
    let mut all = Vec::new();
    for one in &apps {
        match of_app(root, one, &settings, dry_run) {
            Ok(garbage) => all.extend(garbage),
            // One failure does not stop the other apps.
            Err(err) if app.is_none() => progress::detail(&format!("{one} is left alone: {err:#}")),
            Err(err) => return Err(err),
        }
    }
    if app.is_none() && !dry_run {
        destroyed_app::remove_expired(root, &settings);
    }
    if app.is_none() {
        all.extend(of_aside_apps(root, dry_run));
        all.extend(of_tools(root, dry_run));
        match image_bases::remove(root, dry_run) {
            Ok((bases, errors)) => {
                all.extend(bases);
                for error in &errors {
                    progress::detail(error);
                }
            }
            Err(err) => progress::warning(&format!("{err:#}")),
        }
    }
    output::print(format, &all, || render_report(&all, apps.len() > 1, dry_run))
}

/// Removes what killed clones and restores have left. Reports what cannot be removed.
fn of_aside_apps(root: &PikuRoot, dry_run: bool) -> Vec<GarbageItem> {
    let mut removed = Vec::new();
    for (name, path) in AsideApp::list_folders(root) {
        let bytes = FreedSpace::default().add_tree(&path);
        let mut left = match AsideApp::take_over(root, &name, &path) {
            Ok(Some(left)) => left,
            Ok(None) => continue,
            Err(err) => {
                progress::warning(&format!("{err:#}"));
                continue;
            }
        };
        if dry_run {
            left.keep();
        }
        drop(left);
        let name = path.strip_prefix(root.path()).unwrap_or(&path).to_owned();
        removed.push(GarbageItem { app: None, kind: GarbageKind::Leftover, name, bytes });
    }
    removed
}

/// Removes the tools that no build of any app has used for a long time. Reports stores that cannot be read.
fn of_tools(root: &PikuRoot, dry_run: bool) -> Vec<GarbageItem> {
    let (mut found, errors) = shared_tools::find(root);
    for error in &errors {
        progress::warning(error);
    }
    shared_tools::measure(root, &mut found);
    if !dry_run {
        found.retain(|item| match shared_tools::remove(root, item) {
            Ok(is_removed) => is_removed,
            Err(err) => {
                progress::detail(&format!("{err:#}"));
                false
            }
        });
    }
    found
}

fn of_app(
    root: &PikuRoot,
    app: &AppName,
    settings: &HostSettings,
    dry_run: bool,
) -> anyhow::Result<Vec<GarbageItem>> {
    let dir = root.app(app);
    let collector = AppCollector { app, dir: &dir, settings };
    let busy = || {
        let what = format!("a new release of {app} is being made");
        UserError::new(what).hint("try again when that has ended").code(BUSY)
    };
    let _push = app_lock::lock_idle_app(&dir, app)?;
    let _lock = garbage::lock_releases(&dir)?.ok_or_else(busy)?;
    let mut found = collector.find_garbage(CollectScope::All)?;
    collector.measure(&mut found);
    if dry_run {
        return Ok(found);
    }
    if found.iter().any(|one| one.kind == GarbageKind::Scratch) {
        // It may have files that are to be kept in the data.
        let users = super::exec::app_users(root, app, settings)?;
        scratch::remove_abandoned(root, app, users)
            .with_context(|| format!("cannot empty '{}'", dir.scratch().display()))?;
    }
    let mut removed = Vec::new();
    for one in found {
        match collector.remove(&one) {
            Ok(true) => removed.push(one),
            Ok(false) => progress::detail(&format!("{} of {app} is in use", one.name.display())),
            Err(err) => progress::detail(&format!("{err:#}")),
        }
    }
    Ok(removed)
}

fn render_report(all: &[GarbageItem], several: bool, dry_run: bool) -> String {
    let word = if dry_run { "would be removed" } else { "removed" };
    if all.is_empty() {
        return format!("nothing {}\n", if dry_run { "to remove" } else { "to be removed" });
    }
    let row = |one: &GarbageItem| {
        let cells = [one.kind.as_str().to_owned(), one.name.display().to_string(), size(one.bytes)];
        several
            .then(|| one.app.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string))
            .into_iter()
            .chain(cells)
            .collect()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let headings = ["APP", "KIND", "NAME", "FREES"];
    let sum = all.iter().map(|one| one.bytes).sum();
    format!("{}{} {word}\n", output::table(&headings[usize::from(!several)..], &rows), size(sum))
}
