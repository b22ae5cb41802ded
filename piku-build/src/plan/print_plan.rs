//! `detect` and `plan`: data on stdout, and nothing is run.

use std::collections::BTreeSet;
use std::path::Path;

use piku_layout::settings::HostSettings;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;

use crate::app::app_folder;
use crate::build::host_paths::HostPaths;
use crate::plan::build_target::BuildTarget;
use crate::plan::combined_plan::CombinedPlan;
use crate::plan::plan_report;
use crate::plan::target_machines::MachineList;
use crate::runtime::{self, RuntimeChoice};
use crate::step::environment;
use crate::step::sandbox::SandboxPolicy;
use crate::store::layer::LayerStore;
use crate::store::tools::ToolStores;
use piku_release::machine;
use piku_release::target::{self, TargetArchitecture};

/// Runs `detect DIR`.
pub(crate) fn detect(dir: &Path, format: OutputFormat) -> anyhow::Result<()> {
    let source = app_folder::read_app(dir, None)?;
    let choice = runtime::choose(&source);
    if choice.is_err() && format != OutputFormat::Text {
        if let Some(missing) = runtime::none_fits(&source)? {
            output::print(format, &missing, String::new)?;
        }
    }
    let RuntimeChoice { detected, warnings, .. } = choice?;
    source.notes.iter().chain(&warnings).for_each(|warning| progress::warning(warning));
    output::print(format, &detected, || detected.to_string())
}

/// Runs `plan DIR`.
pub(crate) fn plan(
    dir: &Path,
    place: &HostPaths,
    asked: Option<&'static TargetArchitecture>,
    machines: Option<&MachineList>,
    format: OutputFormat,
) -> anyhow::Result<()> {
    let settings = place.read_settings()?;
    let source = place.read_app(dir)?;
    let RuntimeChoice { runtimes, detected, warnings } = runtime::choose(&source)?;
    let jailed = SandboxPolicy::new(place.sandbox, &settings).use_jail(true)?;
    let store = place.layers.as_deref().map(LayerStore::new).transpose()?;
    let tools = place.tools.as_deref().map(LayerStore::new).transpose()?;
    let shared_tools = place.open_shared_tools(jailed)?;
    let HostSettings { build_env, .. } = &settings;
    let architecture = machine::architecture()?;
    let stores = ToolStores { own: tools.as_ref(), shared: shared_tools.as_ref() };
    let cross = target::cross_target(asked)?;
    let target = BuildTarget {
        jailed,
        store: store.as_ref(),
        tools: stores,
        architecture: &architecture,
        cross,
        operator_env: build_env,
        commit: "",
    };
    let whole = CombinedPlan::plan(&runtimes, &source, &target)?;
    machines.map_or(Ok(()), |machines| machines.check(&whole))?;
    source.warnings.iter().for_each(|warning| progress::error(&warning.to_string()));
    for warning in source.notes.iter().chain(&warnings).chain(whole.plans().flat_map(|plan| &plan.warnings)) {
        progress::warning(warning);
    }
    let steps: Vec<_> = (0..whole.parts.len())
        .map(|at| {
            environment::step_environment(&whole.env_until(at), &whole.parts[at].plan, build_env, &source)
        })
        .collect();
    let secrets = whole.plans().flat_map(|plan| plan.secrets.iter().copied());
    let names: BTreeSet<&str> = steps
        .iter()
        .flat_map(|env| env.keys())
        .chain(whole.env.keys())
        .map(String::as_str)
        .chain(secrets)
        .collect();
    let shown =
        plan_report::show(&whole, &detected.because, store.as_ref(), stores, names.into_iter().collect());
    output::print(format, &shown, || shown.to_string())
}
