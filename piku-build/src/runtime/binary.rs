//! The runtime `binary`: a Procfile that starts programs or scripts which need no build, or a script
//! `start.sh`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use piku_layout::jail::PATH;

/// Files of apps that piku does not build, and what they are called. The programs may still be in the
/// repository.
const NOT_BUILT: [(&str, &str); 12] = [
    ("Package.swift", "Swift apps"),
    ("build.sc", "Scala apps of Mill"),
    ("build.zig", "Zig apps"),
    ("composer.json", "PHP apps"),
    ("deps.edn", "Clojure apps without a project.clj"),
    ("gleam.toml", "Gleam apps"),
    ("global.json", ".NET apps"),
    ("mix.exs", "Elixir apps"),
    ("pubspec.yaml", "Dart apps"),
    ("rebar.config", "Erlang apps"),
    ("shard.yml", "Crystal apps"),
    ("stack.yaml", "Haskell apps"),
];

pub(crate) const NAME: &str = "binary";
/// The script that starts an app without a Procfile.
pub(super) const SCRIPT: &str = "start.sh";

pub(super) struct BinaryRuntime;

impl Runtime for BinaryRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn writes_tree(&self) -> bool {
        false
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        Ok(match &source.procfile {
            Some(_) => DetectResult::WeakMatch("there is a Procfile".to_owned()),
            None if source.has_entry(SCRIPT) => DetectResult::WeakMatch(format!("there is a {SCRIPT}")),
            None => DetectResult::NoMatch(format!(
                "a Procfile that starts a program or a script, or a {SCRIPT}, is missing"
            )),
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let (processes, processes_from) = match super::procfile_processes(source) {
            Some(processes) => (processes, None),
            None if source.has_entry(SCRIPT) => {
                let web = format!("{} {SCRIPT}", script_shell(source)?);
                (IndexMap::from([("web".parse()?, web)]), Some(SCRIPT.to_owned()))
            }
            None => return Err(errors::no_procfile(self.name()).into()),
        };
        super::check_js_runtimes(&processes, target, &[])?;
        let unbuilt = NOT_BUILT.iter().filter(|(file, _)| source.has_entry(file));
        Ok(BuildPlan {
            runtime: self.name(),
            processes,
            processes_from,
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            warnings: unbuilt.map(|(file, apps)| errors::not_built(file, apps)).collect(),
            ..BuildPlan::default()
        })
    }
}

/// Returns the shell that the first line of the script names: it need not be executable.
fn script_shell(source: &AppSource) -> anyhow::Result<&'static str> {
    let text = source.read_bytes(SCRIPT)?.unwrap_or_default();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_bash = first.starts_with(b"#!") && String::from_utf8_lossy(first).contains("bash");
    Ok(if is_bash { "bash" } else { "sh" })
}
