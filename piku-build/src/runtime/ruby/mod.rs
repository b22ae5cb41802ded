//! Ruby: Bundler installs the locked gems into a layer; Rails' assets are made in the app's tree.

mod bundler_config;
mod default_command;
mod failures;
mod gemfile;
mod gemfile_lock;
mod gems;
mod installed_rubies;
mod rails;
mod requirement;
mod version;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::misspelt::is_close;
use piku_procfile::procfile::ProcessKind;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors::{self, ruby as told};
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;
use gemfile::Gemfile;
use gems::AppGems;
pub(super) use installed_rubies::list_hidden_homes as homes;
use version::RubyChoice;

pub(super) struct RubyRuntime;

impl Runtime for RubyRuntime {
    fn name(&self) -> &'static str {
        "ruby"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        let gemfile = match Gemfile::read(source) {
            Ok(gemfile) => gemfile,
            Err(err) => return err.downcast().map(DetectResult::Unsupported),
        };
        let Some(gemfile) = gemfile else { return Ok(without_gemfile(source)) };
        let runs = source
            .procfile
            .iter()
            .flat_map(|procfile| &procfile.entries)
            .any(|entry| entry.kind != ProcessKind::Static);
        let name = &gemfile.name;
        Ok(if runs || default_command::find_default(source, &gemfile)?.is_some() {
            DetectResult::Match(format!("there is a {name}"))
        } else {
            DetectResult::WeakMatch(format!("there is a {name}, but nothing to start"))
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let gemfile = Gemfile::read(source)?.ok_or_else(told::no_gemfile)?;
        let RubyChoice { installed: ruby, from, mut warnings } = version::choose(source, &gemfile, target)?;
        if ruby.bundler.is_empty() || !crate::tree::root_view::is_executable(&ruby.bin.join("bundle")) {
            return Err(errors::missing_tool(told::KIND, "bundle").into());
        }
        let gems = AppGems::plan(source, target, &gemfile, &ruby)?;
        let (processes, processes_from) = processes(source, &gemfile)?;
        let mut env = gems.env(target, &gemfile, &ruby);
        let mut secrets = Vec::new();
        if rails::uses_rails(source, &gemfile)? {
            for (name, value) in [
                (rails::ENVIRONMENT, "production"),
                ("RAILS_LOG_TO_STDOUT", "enabled"),
                ("RAILS_SERVE_STATIC_FILES", "enabled"),
            ] {
                env.insert(name.to_owned(), value.to_owned());
            }
            if target.jailed {
                env.insert("PIDFILE".to_owned(), rails::PID_FILE.to_owned());
            }
            secrets.extend(rails::needs_secret(source, &gemfile)?.then_some(rails::SECRET));
        }
        warnings.extend(gems.warnings.iter().cloned());
        warnings.extend(rails::collect_warnings(source, &gemfile)?);
        let bundle = ruby.bin.join("bundle").to_string_lossy().into_owned();
        let build_env = gems::build_env(&gemfile, &ruby);
        let AppGems { layer, lock, .. } = gems;
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(ruby.version.to_string()),
            version_from: Some(from),
            layers: vec![layer],
            host: ruby.home.into_iter().filter(|_| target.jailed).collect(),
            steps: lock.into_iter().chain(rails::asset_steps(source, &gemfile, &bundle)?).collect(),
            processes,
            processes_from,
            env,
            secrets,
            build_env,
            warnings,
            ..BuildPlan::default()
        })
    }

    fn explain_failure(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        _view: &RootView,
    ) -> anyhow::Error {
        let unexplained = || super::unexplained(step, ended);
        match step.name {
            gems::STEP => {
                let version = plan.version.as_deref().unwrap_or_default();
                failures::explain_bundler(ended, version).unwrap_or_else(unexplained).into()
            }
            rails::ASSETS => rails::explain_assets(ended),
            _ => unexplained().into(),
        }
    }

    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        if plan.steps.iter().any(|step| step.name == rails::ASSETS) {
            rails::normalize_assets(&view.tree)?;
        }
        if view.is_jailed() && plan.env.contains_key(rails::ENVIRONMENT) {
            rails::link_tmp(&view.tree)?;
        }
        Ok(())
    }

    fn check_processes(&self, plan: &BuildPlan, view: &RootView) -> anyhow::Result<()> {
        Ok(default_command::check_bundled_programs(&plan.processes, view)?)
    }
}

/// Returns the process types, and their source if that is not the Procfile.
fn processes(
    source: &AppSource,
    gemfile: &Gemfile,
) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<String>)> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok((processes, None));
    }
    let Some(served) = default_command::find_default(source, gemfile)? else {
        let mut files = source.names_ending(&["rb"]).filter(|name| *name != "gems.rb");
        let only = files.next().filter(|_| files.next().is_none());
        return Err(told::no_process_types(only.map(String::as_str)).into());
    };
    Ok((IndexMap::from([("web".parse()?, served.command)]), Some(served.file.to_owned())))
}

/// Detects an app that should have a Gemfile.
fn without_gemfile(source: &AppSource) -> DetectResult {
    let lock = ["Gemfile.lock", "gems.locked"].into_iter().find(|name| source.has_entry(name));
    if let Some(lock) = lock {
        return DetectResult::Unsupported(told::lock_alone(lock));
    }
    let close = |name: &&String| {
        is_close(name, "Gemfile", 1) || is_close(name, "Gemfile.lock", 2) || *name == "Gemfile.rb"
    };
    if let Some(name) = source.names.iter().find(close) {
        let is_ruby = source.names_ending(&["rb", "ru"]).next().is_some();
        return super::refuse_or_warn(is_ruby, name, told::misspelt(name));
    }
    if source.has_entry(default_command::RACK) && source.procfile.is_none() {
        return DetectResult::Unsupported(told::rack_alone());
    }
    DetectResult::NoMatch("Gemfile or gems.rb is missing".to_owned())
}
