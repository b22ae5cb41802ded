//! `backup verify`: reads a backup to its end and prints what is in it.

use std::io::Read;
use std::process::ExitCode;

use jiff::Timestamp;
use piku_backup::{BackupHead, BackupPart, MissingApp, PartSink, PartSum, read_archive};
use piku_files::free_space;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use serde::Serialize;

use super::lacking::find_lacking;

/// Reads everything and keeps nothing.
struct NullSink;

impl PartSink for NullSink {
    fn begin(&mut self, _: &BackupHead) -> anyhow::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &BackupPart, _: &mut dyn Read) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The content of a backup, as scripts get it.
#[derive(Debug, Serialize)]
struct VerifiedBackup<'a> {
    at: Timestamp,
    host: &'a str,
    piku: &'a str,
    apps: Vec<&'a str>,
    /// Apps that it should have.
    missing: &'a [MissingApp],
    parts: &'a [PartSum],
}

/// Verifies a backup. One that lacks something is a failure.
pub(super) fn run(input: impl Read, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let (head, sums) = read_archive(input, &mut NullSink)?;
    let shown = VerifiedBackup {
        at: head.at,
        host: &head.host,
        piku: &head.piku,
        apps: head.apps.iter().map(|saved| saved.app.as_str()).collect(),
        missing: &head.missing,
        parts: &sums,
    };
    output::print(format, &shown, || {
        let rows: Vec<Vec<String>> =
            sums.iter().map(|sum| vec![sum.part.to_string(), free_space::size(sum.bytes)]).collect();
        output::table(&["PART", "SIZE"], &rows)
    })?;
    let about = format!("the backup of {:.0}, made by piku {} on {}", head.at, head.piku, head.host);
    let lacking = find_lacking(&head.missing, &sums);
    if lacking.is_empty() {
        progress::step(&format!("whole: {about}"));
        return Ok(ExitCode::SUCCESS);
    }
    for one in &lacking {
        progress::error(&one.describe());
    }
    progress::step(&format!("undamaged, but not all of what it should have: {about}"));
    Ok(ExitCode::FAILURE)
}
