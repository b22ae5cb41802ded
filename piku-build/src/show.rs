//! `detect` and `plan`: data on stdout, and nothing is run.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use piku_procfile::settings::Settings;
use serde::Serialize;

use crate::build::Place;
use crate::layer::Store;
use crate::runtime::{self, Site};
use crate::source::Source;
use crate::{environment, machine, sandbox, talk};

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// `detect DIR`.
pub(crate) fn detect(dir: &Path, format: Format) -> anyhow::Result<()> {
    let source = Source::read(dir, None)?;
    let (_, detected) = runtime::detect(&source)?;
    print(&detected, format)
}

/// `plan DIR`.
pub(crate) fn plan(dir: &Path, place: &Place, format: Format) -> anyhow::Result<()> {
    let settings = place.settings()?;
    let source = Source::read(dir, place.config.as_deref())?;
    let (runtime, _) = runtime::detect(&source)?;
    let jailed = sandbox::decide(place.sandbox.unwrap_or(settings.sandbox), true)?;
    let store = place.layers.as_deref().map(Store::new).transpose()?;
    let Settings { build_env, .. } = &settings;
    let architecture = machine::architecture()?;
    let site = Site { jailed, store: store.as_ref(), architecture: &architecture, build_env };
    let plan = runtime.plan(&source, &site)?;
    for warning in &source.warnings {
        talk::marked(&warning.to_string());
    }
    for warning in &plan.warnings {
        talk::warning(warning);
    }
    let steps = environment::of_steps(&plan, build_env, &source);
    let names: BTreeSet<&str> = steps.keys().chain(plan.env.keys()).map(String::as_str).collect();
    print(&plan.show(store.as_ref(), names.into_iter().collect()), format)
}

/// Writes data; a reader that has seen enough is no error.
fn print<T: Serialize + Display>(data: &T, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => data.to_string(),
        Format::Json => serde_json::to_string_pretty(data).context("cannot write JSON")? + "\n",
        Format::Yaml => serde_yaml::to_string(data).context("cannot write YAML")?,
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
