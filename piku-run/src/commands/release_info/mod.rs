//! `release-info APP [N]`: a release, and how its config and its files differ from those of an earlier one.
//! Values of settings are printed only if the caller asks for them.

mod changed_files;
mod changed_settings;

use std::fmt::Write;

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_release::manifest::{BuiltRelease, ReleaseOrigin};
use piku_report::diagnostic::readable;
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::UserError;
use serde::Serialize;

use crate::releases::{ReleaseRow, ReleaseState, list_releases};
use changed_files::ChangedFiles;
use changed_settings::ChangedSetting;

/// A release to describe.
#[derive(Debug)]
pub(crate) struct ReleaseQuery {
    /// Number; `None` for the live release.
    pub(crate) number: Option<u64>,
    /// Release to compare it with; `None` for the one before it.
    pub(crate) since: Option<u64>,
    /// Print the values of settings.
    pub(crate) show: bool,
    pub(crate) format: OutputFormat,
}

/// A release as `release-info` prints it. Fields are added, never renamed.
#[derive(Debug, Serialize)]
struct ReleaseInfo {
    #[serde(flatten)]
    row: ReleaseRow,
    runtime: Option<String>,
    version: Option<String>,
    /// Release that it is compared with; `None` if there is none.
    since: Option<u64>,
    /// `None` if one of the two releases has no config of its own.
    config: Option<Vec<ChangedSetting>>,
    /// `None` if the repository lacks one of the commits.
    files: Option<ChangedFiles>,
}

/// Prints the release and its changes.
///
/// # Errors
/// Fails if the app has no such release.
pub(crate) fn print_release(root: &PikuRoot, app: &AppName, asked: &ReleaseQuery) -> anyhow::Result<()> {
    let dir = root.app(app);
    let rows = list_releases(&dir)?;
    let find = |number: u64| {
        rows.iter().find(|row| row.release == number).ok_or_else(|| {
            let known: Vec<String> = rows.iter().map(|row| row.release.to_string()).collect();
            let hint = if known.is_empty() {
                "push it first".to_owned()
            } else {
                format!("it has: {}", known.join(", "))
            };
            UserError::new(format!("{app} has no release {number}")).hint(hint)
        })
    };
    let live = dir.current_number();
    let number = asked
        .number
        .or(live)
        .ok_or_else(|| UserError::new(format!("{app} has no release yet")).hint("push it first"))?;
    let row = find(number)?.clone();
    // A failed deploy was never an earlier state of the app.
    let was_live = |row: &&ReleaseRow| matches!(row.state, ReleaseState::Live | ReleaseState::Previous);
    let older = rows.iter().filter(was_live).find(|other| other.release < number);
    let other = match asked.since {
        Some(since) => Some(find(since)?),
        None => older,
    };
    let config = other.map(|other| {
        changed_settings::compare(&dir, other.release, number, asked.show).with_context(|| {
            format!("cannot compare the settings of releases {} and {number}", other.release)
        })
    });
    let files = other.and_then(|other| changed_files::compare(&dir.repo(), &other.commit, &row.commit));
    let built = BuiltRelease::read(&dir.release(number)).ok();
    let info = ReleaseInfo {
        row,
        runtime: built.as_ref().map(|built| built.runtime.clone()),
        version: built.and_then(|built| built.version),
        since: other.map(|other| other.release),
        config: config.transpose()?.flatten(),
        files,
    };
    output::print(asked.format, &info, || info.render(app))
}

impl ReleaseInfo {
    fn render(&self, app: &AppName) -> String {
        let row = &self.row;
        let origin = match row.origin {
            ReleaseOrigin::Deploy => "deploy",
            ReleaseOrigin::Config | ReleaseOrigin::Rollback => "",
        };
        let change = [origin, readable(&row.subject).as_str()].join(" ");
        let runtime = [self.runtime.as_deref(), self.version.as_deref()];
        let runtime = runtime.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let at = row.at.map(|at| format!("{at:.0}")).unwrap_or_default();
        let lines = [
            ("release", format!("{} of {app}, {}", row.release, row.state.as_str())),
            ("change", change.trim().to_owned()),
            ("commit", readable(&row.commit)),
            ("by", readable(&row.by)),
            ("at", at),
            ("runtime", readable(&runtime)),
        ];
        // Writing to a string cannot fail.
        let mut text = String::new();
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            _ = writeln!(text, "{name:<9} {value}");
        }
        let Some(since) = self.since else {
            return text + "\nno earlier release is left to compare it with\n";
        };
        _ = writeln!(text, "\nsince release {since}:");
        let config: Vec<String> = match &self.config {
            Some(config) => config.iter().flat_map(ChangedSetting::lines).collect(),
            None => vec!["unknown: one of the two has no config of its own".to_owned()],
        };
        append_list(&mut text, "config", &config);
        let files = match &self.files {
            Some(files) => files.lines(),
            None => vec!["unknown: the repository here lacks one of the commits".to_owned()],
        };
        append_list(&mut text, "files", &files);
        text
    }
}

/// Appends lines with a name before the first one.
fn append_list(text: &mut String, name: &str, lines: &[String]) {
    let unchanged = ["unchanged".to_owned()];
    let lines = if lines.is_empty() { &unchanged } else { lines };
    for (at, line) in lines.iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        _ = writeln!(text, "{name:<9} {}", readable(line));
    }
}
