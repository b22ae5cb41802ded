//! `backup verify`: reads a backup to its end and prints what is in it.

use std::io::Read;

use jiff::Timestamp;
use piku_backup::{BackupHead, BackupPart, PartSink, PartSum, read_archive};
use piku_files::free_space;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use serde::Serialize;

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
    parts: &'a [PartSum],
}

pub(super) fn run(input: impl Read, format: OutputFormat) -> anyhow::Result<()> {
    let (head, sums) = read_archive(input, &mut NullSink)?;
    let shown = VerifiedBackup {
        at: head.at,
        host: &head.host,
        piku: &head.piku,
        apps: head.apps.iter().map(|saved| saved.app.as_str()).collect(),
        parts: &sums,
    };
    output::print(format, &shown, || {
        let rows: Vec<Vec<String>> =
            sums.iter().map(|sum| vec![sum.part.to_string(), free_space::size(sum.bytes)]).collect();
        output::table(&["PART", "SIZE"], &rows)
    })?;
    progress::step(&format!(
        "whole: the backup of {:.0}, made by piku {} on {}",
        head.at, head.piku, head.host
    ));
    Ok(())
}
