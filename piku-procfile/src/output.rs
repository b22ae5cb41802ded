//! Data on stdout, in the form that was asked for.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use crate::cli::Format;

/// Prints `value`, or for people `text`.
pub(crate) fn print(
    format: Format,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let rendered = match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(value).context("cannot make JSON of it")? + "\n",
        Format::Yaml => serde_yaml::to_string(value).context("cannot make YAML of it")?,
    };
    write(&rendered)
}

/// Writes text to stdout as it is. A reader that has seen enough (`| head`) is no error.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
