//! `detect` and `plan`: data on stdout, and nothing is run.

use std::collections::BTreeSet;
use std::path::Path;

use piku_procfile::output::{self, Format};
use piku_procfile::settings::Settings;

use crate::build::Place;
use crate::layer::Store;
use crate::runtime::{self, Site};
use crate::source::Source;
use crate::{environment, machine, sandbox, talk};

/// `detect DIR`.
pub(crate) fn detect(dir: &Path, format: Format) -> anyhow::Result<()> {
    let source = Source::read(dir, None)?;
    let (_, detected) = runtime::detect(&source)?;
    output::print(format, &detected, || detected.to_string())
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
    let shown = plan.show(store.as_ref(), names.into_iter().collect());
    output::print(format, &shown, || shown.to_string())
}
