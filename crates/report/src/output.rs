//! Data on stdout, in the format that `--format` names.

use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

/// Value of `--format` in all tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// Plain text
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Returns the value as JSON or YAML, or the plain text.
///
/// # Errors
/// Fails if serialization does.
pub fn render(
    format: OutputFormat,
    value: &(impl Serialize + ?Sized),
    text: impl FnOnce() -> String,
) -> anyhow::Result<String> {
    if format == OutputFormat::Text {
        return Ok(text());
    }
    // Through values of one type, so that no type needs code for two formats.
    render_value(format, &serde_json::to_value(value).context("cannot make JSON of it")?)
}

fn render_value(format: OutputFormat, value: &serde_json::Value) -> anyhow::Result<String> {
    if format == OutputFormat::Yaml {
        return serde_yaml::to_string(value).context("cannot make YAML of it");
    }
    Ok(serde_json::to_string_pretty(value).context("cannot make JSON of it")? + "\n")
}

/// Prints the value as JSON or YAML, or the plain text.
///
/// # Errors
/// As [`render`] and [`write()`].
pub fn print(
    format: OutputFormat,
    value: &(impl Serialize + ?Sized),
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    write(render(format, value, text)?.as_bytes())
}

/// Writes bytes to stdout. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Fails if stdout cannot be written, for example to a full disk.
pub fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    forgive(stdout.write_all(bytes).and_then(|()| stdout.flush())).context("cannot write to stdout")
}

/// Turns the error of a closed pipe into success.
///
/// # Errors
/// Returns any other error.
pub fn forgive(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Formats a table with headings. Each column is as wide as its widest cell, without blanks at the end of
/// a line.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [vec!["web.1".to_owned(), "ä".to_owned()], vec!["w".to_owned(), String::new()]];
        assert_eq!(table(&["PS", "STATE"], &rows), "PS     STATE\nweb.1  ä\nw\n");
        assert_eq!(table(&["PS"], &[]), "PS\n");
    }
}
