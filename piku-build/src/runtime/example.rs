//! The runtime `deno`: installs the locked packages, and starts `main.ts`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use piku_layout::jail::PATH;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::BuildStep;

const FILE: &str = "deno.json";

pub(super) struct DenoRuntime;

impl Runtime for DenoRuntime {
    fn name(&self) -> &'static str {
        "deno"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        Ok(if source.has_entry(FILE) {
            DetectResult::Match(format!("there is a {FILE}"))
        } else {
            DetectResult::NoMatch(format!("{FILE} is missing"))
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let deno = target.tool("a Deno app", "deno")?.inside.to_string_lossy().into_owned();
        let processes = match super::procfile_processes(source) {
            Some(processes) => processes,
            None => IndexMap::from([("web".parse()?, "deno run --allow-net --allow-env main.ts".to_owned())]),
        };
        Ok(BuildPlan {
            runtime: self.name(),
            steps: vec![BuildStep::new("deno", &[&deno, "install", "--frozen"], false)],
            processes,
            env: BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]),
            ..BuildPlan::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deno_json_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let detect = || DenoRuntime.detect(&AppSource::read(dir.path(), None).unwrap()).unwrap();
        assert!(matches!(detect(), DetectResult::NoMatch(_)));
        std::fs::write(dir.path().join(FILE), "{}").unwrap();
        assert!(matches!(detect(), DetectResult::Match(_)));
    }
}
